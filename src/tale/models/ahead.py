"""Uses a model while it has nothing to do: computes a prompt's beginning, or answers a request.

A conversation whose window moves on has another beginning, which nobody should wait for. It is
computed in small strides, because llama.cpp gives up a batch only at its end: whoever asks
meanwhile waits for one stride at most, and what is left is computed another time. An answer that
nobody waits for is given up as soon as somebody asks for another, and asked for again later. Above:
`model_pool`. Below: `resident`, `generation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tale.errors import ModelError
from tale.models.backend import ChatRequest, FinishReason, Message, Role, Usage
from tale.models.generation import Generation
from tale.models.pool_policy import Policy
from tale.models.resident import ResidentModel
from tale.telemetry import get_logger

__all__ = ["SpareAnswer", "answer_in_spare_time", "compute_ahead", "strides"]

log = get_logger(__name__)

_STRIDE_CHARACTERS: Final = 256
"""Some 64 tokens: 0.6 s of the embedded ux model's time on two cores."""


@dataclass(frozen=True, slots=True)
class SpareAnswer:
    """An answer that was given while nobody else asked."""

    text: str
    model: str
    role: Role | None
    finish: FinishReason
    usage: Usage | None


async def compute_ahead(
    model: ResidentModel,
    messages: Sequence[Message],
    *,
    policy: Policy,
    clock: Callable[[], float],
) -> bool:
    """Compute a prompt's beginning; gives way to whoever asks.

    Args:
        model: Whose cache it is computed into.
        messages: The beginning, which may end with anybody's message.
        policy: The watchdog's numbers.
        clock: Monotonic seconds.

    Returns:
        Whether all of it is computed. What is computed of it stays so for the next try.
    """
    for request in strides(messages):
        if _taken(model):
            return False
        generation = Generation(
            model.backend, request, policy=policy, clock=clock, among=model.running
        )
        try:
            async for _ in generation:
                # A pulse would have to break in, and take its place in the cache.
                model.heard_at = clock()
        except ModelError as error:
            log.info("ahead.given_up", model=model.key, reason=error.message)
            return False
        finally:
            await generation.aclose()
    return True


async def answer_in_spare_time(
    model: ResidentModel,
    request: ChatRequest,
    *,
    policy: Policy,
    clock: Callable[[], float],
) -> SpareAnswer | None:
    """Have a request answered; gives way to whoever asks.

    Args:
        model: Who answers.
        request: What; its prompt is computed in strides first.
        policy: The watchdog's numbers.
        clock: Monotonic seconds.

    Returns:
        The answer; None where the model was needed meanwhile.

    Raises:
        ModelError: The model failed, once the prompt was computed.
    """
    if not await compute_ahead(model, request.messages, policy=policy, clock=clock):
        return None
    generation = Generation(model.backend, request, policy=policy, clock=clock, among=model.running)
    text: list[str] = []
    finish: FinishReason = "stop"
    usage: Usage | None = None
    try:
        async for chunk in generation:
            model.heard_at = clock()
            text.append(chunk.text)
            finish, usage = chunk.finish or finish, chunk.usage or usage
            if _taken(model) and chunk.finish is None:
                return None
    finally:
        await generation.aclose()
    return SpareAnswer("".join(text), model.backend.model, model.role, finish, usage)


def _taken(model: ResidentModel) -> bool:
    return bool(not model.ready or model.in_flight or model.wanted or model.pulsing)


def strides(messages: Sequence[Message], size: int = _STRIDE_CHARACTERS) -> Iterator[ChatRequest]:
    """Give prompts that grow by `size` characters to the whole; each asks for one token."""
    whole = sum(len(message.content) for message in messages)
    for end in (*range(size, whole, size), whole):
        yield ChatRequest(_first(messages, end), max_tokens=1, temperature=0.0)


def _first(messages: Sequence[Message], characters: int) -> tuple[Message, ...]:
    """Give the beginning of a conversation, up to so many characters."""
    first: list[Message] = []
    for message in messages:
        if characters <= 0:
            break
        first.append(replace(message, content=message.content[:characters]))
        characters -= len(message.content)
    return tuple(first)
