"""A conversation with the ux server, and the tasks that come out of it.

No word is written here: `chat` (pipes) and `chat_terminal` (people) do that. Below: `connection`,
`events`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tale.cli.connection import Connection, NotReady
from tale.cli.events import events_of
from tale.cli.record import JsonObject, Record
from tale.cli.task_calls import show_task
from tale.cli.transport import Broken, NotSent
from tale.cli.views import Event, Reply, Task
from tale.errors import ServiceUnavailable, TaleError

__all__ = ["Conversation", "HandedOver", "Heard", "Outcome"]

_MISSING = "The ux server, which holds conversations, is not there."
_WITHOUT = '`tale submit "…"` works without it.'


def _ignore(text: str) -> None:
    del text


@dataclass(frozen=True, slots=True)
class Heard:
    """Whom to tell while a turn is answered.

    Attributes:
        on_task: Gets the id of the task that the turn was handed over as.
        on_kept: Gets the key of work that waits for the gateway to become a task.
        on_note: Gets what holds the answer up, in words.
        on_token: Gets each piece of the answer as it comes.
    """

    on_task: Callable[[str], None]
    on_kept: Callable[[str], None]
    on_note: Callable[[str], None]
    on_token: Callable[[str], None] = field(default=_ignore)

    def take(self, said: Record) -> None:
        """Pass on a progress message."""
        for key, tell in (
            ("task", self.on_task),
            ("kept", self.on_kept),
            ("note", self.on_note),
            ("token", self.on_token),
        ):
            if text := said.text(key):
                tell(text)


class Conversation:
    """Turns of one conversation; the first one begins it unless it is continued."""

    def __init__(
        self,
        connection: Connection,
        session: str | None,
        workspace: Path | None,
        *,
        private: bool = False,
    ) -> None:
        """Make one.

        Args:
            connection: The daemon.
            session: The conversation that is continued.
            workspace: Where work that comes of it is done.
            private: Whether nothing of it is to be kept.
        """
        self.session = session
        self.private = private
        self._connection = connection
        self._workspace = workspace

    def say(self, text: str, heard: Heard) -> Reply:
        """Say something; an interrupt in between stops the answer, but no task that it began.

        Args:
            text: The turn.
            heard: Told what comes of it, as it comes.

        Raises:
            ServiceUnavailable: The ux server is not there, or went away meanwhile.
            TaleError: What it reported.
        """
        arguments: JsonObject = {"text": text}
        if self.session is not None:
            arguments["session"] = self.session
        if self._workspace is not None:
            arguments["workspace"] = str(self._workspace.expanduser().absolute())
        if self.private:
            arguments["private"] = True

        def on_progress(said: Record) -> None:
            self.session = said.text("session") or self.session
            heard.take(said)

        def on_late(why: str) -> None:
            heard.on_note(f"{_MISSING} It is waited for. {_WITHOUT}\n{why}")

        try:
            said = self._connection.call(
                "ux", "chat", arguments, on_progress=on_progress, on_late=on_late
            )
        except (Broken, NotReady, NotSent) as error:
            raise ServiceUnavailable(
                f"{_MISSING} {error.message}", hint=f"`tale logs ux` says why. {_WITHOUT}"
            ) from error
        reply = Reply.read(said)
        self.session = reply.session or self.session
        if reply.task:
            heard.on_task(reply.task)
        return reply

    def begin_anew(self, *, session: str | None = None, private: bool = False) -> None:
        """Let the next turn begin another conversation, or go on with `session`."""
        self.session, self.private = session, private


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
        *,
        on_gap: Callable[[str], None] = lambda text: None,
        patience: float = 0.0,
        progress: bool = False,
    ) -> None:
        """Keep whom to tell; all are called in the followers' threads.

        Args:
            connection: The daemon.
            on_event: Gets every event but tokens.
            on_end: Gets how a task ended.
            on_gap: Told when nothing can be heard of a task, and when it can be again.
            patience: Seconds for which a daemon that was stopped is waited for.
            progress: Whether to be told how far tasks are, about once a second.
        """
        self._connection = connection
        self._progress = progress
        self._on_event = on_event
        self._on_end = on_end
        self._on_gap = on_gap
        self._patience = patience
        self._threads: dict[str, threading.Thread] = {}
        self._tasks: dict[str, str] = {}
        """The tasks that became of kept work, by its key."""

    def follow(self, task: str, *, after: int = 0) -> None:
        """Follow a task from event `after` on; does nothing if it is followed already."""
        self._begin(task, lambda name: self._run(name, after))

    def follow_kept(self, key: str) -> None:
        """Wait until kept work has become a task, then follow that."""
        self._begin(key, self._run_kept)

    def _begin(self, name: str, run: Callable[[str], None]) -> None:
        if name in self._threads:
            return
        thread = threading.Thread(target=run, args=(name,), name=name, daemon=True)
        self._threads[name] = thread
        thread.start()

    @property
    def followed(self) -> list[str]:
        """All tasks, in the order of their turns; kept work that is none yet by its key."""
        return [self._tasks.get(name, name) for name in self._threads]

    @property
    def running(self) -> list[str]:
        """The tasks that have not ended."""
        return [name for name in self._alive() if not _is_key(name)]

    @property
    def kept(self) -> int:
        """How many pieces of kept work are no tasks yet."""
        return sum(map(_is_key, self._alive()))

    def _alive(self) -> list[str]:
        alive = [name for name, thread in self._threads.items() if thread.is_alive()]
        return [self._tasks.get(name, name) for name in alive]

    def wait(self) -> None:
        """Wait until all have ended."""
        for thread in self._threads.values():
            thread.join()

    def _run_kept(self, key: str) -> None:
        try:
            reply = self._connection.call("ux", "kept_task", {"key": key}, idempotent=True)
        except TaleError as error:
            self._on_end(Outcome(key, None, error))
            return
        self._tasks[key] = reply.text("task")
        self._run(self._tasks[key])

    def _run(self, task: str, after: int = 0) -> None:
        try:
            events = events_of(
                self._connection,
                task,
                after=after,
                progress=self._progress,
                on_gap=self._on_gap,
                patience=self._patience,
            )
            for event in events:
                if event.kind != "token":
                    self._on_event(event)
            outcome = Outcome(task, show_task(self._connection, task))
        except TaleError as error:
            outcome = Outcome(task, None, error)
        self._on_end(outcome)


def _is_key(name: str) -> bool:
    """Tell the key of kept work from the id of a task."""
    return "/" in name
