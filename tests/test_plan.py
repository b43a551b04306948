"""Plans: which can be worked on, and which part may begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.errors import PlanRejected
from tale.tasks.ancestry import Ancestry, circles
from tale.tasks.plan import (
    MAX_FAULTS,
    MAX_SUBTASKS,
    afresh,
    check_plan,
    faults,
    is_over,
    outcome_of,
    ready,
)
from tale.tasks.task import Subtask, WorkKind


def part(
    identity: str,
    *needs: str,
    text: str = "do",
    kind: WorkKind = "code",
    reads: tuple[str, ...] = (),
    writes: tuple[str, ...] = (),
    check: str = "",
) -> Subtask:
    return Subtask(
        identity,
        identity.upper(),
        text,
        needs,
        kind=kind,
        reads=reads,
        writes=writes,
        check=check,
    )


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ([part("a"), part("a")], "Two subtasks have the id 'a'"),
        ([part("a", "b")], "'a' depends on 'b', which is not there"),
        ([part("a", "a")], "wait for each other: a → a"),
        ([part("a", "c"), part("b", "a"), part("c", "b")], "wait for each other"),
        ([part("")], "1 to 64 characters"),
        ([part("a.b")], "without spaces and dots"),
        ([part("a b")], "'a b' can't be the id"),
        ([part("x" * 65)], "1 to 64 characters"),
        ([part("a", text="  ")], "Subtask 'a': The text is empty"),
        ([part(f"p{n}") for n in range(MAX_SUBTASKS + 1)], "at most 500"),
        ([part("+whole")], "what begins with \\+ is tale's own"),
        ([part("a", kind="plan")], "can't be of the kind 'plan'"),
        ([part("a", writes=("/etc/passwd",))], "'a' writes '/etc/passwd': the path is absolute"),
        ([part("a", reads=("../b",))], "'a' reads '../b': the path leads out of the workspace"),
        ([part("a", writes=("out/",))], "names no file"),
        ([part("a", writes=("*.py",))], "name each file"),
        ([part("a", writes=tuple(map(str, range(201))))], "writes 201 files; at most 200"),
        ([part("a", check="pytest |")], "'a' can't be checked by 'pytest |': nothing follows `|`"),
        (
            [part("a", writes=("x.py",)), part("b", writes=("./x.py",))],
            "'a' and 'b' may run at the same time and both write 'x.py'",
        ),
    ],
)
def test_a_plan_that_can_not_be_worked_on_is_refused_in_words(
    plan: Sequence[Subtask], says: str
) -> None:
    with pytest.raises(PlanRejected, match=says) as caught:
        check_plan(plan)
    assert caught.value.hint
    assert caught.value.faults == faults(plan)


def test_a_plan_is_taken_with_its_texts_trimmed_and_titles_filled_in() -> None:
    given = Subtask(
        "a", " ", " do it\n", reads=("in/",), writes=("./b//c.py", "b/c.py"), check=" make \n"
    )
    [taken] = check_plan([given])
    assert (taken.title, taken.text, taken.check) == ("a", "do it", "make")
    assert (taken.reads, taken.writes) == (("in",), ("b/c.py",))


def test_all_faults_are_told_at_once() -> None:
    plan = [
        part("a", "b", "none"),
        part("b", "a", text=""),
        part("c", "d"),
        part("d", "c"),
        part("e", writes=("x", "/y")),
        part("f", "e", writes=("x",)),
        part("g", "e", writes=("x",), check="'"),
    ]
    assert [one.split(":")[0] for one in faults(plan)] == [
        "Subtask 'a' depends on 'none', which is not there.",
        "Subtasks wait for each other",
        "Subtasks wait for each other",
        "Subtask 'b'",
        "Subtask 'e' writes '/y'",
        "Subtask 'g' can't be checked by \"'\"",
        "Subtasks 'f' and 'g' may run at the same time and both write 'x'",
    ]


def test_of_very_many_faults_some_are_told() -> None:
    plan = [part(str(number), writes=("a", "b", "c")) for number in range(MAX_SUBTASKS)]
    assert len(faults(plan)) == MAX_FAULTS


def test_parts_of_its_own_are_only_taken_where_that_is_said() -> None:
    plan = [part("+plan", kind="plan"), part("a"), part("+whole", "a")]
    assert faults(plan, own=True) == ()
    assert len(faults(plan)) == 2


def test_two_may_write_the_same_file_one_after_the_other() -> None:
    plan = [part("a", writes=("x",)), part("b", "a"), part("c", "b", writes=("x",))]
    assert faults(plan) == ()
    done = replace(plan[0], state="done")
    assert faults([done, part("d", writes=("x",))]) == ()


def test_nothing_is_asked_of_a_part_that_was_dropped_but_its_id() -> None:
    dropped = replace(part("a", "none", text="", writes=("/",)), state="cancelled")
    assert faults([dropped, part("b")]) == ()
    assert "needs one of its own" in faults([dropped, part("a")])[0]
    assert "which was dropped" in faults([dropped, part("b", "a")])[0]


@st.composite
def plans(draw: st.DrawFn) -> list[Subtask]:
    ids = [f"p{number}" for number in range(draw(st.integers(1, 12)))]
    parts = [
        part(one, *sorted(draw(st.sets(st.sampled_from(ids[:number])))) if number else ())
        for number, one in enumerate(ids)
    ]
    return draw(st.permutations(parts))


@given(plans())
def test_what_comes_before_what_is_what_the_edges_say(plan: list[Subtask]) -> None:
    parts = {one.id: one for one in plan}
    ancestry = Ancestry(plan)

    def behind(one: str) -> set[str]:
        direct = parts[one].depends_on
        return set(direct).union(*map(behind, direct))

    for one in parts:
        assert set(ancestry.ancestors(one)) == behind(one)
        for other in parts:
            assert ancestry.comes_before(other, one) == (other in behind(one))
    assert circles(plan) == []


def apart(ancestry: Ancestry, one: str, other: str) -> bool:
    """Whether two parts may run side by side."""
    ordered = ancestry.comes_before(one, other) or ancestry.comes_before(other, one)
    return one != other and not ordered


@given(plans(), st.data())
def test_a_conflict_is_told_exactly_where_two_may_write_together(
    plan: list[Subtask], data: st.DataObject
) -> None:
    files = st.sets(st.sampled_from("xyz")).map(sorted).map(tuple)
    plan = [replace(one, writes=data.draw(files)) for one in plan]
    ancestry = Ancestry(plan)
    expected = any(
        set(one.writes) & set(other.writes) and apart(ancestry, one.id, other.id)
        for one in plan
        for other in plan
    )
    assert bool(faults(plan)) == expected


_GRAPHS = st.lists(st.sets(st.integers(0, 7)), min_size=8, max_size=8)


@given(_GRAPHS)
def test_every_circle_told_is_one_and_none_is_passed_over(graph: list[set[int]]) -> None:
    plan = [part(str(number), *map(str, sorted(needs))) for number, needs in enumerate(graph)]
    parts = {one.id: one for one in plan}
    found = circles(plan)
    for circle in found:
        assert circle[0] == circle[-1]
        for one, after in pairwise(circle):
            assert one in parts[after].depends_on
    broken = {name for circle in found for name in circle}
    left = [one for one in plan if one.id not in broken]
    assert {*Ancestry(left).order} == {one.id for one in left}
    assert bool(found) == (len(Ancestry(plan).order) < len(plan))


_PARTS = st.builds(
    Subtask,
    id=st.sampled_from(["a", "b", "c", "+whole", ""]) | st.text(max_size=5),
    title=st.text(max_size=3),
    text=st.text(max_size=3),
    depends_on=st.lists(st.sampled_from("abc") | st.text(max_size=2), max_size=3).map(tuple),
    kind=st.sampled_from(["code", "plan"]),
    writes=st.lists(st.sampled_from(["x", "./x", "y/z"]) | st.text(), max_size=3).map(tuple),
    check=st.text(max_size=8),
)


@given(st.lists(_PARTS, max_size=5))
def test_any_plan_is_taken_or_refused_and_what_was_taken_is_taken_again(
    plan: list[Subtask],
) -> None:
    try:
        taken = check_plan(plan)
    except PlanRejected as error:
        assert error.faults  # noqa: PT017 - both outcomes are right
    else:
        assert check_plan(taken) == taken


@given(plans(), st.data())
def test_any_order_of_work_brings_every_plan_to_its_end(
    plan: list[Subtask], data: st.DataObject
) -> None:
    state = {one.id: one for one in check_plan(plan)}
    while left := ready(state):
        chosen = data.draw(st.sampled_from(left))
        assert all(state[other].state == "done" for other in chosen.depends_on)
        state[chosen.id] = replace(chosen, state="done")
    assert all(one.state == "done" for one in state.values())


def test_a_part_that_is_taken_is_not_ready() -> None:
    plan = {one.id: one for one in [part("a"), part("b")]}
    assert [one.id for one in ready(plan, {"a"})] == ["b"]


def test_what_plans_anew_begins_though_what_it_needs_has_failed() -> None:
    failed, dropped = replace(part("a"), state="failed"), replace(part("d"), state="cancelled")
    plan = [failed, part("b", "a"), dropped, part("e", "d"), part("+repair-1", "a", kind="plan")]
    assert [one.id for one in ready({one.id: one for one in plan})] == ["e", "+repair-1"]
    assert not is_over(plan)
    assert is_over([dropped, replace(part("b"), state="done")])


def test_another_task_begins_with_what_was_planned_and_plans_nothing_anew() -> None:
    planning = replace(part("+plan", kind="plan"), state="done", answer="A plan.")
    done = replace(part("a"), state="done", answer="a!", files=("a.py",))
    dropped, failed = replace(part("b"), state="cancelled"), replace(part("c"), state="failed")
    assert afresh([planning, done, dropped, failed]) == (part("a"), part("c"))
    assert afresh([planning]) == (part("+plan", kind="plan"),)


def test_the_answer_is_that_of_the_parts_nobody_needs() -> None:
    a, b, c = (
        replace(part(one), state="done", answer=f"{one}!", files=(f"{one}.py", "both.py"))
        for one in "abc"
    )
    assert outcome_of([a, replace(b, depends_on=("a",))]) == (
        "b!",
        ("a.py", "both.py", "b.py"),
    )
    answer, _ = outcome_of([a, b, replace(c, depends_on=("a",))])
    assert answer == "B\nb!\n\nC\nc!"


def test_neither_planning_nor_what_was_dropped_is_part_of_the_answer() -> None:
    planning = replace(part("+plan", kind="plan"), state="done", answer="A plan.")
    dropped = replace(part("a"), state="cancelled", answer="bad", files=("bad.py",))
    done = replace(part("b"), state="done", answer="b!")
    assert outcome_of([planning, dropped, done]) == ("b!", ("bad.py",))
    assert outcome_of([planning]) == ("A plan.", ())
