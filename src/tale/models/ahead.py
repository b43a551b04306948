"""Computes the beginning of a prompt before somebody needs it, while the model has nothing to do.

A conversation whose window moves on has another beginning, which nobody should wait for. It is
computed in small strides, because llama.cpp gives up a batch only at its end: whoever asks
meanwhile waits for one stride at most, and what is left is computed another time. Above:
`model_pool`. Below: `resident`, `generation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from tale.errors import ModelError
from tale.models.backend import ChatRequest, Message
from tale.models.generation import Generation
from tale.models.pool_policy import Policy
from tale.models.resident import ResidentModel
from tale.telemetry import get_logger

__all__ = ["compute_ahead", "strides"]

log = get_logger(__name__)

_STRIDE_CHARACTERS: Final = 256
"""Some 64 tokens: 0.6 s of the embedded ux model's time on two cores."""


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
        if not model.ready or model.in_flight or model.wanted or model.pulsing:
            return False
        generation = Generation(model.backend, request, policy=policy, clock=clock)
        try:
            async for _ in generation:
                pass
        except ModelError as error:
            log.info("ahead.given_up", model=model.key, reason=error.message)
            return False
        finally:
            await generation.aclose()
    return True


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
