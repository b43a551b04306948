"""What the pool gives back: an answer that streams, or a whole one. Values only.

Above: `servers.openai_api`. Below: `generation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from tale.models.backend import FinishReason, Role, Usage
from tale.models.generation import Generation

__all__ = ["Answer", "Completion", "Try", "collect", "merge_tool_calls"]


@dataclass(frozen=True, slots=True)
class Try:
    """A model's try at a request that was then asked of another, or again.

    Attributes:
        model: The model's real name.
        fault: What went wrong, in words after the name.
        usage: What it cost, where it got far enough to tell.
        counts: Whether it says something about the model: a prompt that doesn't fit doesn't.
    """

    model: str
    fault: str
    usage: Usage | None = None
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose first chunk has come. Iterate `chunks`, and close it whatever happens.

    Attributes:
        model: The real name of the model that gives it.
        role: That model's core role; None for any other.
        fell_back: Whether another model was asked for.
        reason: Why this model, in words; empty if it is the one asked for.
        chunks: The chunks, the last of which has `finish`.
        tries: The tries before this one, in their order.
    """

    model: str
    role: Role | None
    fell_back: bool
    reason: str
    chunks: Generation
    tries: tuple[Try, ...] = ()

    async def aclose(self) -> None:
        """Stop the generation if it still runs."""
        await self.chunks.aclose()


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer; see `Answer`.

    Attributes:
        tool_calls: OpenAI's deltas as they came.
        tries: The tries before this one, in their order; their tokens are not in `usage`.
        fault: What is wrong with it where every model's answer failed; empty if nothing is known.
    """

    model: str
    role: Role | None
    fell_back: bool
    reason: str
    text: str
    tool_calls: tuple[Mapping[str, object], ...]
    finish: FinishReason
    usage: Usage | None
    tries: tuple[Try, ...] = ()
    fault: str = ""


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
        answer.tries,
    )


def merge_tool_calls(deltas: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    """Put the tool calls of a stream together: by index, arguments joined."""
    calls: dict[object, tuple[dict[str, object], dict[str, str]]] = {}
    for position, delta in enumerate(deltas):
        fresh: tuple[dict[str, object], dict[str, str]] = ({"id": "", "type": "function"}, {})
        call, function = calls.setdefault(delta.get("index", position), fresh)
        call |= {key: delta[key] for key in ("id", "type") if delta.get(key)}
        given = delta.get("function")
        if isinstance(given, Mapping):
            for key, value in cast("Mapping[str, object]", given).items():
                if isinstance(value, str):
                    function[key] = function.get(key, "") + value
    return [{**call, "function": function} for call, function in calls.values()]
