"""A journal that also knows what the steps of imported tasks did on another machine.

What a step gave there is given here without doing it, and is recorded on the way, so a task that
was imported goes on at the step at which it was exported. Above: `tasks.engine`, to which it is a
journal like any other. Below: the journal proper, and the table that `tasks.records` fills.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import orjson
from sqlalchemy import delete, select

from tale.storage.database import Database
from tale.storage.schema import adopted_steps
from tale.tasks.durable import Changed, Journal, Json, Recorded, Recorder, Work

__all__ = ["Adopted", "AdoptedSteps", "AdoptingJournal"]


class Adopted(Protocol):
    """Where the steps of other machines are kept; `AdoptedSteps` is one."""

    async def of(self, identity: str) -> list[Recorded]:
        """Give those of a workflow, in order."""
        ...

    async def known(self) -> set[str]:
        """Give the ids of all workflows that have some."""
        ...

    async def forget(self, identities: Collection[str]) -> None:
        """Delete those of workflows."""
        ...


class AdoptedSteps:
    """The steps of other machines, in tale's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, identity: str) -> list[Recorded]:
        """Give those of a workflow, in order."""
        task, _, part = identity.partition(".")
        query = (
            select(adopted_steps.c.name, adopted_steps.c.value)
            .where(adopted_steps.c.task == task, adopted_steps.c.part == part)
            .order_by(adopted_steps.c.position)
        )
        return await self._database.read(
            lambda connection: [
                (name, orjson.loads(value)) for name, value in connection.execute(query)
            ]
        )

    async def known(self) -> set[str]:
        """Give the ids of all workflows that have some."""
        query = select(adopted_steps.c.task, adopted_steps.c.part).distinct()
        return await self._database.read(
            lambda connection: {
                f"{task}.{part}" if part else task for task, part in connection.execute(query)
            }
        )

    async def forget(self, identities: Collection[str]) -> None:
        """Delete those of workflows."""
        gone = [identity.partition(".") for identity in set(identities) & await self.known()]
        if not gone:
            return
        for task, _, part in gone:
            statement = delete(adopted_steps).where(
                adopted_steps.c.task == task, adopted_steps.c.part == part
            )
            await self._database.write(lambda connection, one=statement: connection.execute(one))


class AdoptingJournal:
    """A journal over another one."""

    def __init__(self, journal: Journal, adopted: Adopted) -> None:
        self._journal = journal
        self._adopted = adopted

    @property
    def lost(self) -> str:
        """Why what was recorded here before is not there, for the user; empty where it is."""
        return self._journal.lost

    def open(self) -> AbstractAsyncContextManager[None]:
        """Get it ready, as long as the context lasts. Raises `StorageError`."""
        return self._journal.open()

    async def run(self, identity: str, work: Work) -> None:
        """Run a workflow to its end, from where its records stop, here or elsewhere.

        Raises:
            Changed: What was recorded elsewhere is of another course.
            StorageError: The records can't be read or written just now.
            Exception: What `work` raised.
        """
        adopted = await self._adopted.of(identity)

        async def with_adopted(recorder: Recorder) -> None:
            await work(_AdoptingRecorder(identity, recorder, adopted))

        await self._journal.run(identity, with_adopted if adopted else work)

    async def forget(self, identities: Collection[str]) -> None:
        """Delete what was recorded for workflows, here or elsewhere."""
        await self._adopted.forget(identities)
        await self._journal.forget(identities)

    async def known(self) -> set[str]:
        """Give the ids of all workflows that have a record."""
        return await self._adopted.known() | await self._journal.known()

    async def recorded(self, identity: str) -> list[Recorded]:
        """Give what a workflow recorded, and what of the adopted it has not come to yet."""
        here = await self._journal.recorded(identity)
        return here + (await self._adopted.of(identity))[len(here) :]


class _AdoptingRecorder:
    """Gives what a step gave elsewhere, and has it recorded here."""

    def __init__(self, identity: str, recorder: Recorder, adopted: Sequence[Recorded]) -> None:
        self._identity = identity
        self._recorder = recorder
        self._adopted = adopted
        self._next = 0

    async def step(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        here, self._next = self._next, self._next + 1
        if here >= len(self._adopted):
            return await self._recorder.step(name, call)
        recorded, value = self._adopted[here]
        if recorded != name:
            raise Changed(
                f"{self._identity}: {recorded!r} was recorded elsewhere where {name!r} should be."
            )

        async def given() -> Json:
            return value

        return await self._recorder.step(name, given)
