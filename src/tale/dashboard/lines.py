"""The widgets that show what was laid out: a scrolled table with a cursor, and single lines.

They colour tones by the theme and repaint only the lines that have changed, which is what keeps the
dashboard cheap. Nothing that they are given is read as markup. Above: `panel`, `app`. Below:
`drawing`, Textual's line API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tale.dashboard.drawing import Drawn, Line, clipped, draw, width_of
from tale.dashboard.shown import Span, Table

__all__ = ["OneLine", "TableLines"]

_TONES: Final = frozenset(
    f"tone--{tone}" for tone in ("plain", "strong", "dim", "faint", "good", "warn", "bad", "accent")
)
_CURSOR: Final = "tone--cursor"


def _strip(widget: Widget, line: Line, width: int, base: Style, over: Style) -> Strip:
    segments = [
        Segment(span.text, widget.get_component_rich_style(f"tone--{span.tone}") + over)
        for span in line
    ]
    return Strip(segments).adjust_cell_length(width, base + over).simplify()


class OneLine(Widget):
    """A single line: what stands left, and what stands right where there is room for it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(_TONES)
    DEFAULT_CSS = "OneLine { height: 1; padding: 0 1; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        """Make it empty."""
        super().__init__(id=id, classes=classes)
        self._left: Line = ()
        self._right: Line = ()
        self._fill = " "

    def show(self, left: Sequence[Span], right: Sequence[Span] = (), *, fill: str = " ") -> None:
        """Show this from now on.

        Args:
            left: What stands left, cut where there is no room.
            right: What stands right, left out where it would meet the other.
            fill: What stands between them.
        """
        shown = (tuple(left), tuple(right), fill)
        if shown != (self._left, self._right, self._fill):
            self._left, self._right, self._fill = shown
            self.refresh()

    @property
    def text(self) -> str:
        """What it shows, without tones."""
        return "".join(span.text for span in (*self._left, *self._right))

    def render_line(self, y: int) -> Strip:
        """Draw it."""
        width, base = self.size.width, self.rich_style
        if y:
            return Strip.blank(width, base)
        left, right = clipped(self._left, width), self._right
        gap = width - width_of(left) - width_of(right)
        if gap < 2:
            right, gap = (), width - width_of(left)
        filled = f" {self._fill * (gap - 2)} " if right else f" {self._fill * (gap - 1)}"
        between = (Span(filled, "faint"),) if self._fill != " " and gap > 2 else (Span(" " * gap),)
        return _strip(self, (*left, *between, *right), width, base, Style.null())


class TableLines(ScrollView, can_focus=True):
    """A table that is scrolled, with a cursor over those of its rows that can be chosen."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*_TONES, _CURSOR}
    DEFAULT_CSS = (
        "TableLines { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; overflow-x: hidden; }"
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown,space", "page(1)", "Page down", show=False),
        Binding("home,g", "end(-1)", "First", show=False),
        Binding("end,G", "end(1)", "Last", show=False),
    ]

    class Moved(Message):
        """The cursor stands on another row, by the user's doing."""

        def __init__(self, lines: TableLines, key: str) -> None:
            """Say where, and on which row."""
            super().__init__()
            self.lines = lines
            self.key = key

        @property
        def control(self) -> TableLines:
            """Whose cursor it is."""
            return self.lines

    class Seen(Message):
        """A table has come into sight, or is seen in another size."""

    def __init__(self, *, follow: bool = False, id: str | None = None) -> None:  # noqa: A002
        """Make it empty.

        Args:
            follow: Whether it stays at its end as it grows, unless it was scrolled away from it.
            id: Its id.
        """
        super().__init__(id=id)
        self._follow = self._at_end = follow
        self._table = Table()
        self._drawn = Drawn(None, (), ())
        self._width = 0
        self._key = ""

    @property
    def key(self) -> str:
        """The row that is chosen; empty where none can be."""
        return self._key

    @property
    def text(self) -> str:
        """What it shows, all of it, without tones."""
        head = [self._drawn.head] if self._drawn.head else []
        lines = (*head, *self._drawn.lines)
        return "\n".join("".join(span.text for span in line).rstrip() for line in lines)

    def show(self, table: Table, key: str | None = None) -> None:
        """Show this table from now on.

        Args:
            table: What is shown.
            key: The row that is to be chosen; if missing, the same as before.
        """
        if key is not None and key != self._key:
            self._key = key
            self.refresh()
        if table != self._table:
            self._table = table
            self._lay_out()

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width
        if width <= 0:
            return
        seen = self._is_seen(self._place)
        before, self._drawn, self._width = self._drawn, draw(self._table, width), width
        keys = [key for key in self._drawn.keys if key]
        if self._key not in keys:
            self._key = self._nearest(before.keys, keys)
        height = len(self._drawn.lines) + self._head
        if height != self.virtual_size.height or width != self.virtual_size.width:
            self.virtual_size = Size(width, height)
        if before.head != self._drawn.head or len(before.lines) > len(self._drawn.lines):
            self.refresh()
        else:
            self._refresh_changed(before)
        if self._at_end:
            self.call_after_refresh(self._to_end)
        elif seen:
            self._reveal(self._place)

    def _refresh_changed(self, before: Drawn) -> None:
        for at, line in enumerate(self._drawn.lines):
            if at >= len(before.lines) or before.lines[at] != line:
                self.refresh_line(at + self._head)

    def _nearest(self, before: Sequence[str], keys: Sequence[str]) -> str:
        """Choose what has moved to where the cursor was."""
        chosen = [key for key in before if key]
        at = chosen.index(self._key) if self._key in chosen else 0
        return keys[min(at, len(keys) - 1)] if keys else ""

    @property
    def _head(self) -> int:
        return 1 if self._drawn.head else 0

    def on_resize(self) -> None:
        """Lay it out for the new width."""
        self._fit()
        self.post_message(self.Seen())

    def on_show(self) -> None:
        """Take note that it has come into sight."""
        self.post_message(self.Seen())

    def _fit(self) -> None:
        if self.scrollable_content_region.width != self._width:
            self._lay_out()
        elif self._at_end:
            self.call_after_refresh(self._to_end)

    def _to_end(self) -> None:
        # It may have been scrolled since that was to be done.
        if self._at_end:
            self.scroll_end(animate=False, immediate=True, x_axis=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Take note whether it was scrolled away from its end, or back to it."""
        super().watch_scroll_y(old_value, new_value)
        self._at_end = self._follow and new_value >= self.max_scroll_y

    def watch_virtual_size(self) -> None:
        """Lay it out anew where a scroll bar has come or gone."""
        self.call_after_refresh(self._fit)

    def notify_style_update(self) -> None:
        """Paint it in the colours of another theme."""
        super().notify_style_update()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw a line of what can be seen."""
        width, base = self.scrollable_content_region.width, self.rich_style
        if self._head and y == 0 and self._drawn.head:
            return _strip(self, self._drawn.head, width, base, Style.null())
        at = y - self._head + self.scroll_offset.y
        if not 0 <= at < len(self._drawn.lines):
            return Strip.blank(width, base)
        chosen = bool(self._key) and self._drawn.keys[at] == self._key
        over = self._cursor_style() if chosen else Style.null()
        return _strip(self, self._drawn.lines[at], width, base, over)

    def _cursor_style(self) -> Style:
        found = self.get_component_rich_style(_CURSOR)
        return Style(bgcolor=found.bgcolor, bold=self.has_focus or None)

    def on_focus(self) -> None:
        """Show the cursor as one that moves."""
        self.refresh()

    def on_blur(self) -> None:
        """Show that it doesn't."""
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Choose the row that was clicked."""
        at = event.get_content_offset_capture(self).y - self._head + self.scroll_offset.y
        if 0 <= at < len(self._drawn.keys) and self._drawn.keys[at]:
            self._choose(at)

    def action_move(self, step: int) -> None:
        """Move the cursor to the next row that can be chosen, or scroll where none can."""
        places = [at for at, key in enumerate(self._drawn.keys) if key]
        if not places:
            self.scroll_relative(y=step, animate=False)
            return
        now = places.index(self._place) if self._place in places else 0
        self._choose(places[min(len(places) - 1, max(0, now + step))])

    def action_page(self, step: int) -> None:
        """Move by as much as can be seen."""
        lines = max(1, self._rows - 1)
        if self._key:
            self.action_move(step * lines)
        else:
            self.scroll_relative(y=step * lines, animate=False)

    def action_end(self, where: int) -> None:
        """Move to the first or the last row."""
        if self._key:
            self.action_move(where * len(self._drawn.keys))
        elif where < 0:
            self.scroll_home(animate=False)
        else:
            self.scroll_end(animate=False)

    def _choose(self, at: int) -> None:
        key = self._drawn.keys[at]
        if key != self._key:
            self._key = key
            self.refresh()
            self.post_message(self.Moved(self, key))
        self._reveal(at)

    @property
    def _place(self) -> int:
        """The line of the chosen row; -1 where none is."""
        keys = self._drawn.keys
        return keys.index(self._key) if self._key and self._key in keys else -1

    @property
    def _rows(self) -> int:
        """How many lines can be seen at once."""
        return max(1, self.scrollable_content_region.height - self._head)

    def _is_seen(self, at: int) -> bool:
        return 0 <= at - self.scroll_offset.y < self._rows

    def _reveal(self, at: int) -> None:
        """Scroll no further than it takes to see a line."""
        if at < self.scroll_offset.y:
            self.scroll_to(y=max(0, at), animate=False)
        elif not self._is_seen(at):
            self.scroll_to(y=at - self._rows + 1, animate=False)
