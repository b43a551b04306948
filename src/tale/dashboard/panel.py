"""One panel: a head line with its key, its name and what it comes to, above its table.

Where the screen is narrow, the panels below the tasks share one place, and their head line names
them all. Above: `app`. Below: `lines`, `shown`.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from tale.dashboard.lines import OneLine, TableLines
from tale.dashboard.shown import Span, Table
from tale.dashboard.view import PANELS, Panel

__all__ = ["PanelBox"]

_NAMES = list(PANELS)


class PanelBox(Vertical):
    """A panel."""

    def __init__(self, name: Panel) -> None:
        """Make it empty."""
        super().__init__(id=name)
        self.panel: Panel = name
        self.head = OneLine(classes="head")
        self.lines = TableLines(id=f"{name}-lines", follow=name == "log")
        self._table = Table()
        self._tabs = False

    def compose(self) -> ComposeResult:
        """Put the head above the table."""
        yield self.head
        yield self.lines

    def show(self, table: Table, key: str | None = None) -> None:
        """Show this table from now on, with the row `key` chosen."""
        self._table = table
        self.lines.show(table, key)
        self.show_head(tabs=self._tabs)

    def show_head(self, *, tabs: bool) -> None:
        """Write the head line: of this panel, or with all that share its place."""
        self._tabs = tabs
        focused = self.lines.has_focus
        if tabs and self.panel != "tasks":
            left = [span for name in _NAMES[1:] for span in self._named(name, focused=focused)]
            self.head.show(left[:-1], self._separated(), fill="─")
        else:
            title = [Span("  "), *self._separated()] if self._table.title else []
            self.head.show([*self._named(self.panel, focused=focused)[:-1], *title], fill="─")

    def _named(self, name: Panel, *, focused: bool) -> list[Span]:
        here = name == self.panel
        key = Span(f"{_NAMES.index(name) + 1} ", "accent" if here and focused else "dim")
        tone = ("accent" if focused else "strong") if here else "dim"
        return [key, Span(PANELS[name], tone), Span("  ")]

    def _separated(self) -> list[Span]:
        spans: list[Span] = []
        for span in self._table.title:
            spans += [Span(" · ", "dim"), span] if spans else [span]
        return spans
