"""Packs a conversation into a model's window, and says what was left out. Pure.

System messages, the last user message and what follows it always stay. Of the turns between, the
oldest go first, and in large steps: were one turn dropped with each new one, the prompt would begin
differently every time, and its prefix would never be found in the cache. Tokens are counted by the
caller, with the model's own tokenizer. Above: whoever sends a conversation to a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from tale.errors import ContextExceeded
from tale.models.backend import Message

__all__ = ["Fitted", "fit", "too_long"]

# A quarter of the window: the prefix stays for as many turns as fill one, and at least three
# quarters of what would fit are sent.
_STEPS: Final = 4


@dataclass(frozen=True, slots=True)
class Fitted:
    """A conversation as it fits.

    Attributes:
        messages: What is sent, in its order.
        tokens: What they take.
        left_out: Messages that were left out, the oldest ones.
    """

    messages: tuple[Message, ...]
    tokens: int
    left_out: int = 0


def fit(
    messages: Sequence[Message], tokens: Sequence[int], window: int, answer: int
) -> Fitted | None:
    """Pack a conversation; None if what must stay does not fit.

    Args:
        messages: The conversation, oldest first.
        tokens: What each message takes in the prompt, its template included.
        window: Tokens of the model's window.
        answer: Tokens that are kept free for the answer.
    """
    room = window - answer
    last = _last_turn(messages)
    turns = _turns(messages, last)
    sizes = [sum(tokens[index] for index in turn) for turn in turns]
    before = [0, *accumulate(sizes)]
    fixed = sum(tokens) - before[-1]
    if fixed > room:
        return None
    dropped = _dropped(before, room - fixed, max(1, window // _STEPS))
    gone = {index for turn in turns[:dropped] for index in turn}
    kept = tuple(turn for index, turn in enumerate(messages) if index not in gone)
    return Fitted(kept, sum(tokens) - before[dropped], len(gone))


def too_long(needed: int, answer: int, windows: Mapping[str, int]) -> ContextExceeded:
    """Say with figures that a request fits no model.

    Args:
        needed: Tokens of what must be sent.
        answer: Tokens kept free for the answer.
        windows: Each model's window, by its name.
    """
    figures = ", ".join(f"{name} {window:,}" for name, window in windows.items())
    return ContextExceeded(
        f"The request needs {needed:,} tokens, and {answer:,} are kept for the answer; "
        f"no model's window holds that: {figures}.",
        hint="Split it, ask for a summary, or give a model a larger `context` in tale.toml.",
    )


def _last_turn(messages: Sequence[Message]) -> int:
    """Find where the turn begins that is to be answered."""
    users = [index for index, turn in enumerate(messages) if turn.role == "user"]
    return users[-1] if users else max(0, len(messages) - 1)


def _turns(messages: Sequence[Message], last: int) -> list[list[int]]:
    """Gather what may go: each user message with all that answered it, calls and results."""
    turns: list[list[int]] = []
    for index, message in enumerate(messages[:last]):
        if message.role == "system":
            continue
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(index)
    return turns


def _dropped(before: Sequence[int], room: int, step: int) -> int:
    """Count the turns that go: up to a multiple of `step` tokens, the smallest that makes room."""
    total = before[-1]
    floor = 0
    for dropped, gone in enumerate(before):
        if gone >= floor:
            if total - gone <= room:
                return dropped
            floor = (gone // step + 1) * step
    return len(before) - 1
