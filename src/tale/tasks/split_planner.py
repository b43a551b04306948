"""Has a model split a part that is too big, and asks the user where that goes beyond their plan.

It acts through `Hands` alone. Where no better plan comes of it, none does: the part is done as it
is then, for to plan it at length costs more than to try it. Above: `tasks.planning`. Below:
`tasks.plan_asking`, `tasks.splitting` (what the answer means), `tasks.split_policy`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tale.errors import ContextExceeded, PlanRejected, TaskError
from tale.tasks.durable import Changed
from tale.tasks.hands import Hands, Question, Reply
from tale.tasks.plan_answers import read_draft
from tale.tasks.plan_approval import Expect, agreed, usually
from tale.tasks.plan_asking import Judged, Rules, asked, judged
from tale.tasks.plan_material import look
from tale.tasks.plan_policy import PlanPolicy
from tale.tasks.plan_questions import Window, split_plan
from tale.tasks.planner import Planned
from tale.tasks.split_policy import widened
from tale.tasks.splitting import divided, joined, pieces_of
from tale.tasks.task import Step, Subtask
from tale.tasks.workspace import Workspace

__all__ = ["split"]

_TRIES: Final = 2
"""Answers: a part that needs more of them to be split is done sooner than planned."""


async def split(
    step: Step,
    hands: Hands,
    rules: Rules,
    policy: PlanPolicy,
    *,
    part: Subtask,
    plan: Sequence[Subtask],
    request: str,
    expect: Expect = usually,
) -> Planned:
    """Plan a part further.

    Args:
        step: Where it is worked on, and for whom.
        hands: Who asks and looks.
        rules: What a plan has to satisfy.
        policy: When the user is asked.
        part: What is too big.
        plan: The whole plan as it stands.
        request: What the task is about.
        expect: How long parts probably take.

    Returns:
        What takes its place; no parts where it is better done as it is, and `reasoning` says why.

    Raises:
        TaleError: The model could not answer, or nobody could look at the workspace.
    """
    seen = await look(f"{part.text}\n{' '.join((*part.reads, *part.writes))}", hands)
    session = step.session or step.task

    def question(window: Window) -> Question:
        return split_plan(request, plan, part, seen=seen, window=window, session=session)

    def judge(answer: str, before: int) -> Judged:
        del before
        draft = read_draft(answer, part.text, step.workspace, present=seen.files)
        pieces, faults = pieces_of(part, draft, plan, seen.files)
        found = judged(draft, pieces, faults, rules=rules, present=seen.files)
        return found if found.faults else replace(found, faults=_faults_within(found, part, plan))

    try:
        best, replies = await asked(hands, question, judge, _TRIES)
    except ContextExceeded:
        return Planned((), "to plan it does not fit the model's window.")
    if best.faults:
        why = f"no better plan came of it ({best.faults[0].rstrip('.')})."
        return Planned((), why, replies=replies)
    holds = Workspace(Path(step.workspace)).holds
    made = Planned(best.parts, best.draft.reasoning, best.changes, replies=replies)
    if reasons := widened(part, made.parts, plan, policy, tools=step.tools, holds=holds):
        seconds = await expect(made.parts)
        return await _with_a_yes(made, hands, rules, reasons, part=part, seconds=seconds)
    return replace(made, parts=joined(part, made.parts))


async def _with_a_yes(
    made: Planned,
    hands: Hands,
    rules: Rules,
    reasons: Sequence[str],
    *,
    part: Subtask,
    seconds: Mapping[str, float],
) -> Planned:
    """Ask the user, whose no leaves the part as it was."""
    about = (f"a part of the plan, {part.title!r}, is split, and {reasons[0]}", *reasons[1:])
    try:
        verdict = await agreed(made, hands, rules, about, request=part.title, seconds=seconds)
    except Changed:
        raise
    except TaskError:
        return _not_wanted(made.replies)
    if isinstance(verdict, Planned):
        return replace(verdict, parts=joined(part, verdict.parts))
    return _not_wanted(made.replies, f": {verdict}")


def _not_wanted(replies: tuple[Reply, ...], why: str = ".") -> Planned:
    return Planned((), f"you did not want it split{why}", replies=replies)


def _faults_within(found: Judged, part: Subtask, plan: Sequence[Subtask]) -> tuple[str, ...]:
    """Say what is wrong with the whole plan once the pieces are in it."""
    try:
        divided(plan, part.id, joined(part, found.parts))
    except PlanRejected as error:
        return error.faults or (error.message,)
    return ()
