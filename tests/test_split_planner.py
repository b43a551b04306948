"""A model is asked to split a part, and what it says is put to the user where it has to be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from plan_rules import RULES
from scripted_hands import ScriptedHands
from tale.errors import BackendUnavailable, ContextExceeded
from tale.prompts import PLAN_SYSTEM
from tale.tasks.hands import Question, Reply
from tale.tasks.plan_policy import PlanPolicy
from tale.tasks.planner import Planned
from tale.tasks.split_planner import split
from tale.tasks.task import Step, Subtask

pytestmark = pytest.mark.anyio

STEP = Step("t-1", "…", "/w", "task", "work", subtask="+split-x")
PART = Subtask(
    "x",
    "The API",
    "Write the API",
    ("a",),
    writes=("m.py", "n.py"),
    check="make test",
    size="large",
)
PLAN = (
    Subtask("+plan", "Plan", "Plan it", state="done", kind="plan"),
    Subtask("a", "Store", "Write a.py", state="done", files=("a.py",)),
    Subtask("+split-x", "Split", "Split it", ("a",), "running", kind="plan"),
    replace(PART, depends_on=("a", "+split-x")),
    Subtask("b", "Pages", "Write b.py", ("x",), writes=("b.py",)),
)


def piece(identity: str, writes: str, *needs: str) -> dict[str, object]:
    return {
        "id": identity,
        "title": identity.title(),
        "instructions": f"Write {writes}.",
        "kind": "code",
        "depends_on": list(needs),
        "reads": [],
        "writes": [writes],
        "check": "",
        "size": "small",
    }


def answer(*parts: Mapping[str, object]) -> str:
    return json.dumps({"reasoning": "Two files.", "subtasks": parts})


GOOD = answer(piece("model", "m.py"), piece("routes", "n.py", "model"))


async def made(hands: ScriptedHands) -> Planned:
    return await split(
        STEP, hands, RULES, PlanPolicy(), part=PART, plan=PLAN, request="A whole shop"
    )


async def test_the_question_holds_the_part_its_files_and_check_and_what_others_do() -> None:
    hands = ScriptedHands(GOOD)
    await made(hands)
    [asked] = hands.asked
    assert asked.messages[0].content == PLAN_SYSTEM
    told = asked.messages[1].content
    assert (
        told.index("A whole shop") < told.index("- `a` (Store): a.py") < told.index("`b` (Pages)")
    )
    assert told.index("`b`") < told.index("Request:\nWrite the API")
    assert "Between them the parts write m.py, n.py." in told
    assert "this has to succeed: make test" in told
    assert "+split-x" not in told
    assert not asked.shown


async def test_pieces_take_the_place_of_their_part() -> None:
    found = await made(ScriptedHands(GOOD))
    assert {one.id: one.depends_on for one in found.parts} == {"x-1": ("a",), "x-2": ("x-1",)}
    assert found.parts[-1].check == "python -m py_compile n.py && make test"
    assert found.reasoning == "Two files."


async def test_what_another_part_writes_goes_back_with_that_fault() -> None:
    beside = answer(piece("model", "m.py"), piece("routes", "n.py"), piece("more", "b.py"))
    hands = ScriptedHands(beside, GOOD)
    found = await made(hands)
    assert len(found.parts) == 2
    assert "b.py is written by 'b'" in hands.asked[1].messages[-1].content


async def test_after_two_answers_that_are_no_better_there_are_no_pieces() -> None:
    hands = ScriptedHands(answer(piece("all", "m.py")), "no", GOOD)
    found = await made(hands)
    assert found.parts == ()
    assert "no better plan came of it" in found.reasoning
    assert len(found.replies) == len(hands.asked) == 2


class Failing(ScriptedHands):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def ask(self, question: Question) -> Reply:
        del question
        raise self.error


async def test_a_part_that_fits_no_window_to_be_planned_is_not_split() -> None:
    found = await made(Failing(ContextExceeded("too long")))
    assert (found.parts, found.reasoning) == ((), "to plan it does not fit the model's window.")


async def test_a_model_that_can_not_answer_is_no_reason_not_to_split() -> None:
    with pytest.raises(BackendUnavailable):
        await made(Failing(BackendUnavailable("no model")))
