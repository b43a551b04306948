"""The person's word on what the tasks of a conversation ask: `/approve`, `/edit` and `/reject`.

Above: `chat_terminal`. Below: `connection` (tools of the gateway), `editing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tale.cli.connection import Connection
from tale.cli.editing import in_editor, send_plan
from tale.cli.render import Screen
from tale.cli.task_calls import show_task
from tale.errors import TaleError

__all__ = ["WORDS", "Word"]

WORDS: Final = ("/approve", "/edit", "/reject")
"""The commands."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What a task asks: its id; with a digest, it is about a plan."""

    asked: str = ""
    digest: str = ""

    @property
    def seen(self) -> dict[str, str]:
        """Name it to the gateway, so that the answer lands on nothing else."""
        named = {"digest": self.digest, "asked": self.asked}
        return {key: name for key, name in named.items() if name}


class Word:
    """What is asked, and what the person says to it."""

    def __init__(self, connection: Connection, screen: Screen) -> None:
        self._connection = connection
        self._screen = screen
        self._asking: dict[str, _Question] = {}

    def asked(self, task: str, asked: str, digest: str) -> None:
        """Take note of what a task asks."""
        self._asking[task] = _Question(asked, digest)

    def settled(self, task: str) -> None:
        """Take note that a task asks nothing any more."""
        self._asking.pop(task, None)

    def give(self, line: str) -> None:
        """Do a command; which task is meant needs to be said only where several wait."""
        command, *words = line.split()
        # What is answered elsewhere meanwhile is forgotten in the thread that follows the task.
        asking = dict(self._asking)
        task = self._meant(command, words, list(asking))
        if task is None:
            return
        try:
            if command == "/edit":
                self._edit(task)
            else:
                arguments = {"id": task, "text": " ".join(words), **asking[task].seen}
                self._connection.call("gateway", command.removeprefix("/"), arguments)
        except TaleError as error:
            self._screen.error(error.message, error.hint)

    def _edit(self, task: str) -> None:
        """Have the plan that a task asks about changed in the person's editor."""
        found = show_task(self._connection, task)
        if found.state != "waiting" or not found.plan:
            self._screen.note(f"Task {task} asks about no plan just now.")
            return
        changed = in_editor(found.plan)
        if changed is None:
            self._screen.note("Nothing was changed; the task waits on.")
            return
        send_plan(self._connection, self._screen, found, changed)

    def _meant(self, command: str, words: list[str], asking: list[str]) -> str | None:
        """Take the task that is meant off the words; says so where that isn't known."""
        if words and words[0] in asking:
            return words.pop(0)
        if len(asking) == 1:
            return asking[0]
        if asking:
            self._screen.note(f"Several tasks wait; name one of them: {command} {asking[0]}")
        else:
            self._screen.note("No task of this conversation waits for your word.")
        return None
