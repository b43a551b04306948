"""An answer on a terminal that can move its cursor: what is finished is printed, the rest is drawn.

Above: `answer`, which imports this when there is something to write. Below: `markdown_blocks` (what
is finished), `typeset` (how it looks), `live_region` (what is drawn anew), `render`.
"""

from __future__ import annotations

from tale.cli.live_region import LiveRegion
from tale.cli.markdown_blocks import BEGINNING, Reading, read
from tale.cli.render import Screen
from tale.cli.typeset import Setting, set_pieces

__all__ = ["Page", "page_lines"]


def page_lines(text: str, screen: Screen) -> list[str]:
    """Set a whole answer."""
    reading, pieces = read(BEGINNING, text)
    pieces += reading.rest()
    return set_pieces(Setting(), pieces, screen.size()[0], color=screen.color)[1]


class Page:
    """One answer, or a part of it that begins anew."""

    def __init__(self, screen: Screen) -> None:
        self.region = LiveRegion(screen)
        self._screen = screen
        self._reading: Reading = BEGINNING
        self._setting = Setting()
        self._ready: list[str] = []

    def take(self, text: str) -> None:
        """Read on; nothing is written yet."""
        self._reading, pieces = read(self._reading, text)
        columns = self._screen.size()[0]
        self._setting, lines = set_pieces(self._setting, pieces, columns, color=self._screen.color)
        self._ready += lines

    def draw(self) -> None:
        """Write what is finished and draw what is not."""
        columns = self._screen.size()[0]
        _, live = set_pieces(
            self._setting,
            self._reading.rest(live=True),
            columns,
            color=self._screen.color,
            live=True,
        )
        self.region.show(self._ready, live)
        self._ready = []

    def finish(self) -> None:
        """Write all that there is; the cursor is at the beginning of a line then."""
        columns = self._screen.size()[0]
        _, lines = set_pieces(
            self._setting, self._reading.rest(), columns, color=self._screen.color
        )
        self.region.show([*self._ready, *lines])
        self._ready = []
