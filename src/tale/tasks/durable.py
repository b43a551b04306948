"""Work that goes on where a crash cut it off: the seam, and its twin in memory. Pure values.

A workflow is a function whose effects all go through its `Recorder`, and which otherwise depends on
nothing but what these gave. So it can be run again from its beginning at any time: what is recorded
is given back at once, and the first effect that is not is where it really goes on. Above:
`tasks.engine`, `tasks.recorded_hands`. Filled by `tasks.dbos_journal`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, TypeAlias, Union

from tale.errors import TaskError

__all__ = ["Changed", "Journal", "Json", "MemoryJournal", "Recorded", "Recorder", "Work"]

Json: TypeAlias = Union[  # noqa: UP007 - a string can't stand beside `|`
    bool, int, float, str, Sequence["Json"], Mapping[str, "Json"], None
]


class Changed(TaskError):
    """What is recorded is of another course than the work takes now: tale was changed."""


class Recorder(Protocol):
    """Records the effects of one workflow, each before its result is given back."""

    async def step(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        """Give what `call` gives, or gave before a crash.

        One after another: the next step begins when this one has returned. `call` should not
        raise: what it raises ends the workflow's run without a record.

        Args:
            name: What kind of step it is; the same in each run of the same workflow.
            call: Has the effect.

        Raises:
            Changed: Another name is recorded at this point.
            StorageError: It could not be recorded.
        """
        ...


Work = Callable[[Recorder], Awaitable[None]]
Recorded: TypeAlias = tuple[str, Json]
"""The name of a recorded step, and what it gave."""


class Journal(Protocol):
    """Keeps what workflows recorded, over any crash."""

    @property
    def lost(self) -> str:
        """Why what was recorded before is not there, for the user; empty where it is."""
        ...

    def open(self) -> AbstractAsyncContextManager[None]:
        """Get it ready, as long as the context lasts. Raises `StorageError`."""
        ...

    async def run(self, identity: str, work: Work) -> None:
        """Run a workflow to its end, from where its record stops.

        One that is cancelled, or raises, keeps its record, and goes on in a later call.

        Raises:
            StorageError: The record can't be read or written just now.
            Exception: What `work` raised.
        """
        ...

    async def forget(self, identities: Collection[str]) -> None:
        """Delete what was recorded for workflows."""
        ...

    async def known(self) -> set[str]:
        """Give the ids of all workflows that have a record."""
        ...

    async def recorded(self, identity: str) -> list[Recorded]:
        """Give what a workflow recorded, in order; nothing where it has no record.

        Raises:
            StorageError: It can't be read just now.
        """
        ...


class MemoryJournal:
    """A journal that lasts as long as it is kept: for tests."""

    def __init__(self) -> None:
        self.records: dict[str, list[Recorded]] = {}
        self.calls = 0
        self.lost = ""
        """Steps that were really made."""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Have it at hand."""
        yield

    async def run(self, identity: str, work: Work) -> None:
        """Run a workflow."""
        await work(_MemoryRecorder(self, self.records.setdefault(identity, [])))

    async def forget(self, identities: Collection[str]) -> None:
        """Delete records."""
        for identity in identities:
            self.records.pop(identity, None)

    async def known(self) -> set[str]:
        """Give the ids of the records."""
        return set(self.records)

    async def recorded(self, identity: str) -> list[Recorded]:
        """Give a record."""
        return list(self.records.get(identity, []))


class _MemoryRecorder:
    def __init__(self, journal: MemoryJournal, record: list[Recorded]) -> None:
        self._journal = journal
        self._record = record
        self._next = 0

    async def step(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        here, self._next = self._next, self._next + 1
        if here == len(self._record):
            self._journal.calls += 1
            self._record.append((name, await call()))
        recorded, value = self._record[here]
        if recorded != name:
            raise Changed(f"{recorded!r} is recorded where {name!r} should be.")
        return value
