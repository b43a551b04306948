"""A conversation with the ux server, and the tasks that come out of it.

No word is written here: `chat` (pipes) and `chat_terminal` (people) do that. Below: `connection`,
`events`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tale.cli.connection import Connection
from tale.cli.events import events_of
from tale.cli.follow import show_task
from tale.cli.record import JsonObject, Record
from tale.cli.views import Event, Reply, Task
from tale.errors import TaleError

__all__ = ["Conversation", "HandedOver", "Outcome"]


class Conversation:
    """Turns of one conversation; the first one begins it unless it is continued."""

    def __init__(self, connection: Connection, session: str | None, workspace: Path | None) -> None:
        self.session = session
        self._connection = connection
        self._workspace = workspace

    def say(
        self, text: str, on_token: Callable[[str], None], on_task: Callable[[str], None]
    ) -> Reply:
        """Say something; an interrupt in between stops the answer, but no task that it began.

        Args:
            text: The turn.
            on_token: Gets each piece of the answer as it comes.
            on_task: Gets the id of the task that the turn was handed over as.
        """
        arguments: JsonObject = {"text": text}
        if self.session is not None:
            arguments["session"] = self.session
        if self._workspace is not None:
            arguments["workspace"] = str(self._workspace.expanduser().absolute())

        def on_progress(said: Record) -> None:
            self.session = said.text("session") or self.session
            if task := said.text("task"):
                on_task(task)
            if token := said.text("token"):
                on_token(token)

        reply = Reply.read(self._connection.call("ux", "chat", arguments, on_progress=on_progress))
        self.session = reply.session or self.session
        if reply.task:
            on_task(reply.task)
        return reply

    def begin_anew(self) -> None:
        """Let the next turn begin another conversation."""
        self.session = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How following a task ended: the task as it stands, or why that can't be said."""

    task: str
    result: Task | None
    error: TaleError | None = None


class HandedOver:
    """Follows the tasks of a conversation, each in a thread of its own.

    Threads, because all of this command's calls block; they only read, and end with the process.
    """

    def __init__(
        self,
        connection: Connection,
        on_event: Callable[[Event], None],
        on_end: Callable[[Outcome], None],
    ) -> None:
        """Keep whom to tell; both are called in the followers' threads.

        Args:
            connection: The daemon.
            on_event: Gets every event but tokens.
            on_end: Gets how a task ended.
        """
        self._connection = connection
        self._on_event = on_event
        self._on_end = on_end
        self._threads: dict[str, threading.Thread] = {}

    def follow(self, task: str) -> None:
        """Follow a task from its beginning; does nothing if it is followed already."""
        if task in self._threads:
            return
        thread = threading.Thread(target=self._run, args=(task,), name=task, daemon=True)
        self._threads[task] = thread
        thread.start()

    @property
    def followed(self) -> list[str]:
        """All tasks, in the order in which they were handed over."""
        return list(self._threads)

    @property
    def running(self) -> list[str]:
        """The tasks that have not ended."""
        return [task for task, thread in self._threads.items() if thread.is_alive()]

    def wait(self) -> None:
        """Wait until all have ended."""
        for thread in self._threads.values():
            thread.join()

    def _run(self, task: str) -> None:
        try:
            for event in events_of(self._connection, task):
                if event.kind != "token":
                    self._on_event(event)
            outcome = Outcome(task, show_task(self._connection, task))
        except TaleError as error:
            outcome = Outcome(task, None, error)
        self._on_end(outcome)
