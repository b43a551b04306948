"""The tasks of a conversation as it shows them: cards while they run, then what came of them, once.

Followers call from their threads. Above: `chat_terminal`. Below: `conversation` (follows them),
`task_cards`, `chat_verdicts`, `task_lines`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tale.cli.answer import answer_lines
from tale.cli.chat_verdicts import Verdicts
from tale.cli.connection import Connection
from tale.cli.conversation import HandedOver, Outcome
from tale.cli.follow import PATIENCE_SECONDS
from tale.cli.record import Record
from tale.cli.render import Screen, clean
from tale.cli.task_calls import show_task
from tale.cli.task_cards import Cards
from tale.cli.task_lines import asked_lines, check_line, event_line, file_lines, summary_line
from tale.cli.views import Event, Planning, Progress

__all__ = ["ChatTasks"]

_ON_CARDS: Final = {"queued", "started", "subtask", "acting", "file", "checkpoint", "approved"}
"""Kinds of events that cards show as well, so that no line needs to say them."""
_WIDEST: Final = 120
"""Columns of a plan: beyond, what a part takes is too far from its name."""


class ChatTasks:
    """Follows tasks and tells of them."""

    def __init__(
        self,
        connection: Connection,
        screen: Screen,
        tell: Callable[[list[str]], None],
    ) -> None:
        """Prepare; nothing is followed yet.

        Args:
            connection: The daemon.
            screen: What the terminal can show.
            tell: Gets lines that stay.
        """
        self._connection = connection
        self._screen = screen
        self._tell = tell
        self.cards = Cards()
        self.verdicts = Verdicts(connection, screen)
        self.handed = HandedOver(
            connection,
            self._on_event,
            self._on_end,
            on_gap=self._on_gap,
            patience=PATIENCE_SECONDS,
            progress=screen.redraws,
        )

    def follow(self, task: str, text: str) -> None:
        """Follow a task that has just come of some words."""
        self.cards.begin(task, text)
        self.handed.follow(task)

    def take_up(self, tasks: Iterable[str]) -> None:
        """Tell of those tasks from now on that have not ended; of what they ask, at once."""
        for task in filter(None, tasks):
            found = show_task(self._connection, task)
            if found.ended:
                continue
            self.cards.begin(task, found.text)
            if found.progress:
                self.cards.progress(task, found.progress)
            if found.progress and found.progress.question:
                self.verdicts.asked(found.id, found.asked, found.digest)
                plan = bool(found.digest)
                self.cards.asks(task, found.progress.question, plan=plan)
                facts = found.planning[-1] if found.planning else Planning()
                self._ask(task, found.progress.question, found.plan, facts if plan else None)
            self.handed.follow(task, after=found.last_event)

    def _on_event(self, event: Event) -> None:
        if event.kind == "progress":
            self.cards.progress(event.task, Progress.read(event.data))
            return
        if event.kind == "approval":
            self._on_question(event.task, event.data)
            return
        if event.kind in ("approved", "rejected") or event.is_final:
            self.verdicts.settled(event.task)
            self.cards.asks(event.task)
        line = event_line(event)
        if not line or event.is_final or event.kind == "queued":
            return
        if self._screen.redraws and event.kind in _ON_CARDS:
            return
        self._tell([self._dim(f"task {event.task}  {clean(line)}")])

    def _on_question(self, task: str, data: Record) -> None:
        digest, text = data.text("digest"), data.text("text")
        self.verdicts.asked(task, data.text("id"), digest)
        self.cards.asks(task, text, plan=bool(digest))
        self._ask(task, text, data.text("detail"), Planning.read(data) if digest else None)

    def _on_gap(self, text: str) -> None:
        self._tell([self._dim(text)])

    def _ask(self, task: str, text: str, detail: str, facts: Planning | None) -> None:
        columns = min(self._screen.size()[0] - 1, _WIDEST)
        head, *about = asked_lines(text, detail, facts, columns)
        how = "/approve or /reject answers it"
        if facts is not None:
            how = "/approve or /reject answers it, /edit changes the plan"
        asks = self._screen.style(f"task {task} asks: {head}", "yellow")
        self._tell([asks, *about, self._dim(f"{how}.")])

    def _on_end(self, outcome: Outcome) -> None:
        self.cards.end(outcome.task)
        style = self._screen.style
        task = outcome.result
        if task is None:
            reason = outcome.error.message if outcome.error else "lost"
            self._tell([style(f"task {outcome.task}  {reason}", "red")])
            return
        if task.state != "done":
            said = f"task {task.id}  {task.state}" + (f": {task.error}" if task.error else "")
            hint = [self._dim(task.hint)] if task.hint else []
            self._tell([style(clean(said), "red"), *hint])
            return
        head = style(f"task {task.id}  done", "bold", "green")
        answer = answer_lines(task.answer, self._screen) if task.answer else []
        files = [style(line, "green") for line in file_lines(task)]
        doubt = "yellow" if task.holds is False else "dim"
        checked = [style(line, doubt) for line in filter(None, [check_line(task)])]
        self._tell([head, *answer, *files, *checked, self._dim(summary_line(task)), ""])

    def _dim(self, text: str) -> str:
        return self._screen.style(text, "dim")
