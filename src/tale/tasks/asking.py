"""One model call for a step: its tokens are told as they come, and it ends where it runs away.

Above: `servers.execution`. Below: the models server through `models.caller`.
"""

from __future__ import annotations

from typing import Final

from tale.models.backend import ChatRequest, Chunk, Usage
from tale.models.caller import ModelCaller, Purpose
from tale.models.runaway import before_rambling, runs_away
from tale.tasks.fences import closed
from tale.tasks.hands import Question, Reply
from tale.tasks.task import STEP_SECONDS, Kind, Noted, Report, Step, TokenSaid, TokensSpent

__all__ = ["ask", "options_of"]

_CHECK_CHARACTERS: Final = 256


async def ask(step: Step, question: Question, models: ModelCaller, report: Report) -> Reply:
    """Ask a model.

    Args:
        step: For whom.
        question: What is asked.
        models: Whom to ask.
        report: Hears tokens as they come, and why there are none yet.

    Raises:
        TaleError: The model could not answer.
    """
    request = ChatRequest(
        question.messages,
        max_tokens=question.max_tokens,
        temperature=question.temperature,
        stop=question.stop,
        options=options_of(question),
    )
    text, checked, ran_away = "", 0, False
    last = Chunk()

    async def held_up(why: str) -> None:
        await report(Noted(why))

    # The task is a session of its own unless it comes from a conversation.
    purpose = Purpose(session=question.session or step.session or step.task)
    async with models.stream(
        request, question.role, STEP_SECONDS, purpose=purpose, held_up=held_up
    ) as answer:
        async for chunk in answer:
            if chunk.text:
                text += chunk.text
                if question.shown:
                    await report(TokenSaid(chunk.text))
            last = chunk if chunk.finish else last
            if len(text) - checked >= _CHECK_CHARACTERS:
                checked = len(text)
                if ran_away := _repeats(step.kind, text):
                    break
        model, role, reason = answer.model, answer.role or step.role, answer.reason
    usage = last.usage or Usage()
    return Reply(
        closed(text) if question.stop and last.finish == "stop" else text,
        model,
        role,
        reason,
        "length" if ran_away else last.finish or "stop",
        TokensSpent(usage.prompt, usage.completion, usage.cached),
        ran_away,
    )


def options_of(question: Question) -> dict[str, object]:
    """Write a question's schema as OpenAI's `response_format`, which llama.cpp and Ollama heed."""
    if question.schema is None:
        return {}
    shape = {"name": "answer", "schema": dict(question.schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": shape}}


def _repeats(kind: Kind, text: str) -> bool:
    return runs_away(text) or (kind == "talk" and before_rambling(text) is not None)
