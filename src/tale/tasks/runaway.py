"""Notices an answer that goes on for ever: small models count, or say the same thing, without end.

Pure. Decoding greedily, the embedded task model wrote a test's cases with one more hour in each
until its tokens ran out; no stop string can be named for that. Above: `tasks.agent`.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["runs_away"]

_LINES: Final = 24
"""Lines of one pattern that nobody writes on purpose; a table of data has words that differ."""
_PERIODS: Final = range(1, 4)
_CHARACTERS: Final = 600
_LONGEST_PERIOD: Final = 60


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


def _repeats(lines: list[str], period: int) -> bool:
    return lines[period:] == lines[:-period]
