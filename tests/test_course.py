"""What follows when a part of a plan has ended."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.course import (
    MAX_REPAIRS,
    PLAN,
    WHOLE,
    Accepted,
    Failed,
    Mended,
    after_error,
    after_result,
    is_own,
    opening,
    with_whole,
)
from tale.tasks.task import StepResult, Subtask

A = Subtask("a", "Model", "Write a.py", writes=("a.py",))
B = Subtask("b", "Pages", "Write b.py", ("a",))
C = Subtask("c", "Texts", "Write c.md", ("a",), kind="write")
GOOD = StepResult("Made.", "m", "task", holds=True)
BAD = replace(GOOD, holds=False, check="1 of 2 tests failed", faults=("its tests: assert 1 == 2",))


def mended(plan: tuple[Subtask, ...], times: int) -> tuple[Subtask, ...]:
    for _ in range(times):
        found = after_result(A, BAD, plan)
        assert isinstance(found, Mended)
        plan = (*plan, found.by)
    return plan


def test_a_planned_task_begins_with_the_part_that_plans() -> None:
    [part] = opening("Build a shop")
    assert (part.id, part.kind, part.text) == (PLAN, "plan", "Build a shop")


def test_the_whole_is_looked_at_after_all_others() -> None:
    *parts, whole = with_whole((A, B, C))
    assert parts == [A, B, C]
    assert (whole.id, set(whole.depends_on)) == (WHOLE, {"b", "c"})


def test_one_part_is_the_whole() -> None:
    assert with_whole((*opening("x"), A)) == (*opening("x"), A)


def test_a_whole_that_is_there_moves_behind_what_came_later() -> None:
    again = with_whole((*with_whole((A, B)), C))
    assert [part.id for part in again] == ["a", "b", "c", WHOLE]
    assert again[-1].depends_on == ("b", "c")


def test_what_holds_or_can_not_be_checked_is_done() -> None:
    for result in (GOOD, replace(GOOD, holds=None)):
        assert after_result(A, result, (A, B)) == Accepted()


def test_a_failed_check_has_the_plan_mended_by_a_part_of_its_own() -> None:
    found = after_result(A, BAD, (A, B))
    assert isinstance(found, Mended)
    assert found.by.kind == "plan"
    assert is_own(found.by.id)
    assert "assert 1 == 2" in found.why
    assert found.why in found.by.text


def test_a_plan_is_mended_only_so_often_and_then_what_fails_is_told() -> None:
    plan = mended((A, B), MAX_REPAIRS)
    assert len({part.id for part in plan}) == len(plan)
    assert after_result(A, BAD, plan) == Accepted("1 of 2 tests failed")
    assert after_error(A, "no answer", plan) == Failed()


def test_an_error_has_the_plan_mended_too_but_not_one_of_the_planning() -> None:
    assert isinstance(after_error(A, "no answer", (A,)), Mended)
    assert after_error(opening("x")[0], "no answer", opening("x")) == Failed()


def test_planning_is_not_checked() -> None:
    assert after_result(replace(A, kind="plan"), BAD, (A,)) == Accepted()


@given(st.lists(st.sets(st.integers(0, 7)), min_size=2, max_size=8))
def test_nothing_waits_for_the_whole_and_it_waits_for_everything(edges: list[set[int]]) -> None:
    plan = tuple(
        Subtask(str(n), "", "x", tuple(str(e) for e in sorted(before) if e < n))
        for n, before in enumerate(edges)
    )
    *parts, whole = with_whole(plan)
    reached: set[str] = set()
    ahead = list(whole.depends_on)
    known = {part.id: part for part in parts}
    while ahead:
        one = ahead.pop()
        reached.add(one)
        ahead += known[one].depends_on
    assert reached == set(known)
