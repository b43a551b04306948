"""The agent that does a step: it asks, has things done, checks, and decides what comes next.

It only decides. Whatever lies outside of it goes through `Hands`, and it reads no clock and throws
no dice, so that given the same replies it does the same again: that is how a step goes on after a
crash. Above: `tasks.engine` (hands that record). Below: `tasks.by_fences` and `tasks.by_json`, the
two forms of acting.
"""

from __future__ import annotations

from typing import Final

from tale.models.backend import Message
from tale.prompts import CHAT_SYSTEM
from tale.tasks.attempts import Limits
from tale.tasks.by_fences import work_by_fences
from tale.tasks.by_json import work_by_json
from tale.tasks.hands import Hands, Question
from tale.tasks.task import Step, StepResult
from tale.tasks.workbench import Workbench, say_how_it_ended

__all__ = ["work"]

_TALK_TOKENS: Final = 1024
_TALK_TEMPERATURE: Final = 0.3


async def work(step: Step, hands: Hands, limits: Limits | None = None) -> StepResult:
    """Do a step.

    Args:
        step: What to do, and where.
        hands: Who asks and acts for it.
        limits: What it may take.

    Raises:
        TaleError: A model could not answer, or the workspace can't be written.
        TaskError: The models' answers were of no use however often they were asked; the transcript
            is in the workspace.
    """
    if step.kind == "talk" and not step.tools:
        return await _talk(step, hands)
    bench = Workbench(step, hands, limits or Limits())
    return await (work_by_json(bench) if step.form == "json" else work_by_fences(bench))


async def _talk(step: Step, hands: Hands) -> StepResult:
    messages = (Message("system", CHAT_SYSTEM), Message("user", step.text))
    reply = await hands.ask(
        Question(messages, _TALK_TOKENS, _TALK_TEMPERATURE, session=step.session or step.task)
    )
    await say_how_it_ended(reply, hands)
    return StepResult(
        reply.text, reply.model, reply.role, usage=reply.usage, reason=reply.reason, turns=1
    )
