"""Notices an answer that goes on for ever: small models count, or say the same thing, without end.

Pure. Decoding greedily, the embedded task model wrote a test's cases with one more hour in each
until its tokens ran out; asked what it can do, the embedded ux model chained the same two clauses
for a minute. No stop string can be named for that. Above: `tasks.agent`, `memory.conversation`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["before_rambling", "runs_away"]

_LINES: Final = 24
"""Lines of one pattern that nobody writes on purpose; a table of data has words that differ."""
_PERIODS: Final = range(1, 4)
_CHARACTERS: Final = 600
_LONGEST_PERIOD: Final = 60
_STALE: Final = 48
"""Trigrams in a row without a new one: half a minute of speech that said it all before."""
_FENCE: Final = "```"


def runs_away(text: str) -> bool:
    """Tell whether the end of a text repeats itself, numbers aside."""
    end = re.sub(r"\d+", "0", text[-10_000:])
    lines = [line.strip() for line in end.split("\n")[:-1]][-_LINES:]
    if len(lines) == _LINES and any(map(len, lines)) and any(_repeats(lines, p) for p in _PERIODS):
        return True
    tail = text[-_CHARACTERS:]
    return (
        len(tail) == _CHARACTERS
        and not tail.isspace()
        and any(tail[p:] == tail[:-p] for p in range(1, _LONGEST_PERIOD))
    )


def before_rambling(text: str) -> str | None:
    """Give the part of a spoken answer that said something, where its end says nothing new.

    Returns:
        The text up to where every three words in a row had been said before; None while it still
        says new things. Code repeats itself for good reasons, so inside a fence it is None.
    """
    if text.count(_FENCE) % 2:
        return None
    words = list(re.finditer(r"\S+", text))
    seen: set[tuple[str, ...]] = set()
    fresh = 0
    for end in range(3, len(words) + 1):
        trigram = tuple(word.group().lower() for word in words[end - 3 : end])
        if trigram not in seen:
            seen.add(trigram)
            fresh = end
    if len(words) - fresh < _STALE:
        return None
    return text[: words[fresh - 1].end()]


def _repeats(lines: Sequence[str], period: int) -> bool:
    return lines[period:] == lines[:-period]
