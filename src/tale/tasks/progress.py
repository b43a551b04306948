"""Who watches a task: events to any number of readers, from any point, none missed, none twice.

A reader is registered before it reads the stored events, so whatever is committed afterwards
reaches it live; what arrives out of order, or was dropped for a slow reader, is read from the store
again. Tokens are live only. Within one process: the gateway. Above: `servers.gateway`. Below:
`tasks.store`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from typing import Final, Protocol

import anyio

from tale.tasks.task import ENDED, TaskEvent

__all__ = ["EventSource", "ProgressHub", "Subscription"]

_BACKLOG: Final = 1024
"""Events kept for a slow reader: some 40 s of tokens; older stored ones it gets from the store."""


class EventSource(Protocol):
    """Where stored events are read; `tasks.store.TaskStore` is one."""

    async def events(self, identity: str, after: int) -> tuple[list[TaskEvent], bool]:
        """Read the events after `after`, in order, and whether the task has ended."""
        ...


class ProgressHub:
    """Hands events on to those who watch."""

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self._readers: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._listeners: list[Callable[[TaskEvent], None]] = []
        self._closed = False

    def listen(self, listener: Callable[[TaskEvent], None]) -> None:
        """Have every event of every task told as it is published; it must not wait."""
        self._listeners.append(listener)

    def publish(self, event: TaskEvent) -> None:
        """Show an event: one that is stored, or a `token`."""
        for listener in self._listeners:
            listener(event)
        for reader in self._readers.get(event.task, ()):
            reader.offer(event)

    @contextmanager
    def subscribe(self, task: str, after: int = 0) -> Generator[Subscription]:
        """Watch a task from the event after `after` to its end, or until the hub is closed."""
        reader = Subscription(self._source, task, after)
        if self._closed:
            reader.close()
        self._readers[task].add(reader)
        try:
            yield reader
        finally:
            self._readers[task].discard(reader)
            if not self._readers[task]:
                del self._readers[task]

    def close(self) -> None:
        """End every reader's stream; what they miss they can read from the store later."""
        self._closed = True
        for readers in self._readers.values():
            for reader in readers:
                reader.close()


class Subscription(AsyncIterator[TaskEvent]):
    """One reader's events. Waiting for the next one may be cancelled and tried again."""

    def __init__(self, source: EventSource, task: str, after: int) -> None:
        self._source = source
        self._task = task
        self._seq = after
        """Number of the last stored event that was given out."""
        self._behind = True
        """Whether the store may have events that are not here."""
        self._replayed: deque[TaskEvent] = deque()
        self._live: deque[TaskEvent] = deque(maxlen=_BACKLOG)
        self._ended = False
        self._closed = False
        self._woken = anyio.Event()

    def offer(self, event: TaskEvent) -> None:
        """Take an event; the oldest goes where the reader is too slow."""
        self._live.append(event)
        self._woken.set()

    def close(self) -> None:
        """End the stream."""
        self._closed = True
        self._woken.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> TaskEvent:
        """Wait for the next event.

        Raises:
            TaskNotFound: There is no such task.
            StopAsyncIteration: The task has ended, or the hub was closed.
        """
        while True:
            if self._replayed:
                event = self._replayed.popleft()
                self._seq = event.seq
                return event
            if self._ended or self._closed:
                raise StopAsyncIteration
            if self._behind:
                replayed, self._ended = await self._source.events(self._task, self._seq)
                self._replayed.extend(replayed)
                self._behind = False
            elif event := self._take():
                return event
            elif not self._live and not self._ended:
                self._woken = anyio.Event()
                await self._woken.wait()

    def _take(self) -> TaskEvent | None:
        """Look at the next live event; None where it was given out before, or others go first."""
        if not self._live:
            return None
        event = self._live[0]
        is_token = event.kind == "token"
        if event.seq > self._seq + (not is_token):
            self._behind = True
            return None
        self._live.popleft()
        self._ended = event.kind in ENDED
        if is_token:
            return event
        if event.seq <= self._seq:
            return None
        self._seq = event.seq
        return event
