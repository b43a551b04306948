"""A plan is put to its user where it has to be; they agree, change it, or don't want it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest

from plan_rules import RULES
from scripted_hands import ScriptedHands
from tale.errors import TaskError
from tale.tasks.hands import Action, ApprovePlan, Outcome
from tale.tasks.plan_approval import plan_with_approval
from tale.tasks.plan_digest import digest_of
from tale.tasks.plan_policy import PlanPolicy
from tale.tasks.plan_text import read_plan_text
from tale.tasks.planner import Planned
from tale.tasks.task import Step, Subtask

pytestmark = pytest.mark.anyio

STEP = Step("t-1", "Build a todo application", "/w", "task", "work", subtask="+plan")
PLAN = json.dumps(
    {
        "reasoning": "why",
        "subtasks": [
            {"id": "store", "instructions": "Write store.py.", "writes": ["store.py"]},
            {"id": "cli", "instructions": "Write cli.py.", "depends_on": ["store"]},
        ],
    }
)
EDITED = "subtasks:\n- id: only\n  text: Write only.py.\n  writes: [only.py]\n"
YES, NO = Outcome(ok=True, text=""), Outcome(ok=False, text="")


class User(ScriptedHands):
    """Answers each question about a plan with the next of these."""

    def __init__(self, *answers: Outcome, said: str = PLAN) -> None:
        super().__init__(said, endless=True, runs=self._answer)
        self._answers = list(answers)

    def _answer(self, action: Action, files: Mapping[str, str]) -> Outcome:
        del files
        assert isinstance(action, ApprovePlan)
        return self._answers.pop(0)

    @property
    def questions(self) -> list[ApprovePlan]:
        """What the user was asked."""
        return [one for one in self.acted if isinstance(one, ApprovePlan)]


async def made(user: User, policy: PlanPolicy | None = None) -> Planned:
    return await plan_with_approval(STEP, user, RULES, policy or PlanPolicy("always"))


async def test_a_plan_without_a_reason_to_ask_is_not_asked_for() -> None:
    user = User()
    planned = await made(user, PlanPolicy())
    assert [one.id for one in planned.parts] == ["store", "cli"]
    assert user.questions == []


@pytest.mark.parametrize(("path", "asks"), [("/w/store.py", 0), ("/etc/hosts", 1)])
async def test_only_paths_outside_of_the_workspace_are_a_reason(path: str, asks: int) -> None:
    part = {"id": "a", "instructions": "do", "writes": ["a.py"], "check": f"test -s {path}"}
    user = User(YES, said=json.dumps({"subtasks": [part]}))
    await made(user, PlanPolicy())
    assert len(user.questions) == asks


async def test_a_costly_plan_is_asked_for_by_what_it_probably_takes() -> None:
    user = User(YES)

    async def hours(plan: Sequence[Subtask]) -> Mapping[str, float]:
        return {one.id: 3600.0 for one in plan}

    await plan_with_approval(STEP, user, RULES, PlanPolicy(), expect=hours)
    [asked] = user.questions
    assert "plan of 2 parts (about 2 h of work)" in asked.question
    assert "because it probably takes 2 h of work." in asked.question
    assert asked.facts.seconds == {"store": 3600.0, "cli": 3600.0}


async def test_the_question_says_why_and_holds_the_plan_and_its_digest() -> None:
    user = User(YES)
    planned = await made(user)
    [asked] = user.questions
    assert asked.question == (
        "May it work on this plan of 2 parts (about 40 s of work)? You are asked because you want "
        "to be asked about every plan."
    )
    assert read_plan_text(asked.plan) == planned.parts
    assert asked.plan.startswith("# The plan for: Build a todo application\n")
    assert asked.digest == digest_of(asked.plan)
    assert (asked.facts.why, asked.facts.changes) == ("why", planned.changes)


@pytest.mark.parametrize("said", ["", "yes", "Ok!", "go ahead"])
async def test_a_yes_changes_nothing(said: str) -> None:
    planned = await made(User(Outcome(ok=True, text=said)))
    assert planned.parts[0].text == "Write store.py."


async def test_a_remark_is_told_to_every_part() -> None:
    planned = await made(User(Outcome(ok=True, text="Use type hints: always.")))
    assert all(
        one.text.endswith("The user says of the whole plan: Use type hints: always.")
        for one in planned.parts
    )


async def test_an_edited_plan_is_worked_on_instead_with_a_check_for_each_part() -> None:
    planned = await made(User(Outcome(ok=True, text=EDITED)))
    [only] = planned.parts
    assert (only.id, only.check) == ("only", "python -m py_compile only.py")
    assert planned.reasoning == "why"
    assert planned.changes[-1] == "The user edited the plan."


@pytest.mark.parametrize(
    ("edited", "fault"),
    [
        (EDITED + "  depends_on: [only]\n", "Subtasks wait for each other: only → only."),
        (EDITED + "  depends_on: [gone]\n", "'only' depends on 'gone', which is not there."),
        (EDITED + "  needs: x\n", "Line 5: a part has no `needs`"),
        ("subtasks: [\n", "this is no YAML"),
    ],
)
async def test_a_faulty_edit_is_asked_about_again_with_its_faults(edited: str, fault: str) -> None:
    user = User(Outcome(ok=True, text=edited), Outcome(ok=True, text=EDITED))
    planned = await made(user)
    assert [one.id for one in planned.parts] == ["only"]
    again = user.questions[1]
    assert again.question.startswith("This plan can't be worked on:\n- ")
    assert fault in again.question
    assert again.plan == edited.strip()


async def test_who_agrees_after_a_faulty_edit_gets_the_plan_before() -> None:
    planned = await made(User(Outcome(ok=True, text="subtasks: ["), YES))
    assert [one.id for one in planned.parts] == ["store", "cli"]


async def test_edits_that_never_can_be_worked_on_end_the_task() -> None:
    with pytest.raises(TaskError, match="never be worked on"):
        await made(User(*[Outcome(ok=True, text="subtasks: [")] * 20))


async def test_a_plan_that_is_rejected_with_a_reason_is_planned_anew_knowing_it() -> None:
    user = User(Outcome(ok=False, text="No database, please."), YES)
    planned = await made(user)
    assert [one.id for one in planned.parts] == ["store", "cli"]
    said = user.asked[1].messages[-1].content
    assert "The user did not want this plan:\n- Write store.py.\n- Write cli.py." in said
    assert "Their reason, which counts: No database, please." in said
    assert user.notes == ["It is planned anew, as you did not want this plan: No database, please."]


async def test_a_user_who_wants_no_plan_is_not_asked_for_ever() -> None:
    user = User(*[Outcome(ok=False, text="Not this.")] * 4)
    with pytest.raises(TaskError, match="You rejected 4 plans") as caught:
        await made(user)
    assert caught.value.hint
    assert len(user.asked) == 4


async def test_a_plan_that_is_rejected_without_a_reason_ends_the_task() -> None:
    user = User(NO)
    with pytest.raises(TaskError, match="You rejected its plan") as caught:
        await made(user)
    assert "With a reason" in caught.value.hint
    assert len(user.asked) == 1
