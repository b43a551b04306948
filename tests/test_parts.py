"""Which parts of a plan may begin, and which never can: `tasks.parts`."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from tests.schedule_world import random_plan

from tale.tasks.parts import Parts, followed
from tale.tasks.task import State, Subtask


def part(identity: str, *needs: str, state: State = "queued") -> Subtask:
    return Subtask(identity, identity, "do", needs, state)


def going_on(parts: Parts) -> list[str]:
    return [one.id for one in parts.all.values() if one.state == "running"]


def test_what_was_cut_off_waits_again() -> None:
    plan = [part("a", state="running"), part("b", state="running"), part("c", "a")]
    parts = Parts(plan, going_on={"b"})
    assert parts.ready == ["a"]
    assert parts.all["b"].state == "running"


def test_what_ends_twice_or_is_not_there_changes_nothing() -> None:
    parts = Parts([part("a"), part("b", "a"), part("c", "b")])
    parts.begin("a")
    parts.done("a", "A", ("a.py",))
    assert parts.all["a"].files == ("a.py",)
    assert parts.ready == ["b"]
    parts.done("gone")
    parts.done("b")
    parts.done("b")
    assert parts.ready == ["c"]


def test_what_needs_something_that_is_not_there_is_out_of_reach() -> None:
    parts = Parts([part("a", "gone"), part("b", "a"), part("c")])
    assert parts.out_of_reach == ("a", "b")
    assert parts.ready == ["c"]


def test_what_is_given_up_is_over() -> None:
    plan = [part("a", state="failed"), part("b", "a"), part("c", "b")]
    parts = Parts(plan)
    assert (parts.ready, parts.out_of_reach) == ([], ("b", "c"))
    parts = Parts([plan[0], *(replace(one, state="cancelled") for one in plan[1:])])
    assert (parts.ready, parts.out_of_reach, parts.over) == ([], (), False)
    assert Parts([replace(one, state="cancelled") for one in plan]).over


def test_a_new_plan_is_followed_except_for_what_is_done_or_goes_on() -> None:
    before = {one.id: one for one in [part("a", state="done"), part("b"), part("c")]}
    plan = [part("a", "x"), part("b", "x"), part("x")]
    after = followed(before, plan, going_on={"c"})
    assert after == [before["a"], plan[1], plan[2], before["c"]]


@given(st.integers(0, 10**9))
def test_what_may_begin_follows_from_the_states_alone(seed: int) -> None:
    random_ = Random(seed)
    parts = Parts(random_plan(random_))
    while parts.ready or going_on(parts):
        kind = random_.choice(["begin", "done", "fail"])
        running = going_on(parts)
        if kind == "begin" and parts.ready:
            parts.begin(random_.choice(parts.ready))
        elif kind == "done" and running:
            parts.done(random_.choice(running))
        elif kind == "fail" and running and random_.random() < 0.3:
            parts.fail(random_.choice(running))
        again = Parts(parts.all.values(), going_on(parts))
        assert set(again.ready) == set(parts.ready)
        assert again.out_of_reach == parts.out_of_reach
