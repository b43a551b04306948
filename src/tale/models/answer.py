"""What the pool gives back: an answer that streams, or a whole one. Values only.

Above: `servers.openai_api`. Below: `generation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tale.models.backend import FinishReason, Role, Usage
from tale.models.generation import Generation

__all__ = ["Answer", "Completion", "collect"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose first chunk has come. Iterate `chunks`, and close it whatever happens.

    Attributes:
        model: The real name of the model that gives it.
        role: That model's core role; None for a further one.
        fell_back: Whether another model was asked for.
        reason: Why this model, in words; empty if it is the one asked for.
        chunks: The chunks, the last of which has `finish`.
    """

    model: str
    role: Role | None
    fell_back: bool
    reason: str
    chunks: Generation

    async def aclose(self) -> None:
        """Stop the generation if it still runs."""
        await self.chunks.aclose()


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer; see `Answer`. `tool_calls` are OpenAI's deltas as they came."""

    model: str
    role: Role | None
    fell_back: bool
    reason: str
    text: str
    tool_calls: tuple[Mapping[str, object], ...]
    finish: FinishReason
    usage: Usage | None


async def collect(answer: Answer) -> Completion:
    """Read an answer to its end; the caller closes it."""
    texts: list[str] = []
    calls: list[Mapping[str, object]] = []
    finish: FinishReason = "stop"
    usage: Usage | None = None
    async for chunk in answer.chunks:
        texts.append(chunk.text)
        calls.extend(chunk.tool_calls)
        finish = chunk.finish or finish
        usage = chunk.usage or usage
    return Completion(
        answer.model,
        answer.role,
        answer.fell_back,
        answer.reason,
        "".join(texts),
        tuple(calls),
        finish,
        usage,
    )
