"""What each part of a window may have of its tokens: a function of the budget alone. Pure.

A window of two thousand tokens and one of a hundred thousand are served by the same memory, in the
same proportions. Above: `context`, `windows`, `summarising`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Sizes", "sizes_of"]

_FACTS: Final = 16
_SUMMARY: Final = 5
"""One part in so many: a fifth of 6,000 tokens holds the names, numbers and decisions of 200
turns, and leaves three quarters to what was said last."""
_RECALLED: Final = 2
_TURN: Final = 3
_CHUNK: Final = 6
_SMALLEST_CHUNK: Final = 96
_LARGEST_CHUNK: Final = 768
"""Tokens of talk that one summary is made of. The 0.5B sums up a page, and loses more of each page
that is added; a page is computed in seven seconds."""
_PROSE: Final = (32, 96)
"""Tokens of one summary in sentences, at least and at most."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Tokens that the parts of a window may have, the system prompt apart.

    Attributes:
        room: All of them together.
        facts: The facts that are always there.
        summary: What was said before the window begins.
        turns: The turns, with what was recalled for them.
        turn: One turn, of which more is left out in its middle.
        recalled: What is recalled for one request.
        chunk: Turns that are summed up at a time.
        prose: The sentences of one summary.
    """

    room: int
    facts: int
    summary: int
    turns: int
    turn: int
    recalled: int
    chunk: int
    prose: int


def sizes_of(room: int, fresh: int | None = None) -> Sizes:
    """Divide a room.

    Args:
        room: Tokens of the window beside the system prompt.
        fresh: Tokens that may be recalled for one request though each of them has to be computed
            before the answer begins; None where that costs nothing.
    """
    room = max(0, room)
    facts, summary = room // _FACTS, room // _SUMMARY
    turns = room - facts - summary
    recalled = room // _RECALLED
    chunk = min(max(room // _CHUNK, _SMALLEST_CHUNK), _LARGEST_CHUNK)
    return Sizes(
        room=room,
        facts=facts,
        summary=summary,
        turns=turns,
        turn=turns - turns // _TURN,
        recalled=recalled if fresh is None else min(recalled, fresh),
        chunk=chunk,
        prose=min(max(chunk // 6, _PROSE[0]), _PROSE[1]),
    )
