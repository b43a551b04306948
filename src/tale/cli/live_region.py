"""The end of what is printed, drawn again and again until it is finished.

Lines that are finished are printed once; those below them are replaced by whatever comes, from the
first that differs, in one write. They are never more than the screen has, because what has scrolled
away can't be replaced. Above: `page`. Below: `render`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len

from tale.cli.render import Screen, unstyled

__all__ = ["LiveRegion", "rows_of", "transition"]

_UP: Final = "\x1b[{}A"
_CLEAR_BELOW: Final = "\r\x1b[J"
_KEPT_FREE: Final = 2
"""Rows of the screen that are not drawn on: the cursor's, and one to see that it goes on."""


def rows_of(line: str, columns: int) -> int:
    """Count the rows that a line takes on a screen, also one that has become narrower."""
    # Whoever wrapped the lines measures so, too.
    return max(1, -(-cell_len(unstyled(line)) // max(1, columns)))


def transition(old: Sequence[str], new: Sequence[str], columns: int) -> str:
    """Give what turns some lines on the screen into others, with the cursor behind the last.

    Args:
        old: The lines that are there, at least one.
        new: Those that are to be there, at least one.
        columns: Cells in a row of the screen now.
    """
    same = next(
        (at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other),
        min(len(old), len(new)),
    )
    if same == len(old):
        return "".join(f"\n{line}" for line in new[same:])
    if same == len(old) - 1 and same < len(new) and new[same].startswith(old[same]):
        return new[same][len(old[same]) :] + "".join(f"\n{line}" for line in new[same + 1 :])
    first = min(same, len(new) - 1)
    up = sum(rows_of(line, columns) for line in old[first:]) - 1
    return (_UP.format(up) if up else "") + _CLEAR_BELOW + "\n".join(new[first:])


class LiveRegion:
    """What is drawn at the end of standard output."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._drawn: Sequence[str] = ("",)

    def show(self, finished: Sequence[str], live: Sequence[str] = ()) -> None:
        """Print lines for good, and draw those that are not finished below them."""
        columns, rows = self._screen.size()
        # The last line is empty where nothing is being written: there the cursor waits.
        tail = tuple(live[-max(1, rows - _KEPT_FREE) :]) or ("",)
        text = transition(self._drawn, (*finished, *tail), columns)
        self._drawn = tail
        if text:
            self._screen.write(text)

    def forget(self) -> None:
        """Hear that somebody else has written on the screen: what is drawn there stays."""
        self._drawn = ("",)
