"""Summarises a text that is longer than any window: its parts first, then their summaries.

Map and reduce, with a bounded number of rounds. What asks the model is handed in, and so are the
token counts. The calls are the same for the same text, so they may be `Order.cacheable`. Above:
whoever takes a text to summarise. Below: nothing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["Summarise", "digest", "split"]

Summarise = Callable[[str], Awaitable[str]]
"""Gives the summary of a text that fits."""

_ROUNDS: Final = 3
# Where a text may be cut, the best first: after a paragraph, a line, a sentence, a word.
_CUTS: Final = tuple(
    re.compile(pattern) for pattern in (r"(?<=\n\n)", r"(?<=\n)", r"(?<=[.!?\u3002] )", r"(?<= )")
)


async def digest(
    text: str,
    summarise: Summarise,
    count: Callable[[str], int],
    room: int,
    *,
    rounds: int = _ROUNDS,
) -> str:
    """Summarise a text of any length.

    Summaries that do not come down to one part after `rounds` rounds are given one after the other:
    a model that shortens nothing must not be asked for ever.

    Args:
        text: What to summarise.
        summarise: Asks the model.
        count: Counts tokens; a text's may be no more than those of its halves together.
        room: Tokens of text that fit one call.
        rounds: How often summaries are summarised.
    """
    for _ in range(rounds):
        parts = [part for part in split(text, count, room) if part.strip()]
        if len(parts) <= 1:
            return await summarise(text)
        # One after the other: they are all for one model, which has few slots.
        summaries = [(await summarise(part)).strip() for part in parts]
        text = "\n\n".join(summaries)
    return await summarise(text) if count(text) <= room else text


def split(text: str, count: Callable[[str], int], room: int) -> list[str]:
    """Cut a text into parts of at most `room` tokens, at its paragraphs where it has any.

    Joined, the parts are the text again. A single character is never cut, whatever it takes.
    """
    parts: list[str] = []
    current: list[str] = []
    taken = 0
    for piece in _pieces(text, count, room, 0):
        size = count(piece)
        if current and taken + size > room:
            parts.append("".join(current))
            current, taken = [], 0
        current.append(piece)
        taken += size
    if current:
        parts.append("".join(current))
    return parts


def _pieces(text: str, count: Callable[[str], int], room: int, level: int) -> list[str]:
    if len(text) <= 1 or count(text) <= room:
        return [text]
    if level < len(_CUTS):
        cut, level = _CUTS[level].split(text), level + 1
    else:
        cut = [text[: len(text) // 2], text[len(text) // 2 :]]
    return [piece for part in cut for piece in _pieces(part, count, room, level)]
