"""The tasks of a conversation as cards above the prompt: how far each is, and what it asks. Pure.

Above: `chat_prompt`, which draws them, and `chat_terminal`. Below: `progress_lines`, `views`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tale.cli.progress_lines import bar, left_text
from tale.cli.render import Style, clip, display_width, one_line, paint
from tale.cli.views import Progress

__all__ = ["Card", "Cards", "card_lines"]

_SHOWN: Final = 4
"""Cards: more would take the screen from the conversation."""
_BAR: Final = 10
_TITLE: Final = 30
_WIDE: Final = 110
"""Columns from which on there is room for all of it in a line."""
_LOOK: Final[dict[str, tuple[str, Style]]] = {
    "running": ("▸", "cyan"),
    "approval": ("?", "yellow"),
    "waiting": ("?", "yellow"),
    "paused": ("‖", "yellow"),
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
}
_WORDS: Final = {"": "starting", "queued": "queued", "paused": "paused"}


@dataclass(frozen=True, slots=True)
class Card:
    """A task as it is known.

    Attributes:
        task: Its id.
        title: What it is to do.
        progress: How far it is.
        asks: What it asks its user; empty if nothing.
        plan: Whether that is about a plan, which can be edited.
    """

    task: str
    title: str = ""
    progress: Progress = field(default_factory=Progress)
    asks: str = ""
    plan: bool = False


class Cards:
    """The cards of the tasks that run, which followers change and the prompt draws."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cards: dict[str, Card] = {}
        self._ended: set[str] = set()
        self._told: Callable[[], None] = lambda: None

    def watch(self, told: Callable[[], None]) -> None:
        """Have somebody told when a card has changed, in the thread that changes it."""
        self._told = told

    def begin(self, task: str, title: str = "") -> None:
        """Lay down a card, or give it its title; one that was taken away stays away."""
        self._change(task, lambda card: replace(card, title=title or card.title))

    def progress(self, task: str, progress: Progress) -> None:
        """Hear how far a task is."""
        self._change(task, lambda card: replace(card, progress=progress))

    def asks(self, task: str, question: str = "", *, plan: bool = False) -> None:
        """Hear what a task asks; nothing where the question is settled."""
        self._change(task, lambda card: replace(card, asks=question, plan=plan))

    def end(self, task: str) -> None:
        """Take a card away."""
        with self._lock:
            self._ended.add(task)
            self._cards.pop(task, None)
        self._told()

    def all(self) -> Sequence[Card]:
        """Give them, the oldest first."""
        with self._lock:
            return tuple(self._cards.values())

    def _change(self, task: str, changed: Callable[[Card], Card]) -> None:
        with self._lock:
            if task in self._ended:
                return
            self._cards[task] = changed(self._cards.get(task) or Card(task))
        self._told()


def card_lines(cards: Sequence[Card], columns: int, *, color: bool) -> list[str]:
    """Draw cards: two lines for each, or one where that is wide enough.

    Args:
        cards: The cards.
        columns: Cells in a line.
        color: Whether they may be styled.
    """
    asking = [card for card in cards if card.asks]
    shown = [*asking, *(card for card in cards if not card.asks)][:_SHOWN]
    wide = columns >= _WIDE
    width = min(_TITLE, max((display_width(one_line(card.title)) for card in shown), default=0))
    lines: list[str] = []
    for card in shown:
        room = columns - display_width(card.task) - 6
        head = _head(card, width if wide else room, color=color)
        if wide:
            lines.append(f"{head}  {_far(card, room - width - 2, color=color)}")
        else:
            lines += [head, f"  {_far(card, columns - 4, color=color)}"]
    if hidden := len(cards) - len(shown):
        lines.append(_styled(f"  … and {hidden} more: /tasks", "dim", color=color))
    return [line.rstrip() for line in lines]


def _head(card: Card, width: int, *, color: bool) -> str:
    """Give a task's mark, id and title, which is padded to `width` cells."""
    mark, tint = _look(card)
    title = clip(one_line(card.title), width)
    padding = " " * (width - display_width(title))
    styled = _styled(title, "bold", color=color)
    return f"{_styled(mark, tint, color=color)} {card.task}  {styled}{padding}"


def _far(card: Card, room: int, *, color: bool) -> str:
    """Say what a task asks, with the keys that answer it, or how far it is."""
    if card.asks:
        keys = "Alt-A approves" + (", Alt-E edits" if card.plan else "") + ", Alt-R rejects"
        asked = clip(one_line(card.asks), max(8, room - display_width(keys) - 2))
        return _styled(f"{asked}  ", "yellow", color=color) + keys
    progress = card.progress
    words = _WORDS.get(progress.state, "")
    if not words and progress.eta is not None:
        words = left_text(progress.eta)
    doing = progress.tool or ", ".join(progress.doing)
    said = "  ".join(filter(None, (f"{progress.percent:>3} %", words, one_line(doing))))
    filled, empty = bar(progress.percent, _BAR)
    drawn = _styled(filled, _look(card)[1], color=color) + _styled(empty, "dim", color=color)
    return f"{drawn}  {clip(said, max(6, room - _BAR - 2))}"


def _look(card: Card) -> tuple[str, Style]:
    state = "approval" if card.asks else card.progress.state
    return _LOOK.get(state, ("·", "dim"))


def _styled(text: str, style: Style, *, color: bool) -> str:
    return paint(text, style) if color else text
