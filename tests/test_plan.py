"""Plans: which can be worked on, which part may begin, and what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.errors import PromptRejected
from tale.tasks.plan import MAX_SUBTASKS, check_plan, instructions, outcome_of, ready
from tale.tasks.task import Subtask


def part(identity: str, *needs: str, text: str = "do") -> Subtask:
    return Subtask(identity, identity.upper(), text, needs)


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
    ],
)
def test_a_plan_that_can_not_be_worked_on_is_refused_in_words(
    plan: Sequence[Subtask], says: str
) -> None:
    with pytest.raises(PromptRejected, match=says) as caught:
        check_plan(plan)
    assert caught.value.hint


def test_a_plan_is_taken_with_its_texts_trimmed_and_titles_filled_in() -> None:
    [taken] = check_plan([Subtask("a", " ", " do it\n")])
    assert (taken.title, taken.text) == ("a", "do it")


@st.composite
def plans(draw: st.DrawFn) -> list[Subtask]:
    ids = [f"p{number}" for number in range(draw(st.integers(1, 12)))]
    parts = [
        part(one, *sorted(draw(st.sets(st.sampled_from(ids[:number])))) if number else ())
        for number, one in enumerate(ids)
    ]
    return draw(st.permutations(parts))


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


def test_long_results_are_handed_on_shortened() -> None:
    plan = {
        "a": replace(part("a"), state="done", answer="x" * 9999, files=("one.py",)),
        "b": part("b", "a"),
    }
    told = instructions("the whole", plan["b"], plan)
    assert told.startswith("do\n")
    assert "the whole" in told
    assert "Files: one.py" in told
    assert len(told) < 2000


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
