"""Plans that results change: what stays, what is replaced, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.errors import PlanRejected
from tale.tasks.ancestry import Ancestry
from tale.tasks.plan import faults, is_over, ready
from tale.tasks.recompose import (
    MAX_REPAIRS,
    accept,
    after_failure,
    failures_of,
    merge,
    needless,
)
from tale.tasks.task import State, Subtask

PLANNING = Subtask("+plan", "Plan", "Plan it", state="done", kind="plan", answer="Three parts.")


def part(
    identity: str, *needs: str, state: State = "queued", writes: tuple[str, ...] = ()
) -> Subtask:
    answer = f"{identity}!" if state in {"done", "failed"} else ""
    return Subtask(
        identity, identity.upper(), f"do {identity}", needs, state, answer, writes=writes
    )


def edges(plan: tuple[Subtask, ...]) -> dict[str, tuple[str, ...]]:
    return {one.id: one.depends_on for one in plan if one.state != "cancelled"}


def states(plan: tuple[Subtask, ...]) -> dict[str, str]:
    return {one.id: one.state for one in plan}


# -- merging ---------------------------------------------------------------------------------------


def test_a_first_plan_is_what_was_planned_and_no_change() -> None:
    found = merge([PLANNING], [part("a"), part("b", "a"), part("+whole")], why="in two steps")
    assert edges(found.plan) == {"+plan": (), "a": (), "b": ("a",), "+whole": ("b",)}
    assert (found.changes, found.why) == ((), "in two steps")


def test_what_replaces_a_failed_part_gets_what_it_was_given_and_is_needed_in_its_place() -> None:
    plan = [part("a", state="done"), part("b", "a", state="failed"), part("c", "b"), part("d")]
    found = merge(plan, [part("b1"), part("b2", "b1")], ["b"], why="it was too much at once")
    assert edges(found.plan) == {
        "a": (),
        "b1": ("a",),
        "b2": ("b1",),
        "c": ("b2",),
        "d": (),
    }
    assert states(found.plan)["b"] == "cancelled"
    assert found.changes == ("'B' is replaced by 'B1', 'B2': it was too much at once",)


def test_a_part_that_is_to_be_done_again_gets_a_new_id() -> None:
    plan = [part("a", state="failed"), part("b", "a")]
    again = replace(part("a", "a"), text="do a in another way")
    found = merge(plan, [again, part("c", "a")], ["a"])
    assert edges(found.plan) == {"a-2": (), "c": ("a-2",), "b": ("a-2",)}


def test_a_part_that_waits_is_replaced_under_its_id() -> None:
    plan = [part("a", state="done"), part("b", "a"), part("c", "b")]
    found = merge(plan, [replace(part("b"), title="Better", text="do b well ")], why="a said so")
    assert edges(found.plan) == {"a": (), "b": (), "c": ("b",)}
    assert found.plan[1].text == "do b well"
    assert found.changes == ("'Better' was changed: a said so",)


def test_what_is_told_once_more_is_not_done_once_more() -> None:
    plan = [part("a", state="done"), part("b", state="failed"), part("c", "a", "b")]
    found = merge(plan, [part("a"), part("n", "a"), part("c", "a", "n")], ["b"])
    assert edges(found.plan) == {"a": (), "n": ("a",), "c": ("a", "n")}
    assert found.plan[0] == plan[0]


def test_something_else_under_the_id_of_what_is_done_gets_an_id_of_its_own() -> None:
    plan = [part("a", state="done"), part("b", state="running")]
    new = replace(part("a", "a"), text="something else")
    found = merge(plan, [new, part("n", "a")], why="more is needed")
    assert edges(found.plan) == {"a": (), "b": (), "a-2": ("a",), "n": ("a-2",)}
    assert found.plan[:2] == tuple(plan)
    assert "The new 'a' is called 'a-2': the id is taken." in found.changes
    assert "'N' is new: more is needed" in found.changes


def test_what_needed_a_dropped_part_needs_what_that_needed() -> None:
    plan = [part("a"), part("b", "a"), part("c", "b"), part("d", "c", "a"), part("e", state="done")]
    found = merge(plan, [], dropped={"b": "a does it", "c": "a does it too", "e": "?", "none": "?"})
    assert edges(found.plan) == {"a": (), "d": ("a",), "e": ()}
    assert found.changes == (
        "'B' is dropped: a does it",
        "'C' is dropped: a does it too",
        "'E' stays, as it is done.",
    )


def test_new_parts_may_need_what_waited_for_the_failed_one() -> None:
    plan = [part("a", state="failed"), part("b", "a"), part("c", "a")]
    found = merge(plan, [part("n", "b"), part("m")], ["a"])
    assert edges(found.plan) == {"n": ("b",), "m": (), "b": ("m",), "c": ("n", "m")}


def test_the_assembly_comes_after_everything_else() -> None:
    plan = [PLANNING, part("a", state="done"), part("b", "a"), part("+whole", "b")]
    found = merge(plan, [part("n", "a"), part("m")])
    assert edges(found.plan)["+whole"] == ("b", "n", "m")
    assert [one.id for one in found.plan] == ["+plan", "a", "b", "n", "m", "+whole"]


def test_an_assembly_that_failed_is_made_again_from_what_is_new() -> None:
    plan = [part("a", state="done"), part("+whole", "a", state="failed")]
    found = merge(plan, [part("fix", "a")], ["+whole"], why="a file was missing")
    assert edges(found.plan) == {"a": (), "fix": ("a",), "+whole-2": ("fix",)}
    assert "'+WHOLE' is replaced by 'FIX': a file was missing" in found.changes


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ([part("n", "none")], "'n' depends on 'none', which is not there"),
        ([part("n", "m"), part("m", "n")], "wait for each other"),
        ([part("n"), part("n")], "Two new subtasks have the id 'n'"),
        ([part("+repair-1")], "what begins with \\+ is tale's own"),
        ([part("n", writes=("r.py",))], "'r' and 'n' may run at the same time and both write"),
        ([part(" ")], "can't be the id"),
    ],
)
def test_what_can_not_be_worked_on_is_refused_with_its_faults(
    new: list[Subtask], says: str
) -> None:
    plan = [part("r", state="running", writes=("r.py",)), part("a", state="failed")]
    with pytest.raises(PlanRejected, match=says) as caught:
        merge(plan, new, ["a"])
    assert caught.value.faults
    assert caught.value.hint


_IDS = [f"p{number}" for number in range(8)]
_STATES: list[State] = ["done", "running", "failed", "queued"]


@st.composite
def plans(draw: st.DrawFn) -> list[Subtask]:
    """A plan that was worked on for a while."""
    parts: dict[str, Subtask] = {"+plan": PLANNING}
    for number, name in enumerate(_IDS[: draw(st.integers(1, 8))]):
        needs = sorted(draw(st.sets(st.sampled_from(_IDS[:number])))) if number else []
        may_run = all(parts[other].state == "done" for other in needs)
        state = draw(st.sampled_from(_STATES)) if may_run else "queued"
        files = draw(st.sampled_from([(), (), (f"{name}.py",), ("shared.py",)]))
        parts[name] = part(name, *needs, state=state, writes=files)
    plan = [*parts.values()]
    if draw(st.booleans()):
        plan.append(part("+whole", *(one.id for one in plan[1:])))
    gone = draw(st.sets(st.sampled_from(_IDS)))
    try:
        return list(merge(plan, [], dropped=dict.fromkeys(gone, "")).plan)
    except PlanRejected:  # two write the same file
        return [replace(one, writes=()) for one in plan]


_NEW_IDS = st.sampled_from([*_IDS, "p1-2", "n", "m", "o", "+whole", "+repair-1", ""])
_NEW = st.lists(
    st.builds(
        part,
        _NEW_IDS,
        _NEW_IDS,
        writes=st.sampled_from([(), ("shared.py",), ("new.py",)]),
    )
    | st.builds(part, _NEW_IDS)
    | st.builds(part, _NEW_IDS, _NEW_IDS, _NEW_IDS),
    max_size=4,
)


@given(plans(), _NEW, st.sets(st.sampled_from(_IDS)), st.sets(st.sampled_from([*_IDS, "+plan"])))
def test_whatever_comes_nothing_that_is_done_is_lost_and_the_rest_can_be_done(
    plan: list[Subtask], new: list[Subtask], failed: set[str], dropped: set[str]
) -> None:
    before = {one.id: one for one in plan}
    try:
        found = merge(plan, new, failed, dropped=dict.fromkeys(dropped, "needless"))
    except PlanRejected as error:
        assert error.faults  # noqa: PT017 - both outcomes are right
        return
    after = {one.id: one for one in found.plan}
    assert len(after) == len(found.plan)
    assert before.keys() <= after.keys()
    for name, one in before.items():
        if one.state in {"done", "running", "cancelled"}:
            assert after[name] == one
        elif one.state == "failed":
            assert after[name] == (replace(one, state="cancelled") if name in failed else one)
    assert faults(found.plan, own=True) == ()
    ancestry = Ancestry(found.plan)
    work = {one.id for one in found.plan if one.state != "cancelled" and one.id[0] != "+"}
    for one in found.plan:
        if one.id.startswith("+whole") and one.state == "queued":
            assert work <= {*ancestry.ancestors(one.id)}
    can_be_done(after)


def can_be_done(parts: dict[str, Subtask]) -> None:
    parts = {
        name: replace(one, state="done") if one.state in {"failed", "running"} else one
        for name, one in parts.items()
    }
    while left := ready(parts):
        for needed in left[0].depends_on:
            assert parts[needed].state == "done"
        parts[left[0].id] = replace(left[0], state="done")
    assert is_over(list(parts.values()))


@given(plans(), st.sets(st.sampled_from(_IDS)))
def test_the_order_of_what_is_left_survives_what_is_dropped(
    plan: list[Subtask], dropped: set[str]
) -> None:
    found = merge(plan, [], dropped=dict.fromkeys(dropped, "needless"))
    before, after = Ancestry(plan), Ancestry(found.plan)
    left = [one.id for one in found.plan if one.state != "cancelled" and one.id[0] != "+"]
    for one in left:
        for other in left:
            assert before.comes_before(one, other) == after.comes_before(one, other)


@given(plans(), st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=4), st.data())
def test_new_work_that_is_sound_is_never_refused(
    plan: list[Subtask], graph: list[set[int]], data: st.DataObject
) -> None:
    old = st.sets(st.sampled_from([one.id for one in plan if one.id != "+whole"]), max_size=2)
    new = [
        part(f"n{n}", *(f"n{m}" for m in sorted(needs) if m < n), *sorted(data.draw(old)))
        for n, needs in enumerate(graph)
    ]
    failed = {one.id for one in plan if one.state == "failed"}
    found = merge(plan, new, failed)
    assert {one.id for one in new} <= {one.id for one in found.plan}
    if failed:
        assert len(found.changes) >= len(failed)


# -- failures --------------------------------------------------------------------------------------


def test_what_fails_is_planned_anew_by_one_who_is_given_its_result() -> None:
    plan = [part("a", state="failed"), part("b", "a")]
    found = after_failure(plan, "a", why="its tests failed")
    [_, repair, _] = found.plan
    assert (repair.id, repair.kind, repair.depends_on) == ("+repair-1", "plan", ("a",))
    assert "its tests failed" in repair.text
    assert "do a" in repair.text
    assert found.changes == (
        "'A' has failed, and what is not done is planned anew: its tests failed",
    )
    assert ready({one.id: one for one in found.plan}) == [repair]
    assert failures_of(found.plan, repair.id) == ("a",)


def test_after_the_last_repair_a_part_is_taken_as_it_is_and_says_so() -> None:
    repairs = [part(f"+repair-{n + 1}", state="done") for n in range(MAX_REPAIRS)]
    failed = replace(part("a", state="failed"), check="make test", files=("a.py",))
    found = after_failure([*repairs, failed, part("b", "a")], "a", why="make test failed")
    taken = found.plan[MAX_REPAIRS]
    assert taken.state == "done"
    assert taken.answer == "a!\n\nWhat was made does not pass its check, `make test`."
    assert taken.files == ("a.py",)
    assert found.changes == ("'A' is taken as it is; it does not pass its check, `make test`.",)
    assert [one.id for one in ready({one.id: one for one in found.plan})] == ["b"]


def test_where_planning_anew_fails_what_failed_is_taken_as_it_is() -> None:
    plan = [part("a", state="failed"), part("x", state="failed"), part("b", "a")]
    repairing = after_failure(plan, "a", why="its tests failed").plan
    broken = [replace(one, state="failed") if one.id[0] == "+" else one for one in repairing]
    found = after_failure(broken, "+repair-1", why="the plan had faults")
    assert states(found.plan) == {
        "a": "done",
        "+repair-1": "cancelled",
        "x": "failed",
        "b": "queued",
    }
    assert found.changes == (
        "'Plan anew: A' is dropped: the plan had faults",
        "'A' is taken as it is; it does not pass its checks.",
    )


def test_a_task_that_can_not_be_planned_at_all_can_not_go_on() -> None:
    with pytest.raises(PlanRejected, match="could not be planned: no model"):
        after_failure([replace(PLANNING, state="failed")], "+plan", why="no model")


def test_only_what_has_failed_is_taken_as_it_is() -> None:
    plan = [part("a", state="done"), part("b")]
    assert accept(plan, ["a", "b"]).plan == tuple(plan)


@given(plans())
def test_however_much_fails_a_task_comes_to_an_end(plan: list[Subtask]) -> None:
    parts = [replace(one, state="queued" if one.state == "running" else one.state) for one in plan]
    for _ in range(100):
        if failed := next((one for one in parts if one.state == "failed"), None):
            repairs = [one for one in parts if failed.id in one.depends_on and one.kind == "plan"]
            if not repairs:
                parts = [*after_failure(parts, failed.id, why="it failed").plan]
                continue
        left = ready({one.id: one for one in parts})
        if not left:
            break
        # Whatever is done fails, and each repair plans one more part that does.
        now = left[0]
        ended = replace(now, state="done" if now.kind == "plan" else "failed")
        about = failures_of(parts, now.id)
        parts = [ended if one.id == now.id else one for one in parts]
        if now.kind == "plan":
            parts = [*merge(parts, [part(f"new{len(parts)}")], about).plan]
    assert is_over(parts)


# -- what others did already -----------------------------------------------------------------------


def test_what_others_made_unasked_need_not_be_made() -> None:
    made = replace(part("a", state="done", writes=("a.py",)), files=("a.py", "b.py", "c.py"))
    plan = [
        made,
        part("b", "a", writes=("b.py",)),
        part("bc", "a", writes=("b.py", "c.py")),
        part("again", "a", writes=("a.py",)),
        part("more", "a", writes=("b.py", "d.py")),
        replace(part("on", "a", writes=("c.py",)), reads=("c.py",)),
        part("free", "a"),
        part("runs", "a", state="running", writes=("b.py",)),
    ]
    found = needless(plan)
    assert found == {"b": "'A' made b.py already", "bc": "'A' made b.py, c.py already"}
