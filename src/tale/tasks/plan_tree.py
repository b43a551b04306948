"""A plan as lines that people read: what waits for what, as a tree of plain text. Pure.

A part names those that it waits for. Above: whoever shows plans, the command line and the chat.
Below: `tree` (where each part stands), `task`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from tale.tasks.task import Subtask
from tale.tasks.tree import branches
from tale.tasks.words import span

__all__ = ["plan_lines", "wide"]

_COLUMNS: Final = 80
_DETAILED: Final = 30
"""Parts up to which files and checks are shown: three lines each still fit a few screens."""
_LEAST_TITLE: Final = 20
_MARKS: Final[Mapping[str, str]] = {
    "running": "… ",
    "done": "✓ ",
    "failed": "✗ ",
    "cancelled": "- ",
}


def plan_lines(
    plan: Sequence[Subtask],
    seconds: Mapping[str, float] | None = None,
    *,
    columns: int = _COLUMNS,
    detailed: bool | None = None,
) -> list[str]:
    """Draw a plan.

    Args:
        plan: Its parts; one that can't be worked on, as it has a circle, is drawn all the same.
        seconds: What each is expected to take, by id, where that is known.
        columns: How wide a line may be.
        detailed: Whether files and checks are shown; unless it is said, where there are few parts.
    """
    if detailed is None:
        detailed = len(plan) <= _DETAILED
    return _Drawn(plan, seconds or {}, columns, detailed=detailed).lines()


def wide(text: str) -> int:
    """Count the columns that a text takes in a terminal."""
    return sum(
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in text
    )


class _Drawn:
    def __init__(
        self,
        plan: Sequence[Subtask],
        seconds: Mapping[str, float],
        columns: int,
        *,
        detailed: bool,
    ) -> None:
        self._parts = {one.id: one for one in plan}
        self._seconds = seconds
        self._columns = columns
        self._detailed = detailed
        self._out: list[str] = []

    def lines(self) -> list[str]:
        """Give the lines, each no wider than it may be."""
        for branch in branches({one.id: one.depends_on for one in self._parts.values()}):
            self._draw(self._parts[branch.id], branch.first, branch.rest)
        return self._out

    def _draw(self, part: Subtask, first: str, rest: str) -> None:
        takes = span(self._seconds[part.id]) if part.id in self._seconds else ""
        after = f" (after {', '.join(part.depends_on)})" if part.depends_on else ""
        name = _plain(part.id)
        title = "" if part.title in {"", part.id} else f"  {_plain(part.title)}"
        room = self._columns - wide(first) - (wide(takes) + 2 if takes else 0)
        mark = _MARKS.get(part.state, "")
        head = _cut(f"{mark}{name}{title}", room)
        # What it waits for is cut before what it is.
        left = room - wide(head)
        if after and wide(after) > left and left < _LEAST_TITLE:
            head = _cut(f"{mark}{name}{title}", max(room - min(wide(after), room // 2), 1))
            left = room - wide(head)
        line = f"{first}{head}{_cut(after, left)}"
        gap = self._columns - wide(line) - wide(takes)
        self._out.append(f"{line}{' ' * gap}{takes}" if takes else line)
        if self._detailed:
            self._out += [_cut(f"{rest}{line}", self._columns) for line in _details(part)]


def _details(part: Subtask) -> list[str]:
    lines: list[str] = []
    if part.reads:
        lines.append(f"reads {_plain(', '.join(part.reads))}")
    if part.writes:
        lines.append(f"writes {_plain(', '.join(part.writes))}")
    if part.check:
        lines.append(f"check: {_plain(part.check)}")
    return lines


def _plain(text: str) -> str:
    """Take out what would move a terminal's cursor or colour what follows."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _cut(text: str, columns: int) -> str:
    if wide(text) <= columns:
        return text
    while text and wide(text) >= columns:
        text = text[:-1]
    return f"{text}…" if columns > 0 else ""
