"""What is known of a plan is recorded with it, and shown for as long as its task is there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.servers.task_stream import write_planning
from tale.tasks.course import mended, planned
from tale.tasks.durations import prior_duration
from tale.tasks.outlook import outlook
from tale.tasks.plan_facts import PlanFacts, read_facts, write_facts
from tale.tasks.planner import Planned
from tale.tasks.task import Subtask, TaskEvent
from tale.tasks.task_rows import facts_told
from tale.tasks.view import View, replay

TEXTS = st.lists(st.text(), max_size=3).map(tuple[str, ...])
FACTS = st.builds(
    PlanFacts, st.text(), TEXTS, TEXTS, TEXTS, st.dictionaries(st.text(), st.floats(0, 1e6))
)
ROWS = [{"id": "a", "title": "A"}, {"id": "b", "title": "B"}]
FIRST = PlanFacts("The model first.", ("b waits for a.",), ("shop.py",), ("It was mended.",))
ASKED = PlanFacts("The model first.", used=("shop.py",), seconds={"a": 20.0, "b": 40.0})
DATA = {"action": "ApprovePlan", "text": "May it?", "detail": "subtasks: []", "digest": "d1"}


def seen(*events: tuple[str, Mapping[str, object]]) -> View:
    at = datetime(2026, 1, 31, tzinfo=UTC)
    return replay(
        [TaskEvent("t-1", seq, at, kind, data) for seq, (kind, data) in enumerate(events, 1)]
    )


def shown(view: View, *, reasoning: bool) -> list[dict[str, object]]:
    found, _ = outlook(
        view, lambda part: prior_duration(part.kind), now=datetime(2026, 1, 31, tzinfo=UTC)
    )
    return [one.model_dump() for one in write_planning(found, reasoning=reasoning)]


@given(FACTS)
def test_facts_are_read_as_they_were_written(facts: PlanFacts) -> None:
    assert read_facts(orjson.loads(orjson.dumps(write_facts(facts)))) == facts


@given(
    st.dictionaries(
        st.sampled_from(["changes", "used", "notes", "seconds"]),
        st.none() | st.integers() | st.text(),
    ),
    st.none() | st.integers() | st.lists(st.integers()),
)
def test_facts_of_another_form_count_as_nothing(data: dict[str, object], why: object) -> None:
    assert read_facts({**data, "why": why}) == read_facts({})


def test_what_no_database_takes_is_replaced() -> None:
    told = facts_told(PlanFacts("a\0", ("b\ud800",), ("c\0",)))
    assert told == {"why": "a\N{REPLACEMENT CHARACTER}", "changes": ["b?"], "used": ["c\ufffd"]}


def test_each_plan_and_each_change_of_it_is_kept_in_order() -> None:
    change = PlanFacts("It failed.", ("'A' is replaced.",))
    view = seen(
        ("queued", {"subtasks": ROWS[:1]}),
        ("plan", {"subtasks": ROWS, **facts_told(FIRST)}),
        ("plan", {"subtasks": ROWS, **facts_told(change)}),
    )
    assert view.facts == (FIRST, change)


def test_what_is_known_of_a_plan_that_waits_for_a_yes_is_shown_until_the_answer() -> None:
    asked = ("approval", {**DATA, **facts_told(ASKED)})
    [one] = shown(seen(asked), reasoning=True)
    assert (one["used"], one["seconds"]) == (("shop.py",), {"a": 20.0, "b": 40.0})
    assert one["why"] == "The model first."
    agreed = seen(
        asked, ("approved", {"id": "x"}), ("plan", {"subtasks": ROWS, **facts_told(FIRST)})
    )
    [one] = shown(agreed, reasoning=False)
    assert (one["changes"], one["notes"]) == (FIRST.changes, FIRST.notes)
    assert (one["why"], one["seconds"]) == ("", {})


@pytest.mark.parametrize("kind", ["rejected", "cancelled", "failed"])
def test_a_plan_that_is_not_asked_about_any_more_is_not_shown(kind: str) -> None:
    view = seen(("approval", {**DATA, **facts_told(ASKED)}), (kind, {}))
    assert shown(view, reasoning=True) == []


def test_a_question_about_something_else_is_no_plan() -> None:
    assert seen(("approval", {**DATA, "digest": ""})).proposed is None


def test_what_planning_gave_goes_into_the_plan_and_into_its_mending() -> None:
    made = Planned((Subtask("b", "B", "do b"),), "Thought.", ("changed",), ("told",), ("shop.py",))
    opening = (Subtask("+plan", "Make a plan", "x", kind="plan", state="done"),)
    first = planned(made, 1024)(opening)
    failed = Subtask("a", "A", "do a", state="failed")
    repair = Subtask("+repair-1", "Plan anew: A", "x", ("a",), "done", kind="plan")
    after = mended(made, "+repair-1", 1024)((*opening, failed, repair))
    for merged in (first, after):
        assert (merged.why, merged.used, merged.notes) == ("Thought.", ("shop.py",), ("told",))
        assert merged.changes[-1] == "changed"
