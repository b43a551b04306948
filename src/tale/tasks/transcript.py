"""The conversation of a step that acts by JSON: which messages go to the model, and for a reader.

Pure. Turns are only ever appended, so that the prefix cache holds; where they grow past the room
the older half of them is cut short at once, not a little with each turn. Above: `tasks.agent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tale.models.backend import Message

__all__ = ["Turn", "for_model", "for_reader"]

_ROOM: Final = 16_000
"""Characters of turns: some 4,000 tokens, half of the smallest window in use."""
_CUT: Final = 160
_RESULT: Final = 3_000
"""Characters of one result; who needs more of a file reads it in parts."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a model said, and what it was told then."""

    said: str
    told: str


def for_model(turns: Sequence[Turn], room: int = _ROOM) -> tuple[Message, ...]:
    """Give the messages that come after the opening; the last turns are whole."""
    whole = [Turn(turn.said, _shorten(turn.told, _RESULT)) for turn in turns]
    cut = 0
    while _size(whole[:cut], _CUT) + _size(whole[cut:]) > room and cut < len(whole) - 1:
        # By halves, so that what is cut stays the same for many turns.
        cut += max(1, (len(whole) - cut) // 2)
    shortened = [Turn(_shorten(turn.said, _CUT), _shorten(turn.told, _CUT)) for turn in whole[:cut]]
    return tuple(
        message
        for turn in (*shortened, *whole[cut:])
        for message in (Message("assistant", turn.said), Message("user", turn.told))
    )


def for_reader(opening: Sequence[Message], turns: Sequence[Turn]) -> str:
    """Write it down for a person who wants to see what went wrong."""
    parts = [f"## {message.role}\n\n{message.content}\n" for message in opening]
    for turn in turns:
        parts += [f"## assistant\n\n{turn.said}\n", f"## user\n\n{turn.told}\n"]
    return "\n".join(parts)


def _size(turns: Sequence[Turn], most: int | None = None) -> int:
    sizes = (len(part) for turn in turns for part in (turn.said, turn.told))
    return sum(size if most is None else min(size, most) for size in sizes)


def _shorten(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"
