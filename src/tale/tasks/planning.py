"""The parts of a plan that are tale's own: to make it, mend it, split a part, look at the whole.

They are done with hands alone, as all parts are, and say beside their result how the plan goes on.
What they look at is recorded first, so that they come to the same after a crash though others went
on meanwhile. Above: `tasks.step_work`. Below: `tasks.plan_memory`, `tasks.plan_approval`,
`tasks.planner`, `tasks.split_planner`, `tasks.whole`, `tasks.course`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from pydantic import TypeAdapter, ValidationError

from tale.tasks.attempts import Limits
from tale.tasks.course import mended, planned, split_up
from tale.tasks.durable import Changed, Json, Recorder
from tale.tasks.hands import Hands
from tale.tasks.plan import PLAN_PART, SPLIT_PART, WHOLE_PART
from tale.tasks.plan_approval import Expect, plan_with_approval, usually
from tale.tasks.plan_memory import Ask, remembered_for
from tale.tasks.plan_policy import PlanPolicy
from tale.tasks.planner import Planned, Rules, repair
from tale.tasks.recompose import Recompose, failures_of
from tale.tasks.split_planner import split
from tale.tasks.splitting import split_by
from tale.tasks.task import Approve, Step, StepResult, Subtask, Task
from tale.tasks.too_big import too_big
from tale.tasks.whole import check_whole

__all__ = ["PlanKeeping", "own_part"]

_LOOKED: Final = "plan"
_PLAN: Final = TypeAdapter(tuple[Subtask, ...])
_EXPECTED: Final = "durations"
_SECONDS: Final = TypeAdapter(dict[str, float])


@dataclass(frozen=True, slots=True)
class PlanKeeping:
    """By what plans are made.

    Attributes:
        rules: What each has to satisfy.
        policy: When its user is asked, by what they said of the task.
        expect: How long parts take, by what was learned until now.
        answer: Tokens that one answer of the model may have: a part that needs more is split.
        memory: Who knows what is remembered; None where nobody does.
    """

    rules: Rules
    policy: Callable[[Approve | None], PlanPolicy]
    expect: Expect = usually
    answer: int = Limits().answer
    memory: Ask | None = None


async def own_part(
    step: Step,
    hands: Hands,
    recorder: Recorder,
    keeping: PlanKeeping,
    *,
    task: Task,
    part: Subtask,
    parts: Mapping[str, Subtask],
) -> tuple[StepResult, Recompose | None]:
    """Do a part of tale's own.

    Args:
        step: The part as a step.
        hands: Who asks and acts.
        recorder: Records what is looked at.
        keeping: By what plans are made.
        task: Whose plan it is.
        part: What is done.
        parts: The plan as it stands.

    Returns:
        What it gave, and how the plan goes on.

    Raises:
        TaskError: The user does not want the plan.
        TaleError: A model could not answer.
    """
    expect = partial(_expected, recorder, keeping.expect)
    if part.id == PLAN_PART:
        policy = keeping.policy(task.approve)
        known = await remembered_for(task, keeping.memory, recorder, hands)
        made = await plan_with_approval(
            step, hands, keeping.rules, policy, request=task.text, expect=expect, memory=known
        )
        return _result(made, step), planned(made, keeping.answer)
    plan = await _looked_at(recorder, tuple(parts.values()))
    if part.id.startswith(WHOLE_PART):
        return await check_whole(step, hands, task.text, plan), None
    if part.id.startswith(SPLIT_PART):
        big = split_by({one.id: one for one in plan}, part.id)
        if big is None or not too_big(big, keeping.answer):  # the plan was changed meanwhile
            return _result(Planned(()), step), split_up(Planned(()), part.id, None, keeping.answer)
        made = await split(
            step,
            hands,
            keeping.rules,
            keeping.policy(task.approve),
            part=big,
            plan=plan,
            request=task.text,
            expect=expect,
        )
        return _result(made, step), split_up(made, part.id, big, keeping.answer)
    [failed, *_] = failures_of(plan, part.id)
    why = part.text
    known = await remembered_for(task, keeping.memory, recorder, hands)
    made = await repair(
        step,
        hands,
        keeping.rules,
        plan,
        failed=failed,
        why=why,
        request=task.text,
        memory=known,
    )
    return _result(made, step), mended(made, part.id, keeping.answer)


async def _looked_at(recorder: Recorder, plan: tuple[Subtask, ...]) -> tuple[Subtask, ...]:
    """Give the plan as it stood when the part was first begun."""

    async def look() -> Json:
        return cast("Json", _PLAN.dump_python(plan, mode="json"))

    try:
        return _PLAN.validate_python(await recorder.step(_LOOKED, look))
    except ValidationError as error:
        raise Changed("The recorded plan is of another version of tale.") from error


async def _expected(
    recorder: Recorder, expect: Expect, plan: Sequence[Subtask]
) -> Mapping[str, float]:
    """Give how long parts were expected to take when it was asked first: what is learned grows."""

    async def look() -> Json:
        return {part: round(seconds, 1) for part, seconds in (await expect(plan)).items()}

    try:
        return _SECONDS.validate_python(await recorder.step(_EXPECTED, look))
    except ValidationError as error:
        raise Changed("The recorded durations are of another version of tale.") from error


def _result(made: Planned, step: Step) -> StepResult:
    """Give what planning came to, as parts give it."""
    last = made.replies[-1] if made.replies else None
    return StepResult(
        made.reasoning,
        last.model if last else "",
        last.role if last else step.role,
        usage=made.usage,
        reason=last.reason if last else "",
        turns=len(made.replies),
    )
