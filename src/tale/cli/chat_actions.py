"""The commands of a conversation that ask or tell the servers something, and show what they say.

Above: `chat_terminal`, which has those that change the conversation itself. Below: `connection`,
`chat_verdicts`, and how tasks, conversations and notes look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tale.cli.chat_commands import HELP, ChatCommand, help_rows, nearest
from tale.cli.chat_verdicts import Verdicts
from tale.cli.connection import Connection
from tale.cli.memory_lines import found_lines, note_rows
from tale.cli.render import Column, Screen, human_seconds, one_line
from tale.cli.sessions import session_table
from tale.cli.task_calls import show_task
from tale.cli.task_lines import STATE_STYLES, task_block
from tale.cli.views import Task
from tale.errors import TaleError

__all__ = ["Actions"]

_NOTES: Final = 20
_FOUND: Final = 5
_SESSIONS: Final = 10
_MEANT: Final = {"pause": "running", "resume": "paused", "cancel": "running"}
_TOLD: Final = {"pause": "rests", "resume": "goes on", "cancel": "is cancelled"}


class Actions:
    """Does commands."""

    def __init__(
        self,
        connection: Connection,
        screen: Screen,
        verdicts: Verdicts,
        followed: Sequence[str],
    ) -> None:
        """Keep whom to ask.

        Args:
            connection: The daemon.
            screen: Where it is shown.
            verdicts: What tasks ask.
            followed: The tasks of this conversation, the oldest first.
        """
        self._connection = connection
        self._screen = screen
        self._verdicts = verdicts
        self._followed = followed

    def do(self, command: ChatCommand, words: Sequence[str]) -> None:
        """Do a command; what goes wrong is told."""
        try:
            name = command.name
            match name:
                case "help":
                    self._help()
                case "approve" | "reject" | "edit":
                    self._verdicts.give(name, words)
                case "tasks":
                    self._tasks()
                case "show":
                    self._show(words)
                case "pause" | "resume" | "cancel":
                    self._tell(name, words)
                case "sessions":
                    session_table(self._connection, self._screen, _SESSIONS)
                case "memory":
                    self._memory(" ".join(words))
                case _:
                    raise AssertionError(command.name)
        except TaleError as error:
            self._screen.error(error.message, error.hint)

    def unknown(self, name: str) -> None:
        """Say that there is no such command, and which may have been meant."""
        meant = nearest(name)
        hint = f"Did you mean /{meant.name}?" if meant else "/help lists what there is."
        self._screen.note(f"There is no {name}. {hint}", "yellow")

    def _help(self) -> None:
        rows = help_rows()
        width = max(len(shown) for shown, _ in rows)
        for shown, says in rows:
            name, space, arguments = shown.ljust(width).partition(" ")
            style = self._screen.style
            self._screen.print(f"  {style(name, 'cyan')}{space}{arguments}  {style(says, 'dim')}")
        self._screen.note(HELP)

    def _tasks(self) -> None:
        tasks = [show_task(self._connection, name) for name in self._followed]
        if not tasks:
            self._screen.note("No task has come of this conversation. `tale tasks` lists all.")
            return
        columns = [Column("ID"), Column("STATE"), Column("FAR", "right"), Column("TOOK", "right")]
        rows = [_row(task, self._screen) for task in tasks]
        self._screen.table([*columns, Column("TEXT", flexible=True)], rows)

    def _show(self, words: Sequence[str]) -> None:
        names = [*words] or [*self._followed][-1:]
        if not names:
            self._screen.note("No task has come of this conversation; /show ID shows any other.")
            return
        for line in task_block(show_task(self._connection, names[0]), self._screen):
            self._screen.print(line)

    def _tell(self, tool: str, words: Sequence[str]) -> None:
        name = words[0] if words else self._only_one(tool)
        if name is None:
            return
        reply = self._connection.call("gateway", tool, {"id": name}, idempotent=True)
        task = Task.read(reply)
        said = _TOLD[tool]
        if tool == "cancel" and task.state != "cancelled":
            said = f"had ended: {task.state}"
        self._screen.note(f"{task.id} {said}.")

    def _only_one(self, tool: str) -> str | None:
        """Give the one task that can be meant; says so where there is another number of them."""
        tasks = [show_task(self._connection, name) for name in self._followed]
        fits = [
            task.id
            for task in tasks
            if not task.ended
            and (tool == "cancel" or (task.state == "paused") == (tool == "resume"))
        ]
        if len(fits) == 1:
            return fits[0]
        if fits:
            self._screen.note(f"Several tasks can be meant; name one of them: /{tool} {fits[0]}")
        else:
            self._screen.note(f"No task of this conversation is {_MEANT[tool]}.")
        return None

    def _memory(self, text: str) -> None:
        if text:
            asked = {"text": text, "limit": _FOUND}
            reply = self._connection.call("ux", "memory_search", asked, idempotent=True)
            found = reply.records("found")
            for line in found_lines(found, self._screen, why=False):
                self._screen.print(line)
            if not found:
                self._screen.note("Nothing that is remembered has to do with it.")
            return
        reply = self._connection.call("ux", "memory_notes", {"limit": _NOTES}, idempotent=True)
        notes = reply.records("notes")
        if not notes:
            self._screen.note('Nothing is noted yet. `tale memory add "…"` notes something.')
            return
        self._screen.table(
            [Column("ID"), Column("KIND"), Column("SAID", "right"), Column("NOTE", flexible=True)],
            note_rows(notes),
        )


def _row(task: Task, screen: Screen) -> list[str]:
    far = f"{task.progress.percent} %" if task.progress and not task.ended else ""
    return [
        task.id,
        screen.style(task.state, STATE_STYLES.get(task.state, "bold")),
        far,
        human_seconds(task.seconds) if task.seconds is not None else "",
        one_line(task.text),
    ]
