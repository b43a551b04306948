"""A plan is put to its user where it has to be, until they agree, change it, or don't want it.

They may agree, give the plan as they want it, or say why not, which has it planned anew. Each
question goes through `Hands`, so it waits over any crash. Above: `tasks.planning`. Below:
`tasks.planner`, `tasks.plan_policy`, `tasks.plan_text`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tale.clipped import clipped
from tale.errors import PromptRejected, TaskError
from tale.tasks.hands import ApprovePlan, Hands
from tale.tasks.part_checks import usual_check
from tale.tasks.plan_digest import digest_of
from tale.tasks.plan_facts import PlanFacts
from tale.tasks.plan_memory import Remembered
from tale.tasks.plan_policy import PlanPolicy, expected_cost, reasons_to_ask, usual_seconds
from tale.tasks.plan_text import looks_like_plan, read_plan_text, write_plan_text
from tale.tasks.planner import Planned, Rules, plan
from tale.tasks.task import Step, Subtask
from tale.tasks.words import span
from tale.tasks.workspace import Workspace

__all__ = ["Expect", "agreed", "plan_with_approval", "usually"]

Expect = Callable[[Sequence[Subtask]], Awaitable[Mapping[str, float]]]
"""Says how long each part of a plan probably takes, in seconds by id; after a crash the same."""

_MOST_REJECTED: Final = 3
"""How often it is planned anew, after which the user had better say the request in other words."""
_MOST_EDITED: Final = 20
"""Faulty edits of one plan, after which nobody reads them."""
_TITLE: Final = 60
_FAULTY: Final = (
    "This plan can't be worked on:\n{faults}\nCorrect it. If you agree without giving one, the "
    "plan before is worked on."
)
_YES: Final = frozenset({"", "fine", "go", "go ahead", "good", "ok", "okay", "sure", "y", "yes"})
"""What is no remark."""
_REMARK: Final = "{text}\n\nThe user says of the whole plan: {remark}"


async def usually(plan: Sequence[Subtask]) -> Mapping[str, float]:
    """Say how long parts take as long as nothing was learned."""
    return {one.id: usual_seconds(one) for one in plan}


async def plan_with_approval(
    step: Step,
    hands: Hands,
    rules: Rules,
    policy: PlanPolicy,
    *,
    request: str = "",
    expect: Expect = usually,
    memory: tuple[Remembered, ...] = (),
) -> Planned:
    """Plan a request, and have its user agree to the plan where they are to.

    Args:
        step: Where it is worked on, and for whom.
        hands: Who asks and looks.
        rules: What the plan has to satisfy.
        policy: When the user is asked.
        request: What is asked for, where that isn't the step's text.
        expect: How long its parts probably take.
        memory: What is remembered that may matter to it.

    Raises:
        TaskError: The user does not want it.
        TaleError: As `tasks.planner.plan`.
    """
    request = request or step.text
    workspace = Workspace(Path(step.workspace))
    rejected: list[tuple[str, str]] = []

    while True:
        planned = await plan(step, hands, rules, request=request, rejected=rejected, memory=memory)
        seconds = await expect(planned.parts)
        spent = expected_cost(planned.parts, seconds)
        reasons = reasons_to_ask(planned.parts, policy, spent, step.tools, workspace.holds)
        if not reasons:
            return planned
        verdict = await agreed(planned, hands, rules, reasons, request=request, seconds=seconds)
        if isinstance(verdict, Planned):
            return verdict
        rejected.append((_outline(planned.parts), verdict))
        if len(rejected) > _MOST_REJECTED:
            raise TaskError(
                f"You rejected {len(rejected)} plans for this.",
                hint="Submit it again and say what matters, or give a plan of your own with "
                "`tale submit --plan FILE`.",
            )
        await hands.note(f"It is planned anew, as you did not want this plan: {verdict}")


async def agreed(
    planned: Planned,
    hands: Hands,
    rules: Rules,
    reasons: Sequence[str],
    *,
    request: str,
    seconds: Mapping[str, float],
) -> Planned | str:
    """Ask the user about a plan until they say yes to one that can be worked on.

    Args:
        planned: The plan.
        hands: Who asks.
        rules: What theirs has to satisfy, if they edit it.
        reasons: Why they are asked.
        request: What is asked for.
        seconds: How long each part probably takes, by id.

    Returns:
        The plan that they want; or why they want none like it.

    Raises:
        TaskError: They don't want it and gave no reason, or their own can't be worked on.
    """
    shown = write_plan_text(planned.parts, f"The plan for: {clipped(request, _TITLE)}")
    asked = _question(planned.parts, reasons, sum(seconds.values()))
    facts = PlanFacts(
        planned.reasoning,
        planned.changes,
        planned.used,
        planned.notes,
        seconds,
        planned.remembered,
    )
    for _ in range(_MOST_EDITED):
        outcome = await hands.act(ApprovePlan(asked, shown, digest_of(shown), facts))
        said = outcome.text.strip()
        if not outcome.ok:
            if said:
                return said
            raise TaskError(
                "You rejected its plan.",
                hint="With a reason (`tale reject ID REASON`) it is planned anew.",
            )
        if not looks_like_plan(said):
            return replace(planned, parts=_minding(planned.parts, said))
        try:
            parts = read_plan_text(said)
            faults = tuple(rules.faults(parts))
        except PromptRejected as error:
            parts, faults = (), tuple(error.message.splitlines())
        if not faults:
            changes = (*planned.changes, "The user edited the plan.")
            return replace(planned, parts=tuple(map(_checkable, parts)), changes=changes)
        listed = "\n".join(f"- {fault}" for fault in faults)
        asked = _FAULTY.format(faults=listed)
        shown = said
    raise TaskError(
        "The plan was edited many times, and could never be worked on.",
        hint="`tale submit --plan FILE` says what is wrong with a plan at once.",
    )


def _question(parts: Sequence[Subtask], reasons: Sequence[str], seconds: float) -> str:
    many = "1 part" if len(parts) == 1 else f"{len(parts)} parts"
    work = f" (about {span(seconds)} of work)" if seconds else ""
    return f"May it work on this plan of {many}{work}? You are asked because {'; '.join(reasons)}."


def _checkable(part: Subtask) -> Subtask:
    return part if part.check.strip() else replace(part, check=usual_check(part))


def _minding(parts: Sequence[Subtask], remark: str) -> tuple[Subtask, ...]:
    """Tell every part what the user said as they agreed."""
    if remark.lower().strip(" .!") in _YES:
        return tuple(parts)
    return tuple(replace(one, text=_REMARK.format(text=one.text, remark=remark)) for one in parts)


def _outline(parts: Sequence[Subtask]) -> str:
    return "\n".join(f"- {one.title}" for one in parts)
