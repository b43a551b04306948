"""What the dashboard asks before it does something, and its help. Nothing is agreed to by accident.

What opens a question never answers it: a key that is held down, or pressed twice, does nothing.
Above: `app`. Below: `lines`, `shown`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tale.cli.render import clean
from tale.cli.task_lines import rests_on
from tale.cli.views import Planning, Task
from tale.dashboard.lines import OneLine, TableLines
from tale.dashboard.shown import Column, Note, Row, Span, Table, as_it_is, plain, text
from tale.tasks.plan_drawing import plan_block

__all__ = ["Answer", "ApprovalDialog", "ConfirmDialog", "Dialog", "HelpDialog", "question_of"]

_BOX: Final = 100
"""Columns of a box, as the style sheet has it: this many, or nine tenths of the window."""
_FRAME: Final = 8
"""Of those, what its border, its padding and a scroll bar take."""
_MOST_LINES: Final = 400


Answer = tuple[Literal["approve", "reject", "edit"], str]
"""What was said to a task that asks, and the words that go with it."""


class Dialog(ModalScreen[object]):
    """A box over the dashboard; Escape leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave", show=False)]

    def __init__(self, title: str, table: Table) -> None:
        """Make one.

        Args:
            title: What it is about.
            table: What it says.
        """
        super().__init__()
        self._title = plain(title)
        self.said = TableLines(id="said")
        self._table = table

    def compose(self) -> ComposeResult:
        """Build the box."""
        with Vertical(id="box") as box:
            box.border_title = self._title.replace("[", "\\[")
            yield self.said
            yield from self.further()
            yield OneLine(id="keys")

    def further(self) -> ComposeResult:
        """Build what stands between what it says and its keys."""
        yield from ()

    def on_mount(self) -> None:
        """Say what there is to say."""
        self.said.show(self._table)
        self.show_keys(self.keys())
        self.begin()

    def begin(self) -> None:
        """Give the keys to where they belong at first."""
        self.said.focus()

    def keys(self) -> Sequence[tuple[str, str]]:
        """Give its keys, and what they do."""
        return (("Esc", "leave"),)

    def show_keys(self, keys: Sequence[tuple[str, str]]) -> None:
        """Write the line of keys."""
        spans: list[Span] = []
        for key, does in keys:
            spans += [Span(key, "accent"), Span(f" {does}   ", "dim")]
        self.query_one("#keys", OneLine).show(spans)

    def action_leave(self) -> None:
        """Leave all as it is."""
        self.dismiss(None)


class ConfirmDialog(Dialog):
    """A yes or no; gives True or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "yes", "Yes", show=False)]

    def __init__(self, title: str, lines: Sequence[str], yes: str) -> None:
        """Make one.

        Args:
            title: What is to be done.
            lines: What comes of it, a paragraph each.
            yes: What a yes does, in two or three words.
        """
        super().__init__(title, Table(rows=tuple(Note(plain(line)) for line in lines)))
        self._yes = yes

    def keys(self) -> Sequence[tuple[str, str]]:
        """Give its keys."""
        return (("y", self._yes), ("Esc", "leave it"))

    def action_yes(self) -> None:
        """Agree."""
        self.dismiss(True)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a task asks.

    Attributes:
        words: Whether it wants an answer in words, not a yes or a no.
        plan: Whether it is about its plan.
    """

    table: Table
    words: bool
    plan: bool


def question_of(task: Task, columns: int) -> _Asked:
    """Say what a waiting task asks, as `show` gives it, in a window of so many columns."""
    asks = task.progress.question if task.progress else ""
    rows: list[Note] = [Note(plain(asks) or "Something is to be decided.", "strong")]
    planning = task.planning[-1] if task.planning else Planning()
    below: list[str] = []
    if task.plan:
        drawn = plan_block(
            task.plan, planning.seconds, columns=min(_BOX, columns * 9 // 10) - _FRAME
        )
        below = [*drawn.splitlines(), *rests_on(planning)]
        rows += [Note(f"Changed: {plain(change)}", "warn") for change in planning.changes]
    elif task.detail:
        below = clean(task.detail).splitlines()
    if below:
        rows.append(Note(""))
        rows += [Note(as_it_is(line)) for line in below[:_MOST_LINES]]
    if len(below) > _MOST_LINES:
        rows.append(Note(f"… and {len(below) - _MOST_LINES} more lines", "dim"))
    return _Asked(Table(rows=tuple(rows)), task.action == "AskUser", bool(task.plan))


class ApprovalDialog(Dialog):
    """What a task asks its user; gives an `Answer`, or None where it is to wait on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", "Yes", show=False),
        Binding("n", "no", "No", show=False),
        Binding("e", "edit", "Edit", show=False),
    ]

    def __init__(self, task: Task, columns: int) -> None:
        """Make one.

        Args:
            task: The task as `show` gives it.
            columns: How wide the window is.
        """
        asked = question_of(task, columns)
        super().__init__(f"{task.id} asks", asked.table)
        self.add_class("-asks")
        self._words, self._plan = asked.words, asked.plan
        self._input = Input(id="words")

    def further(self) -> ComposeResult:
        """Add the line for words."""
        yield self._input

    def begin(self) -> None:
        """Show the line for words where they are wanted."""
        self._input.display = self._words
        self._input.placeholder = "Your answer"
        (self._input if self._words else self.said).focus()

    def keys(self) -> Sequence[tuple[str, str]]:
        """Give its keys."""
        if self._words:
            return (("Enter", "answer"), ("Esc", "leave it waiting"))
        edit = (("e", "edit the plan"),) if self._plan else ()
        return (("y", "yes, go on"), ("n", "no"), *edit, ("Esc", "leave it waiting"))

    def action_yes(self) -> None:
        """Agree."""
        if not self._words:
            self.dismiss(("approve", ""))

    def action_edit(self) -> None:
        """Have the plan edited."""
        if self._plan:
            self.dismiss(("edit", ""))

    def action_no(self) -> None:
        """Ask why not."""
        if self._words:
            return
        self._input.display = True
        self._input.placeholder = (
            "Why not? It is planned anew with that in mind"
            if self._plan
            else "Why not? It may stay empty"
        )
        self._input.focus()
        self.show_keys((("Enter", "reject it"), ("Esc", "leave it waiting")))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the words."""
        event.stop()
        said = event.value.strip()
        if self._words:
            if said:
                self.dismiss(("approve", said))
        # A plan that is rejected without a reason ends its task.
        elif said or not self._plan:
            self.dismiss(("reject", said))
        else:
            self._input.placeholder = "A word on why not, or Esc to leave it waiting"


_HELP: Final[tuple[tuple[str, tuple[tuple[str, str], ...]], ...]] = (
    (
        "Look",
        (
            ("1 … 7", "go to a panel"),
            ("Tab, ← →", "go to the next one"),
            ("↑ ↓, PgUp PgDn", "choose, or scroll"),
            ("Enter", "open, restore or restart what is chosen"),
        ),
    ),
    (
        "The chosen task",
        (
            ("a", "answer what it asks"),
            ("p", "pause it; what it has done stays done"),
            ("r", "resume it"),
            ("c", "cancel it for good"),
        ),
    ),
    (
        "All",
        (
            ("s", "start tale where it isn't running"),
            ("t", "light or dark"),
            ("Ctrl+P", "all commands by name, and more themes"),
            ("q", "leave; tale runs on"),
        ),
    ),
    (
        "Signs",
        (
            ("▸ · ‖", "is worked on, has not begun, is paused"),
            ("?", "waits for your word"),
            ("✓ ✗ -", "done, failed, cancelled or not needed"),
            ("● ○", "ready, not ready"),
        ),
    ),
)


class HelpDialog(Dialog):
    """The keys and the signs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q", "leave", "Leave", show=False)
    ]

    def __init__(self) -> None:
        """Make it."""
        rows: list[Row | Note] = []
        for heading, keys in _HELP:
            rows += [Note("")] if rows else []
            rows.append(Note(heading, "strong"))
            rows += [Row((text(key, "accent"), text(does))) for key, does in keys]
        super().__init__("Help", Table((Column(), Column(flexible=True)), tuple(rows)))
