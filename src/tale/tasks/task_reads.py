"""Tasks and their events as they are recorded. Above: `tasks.store`, which also writes them.

Below: `task_rows`, `storage.database`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from tale.storage.database import Database
from tale.storage.schema import task_events, tasks
from tale.tasks.task import (
    ENDED,
    State,
    Subtask,
    Task,
    TaskEvent,
)
from tale.tasks.task_rows import load_plan, load_task, not_found, task_of
from tale.tasks.view import Finished

__all__ = ["TaskReads"]

_SHOWN: Final = tuple(column for column in task_events.c if column.name != "key")


class TaskReads:
    """Reads tasks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def database(self) -> Database:
        """Where they are; `rounds` has more of what is recorded of them."""
        return self._database

    async def get(self, identity: str) -> Task:
        """Look up a task.

        Raises:
            TaskNotFound: There is none of that id.
        """
        return await self._database.read(lambda connection: load_task(connection, identity))

    async def newest(self, *, state: State | None = None, limit: int) -> list[Task]:
        """List tasks, newest first."""
        query = select(tasks).order_by(tasks.c.id.desc()).limit(limit)
        if state:
            query = query.where(tasks.c.state == state)
        return await self._database.read(
            lambda connection: [task_of(row) for row in connection.execute(query).mappings()]
        )

    async def unfinished(self) -> list[str]:
        """List the ids of the tasks that go on by themselves, oldest first."""
        resting = tasks.c.state.in_({*ENDED, "paused", "waiting"})
        query = select(tasks.c.id).where(~resting).order_by(tasks.c.id)
        return await self._database.read(lambda connection: list(connection.scalars(query)))

    async def living(self) -> set[str]:
        """Give the ids of all tasks that have not ended."""
        query = select(tasks.c.id).where(tasks.c.state.not_in(ENDED))
        return await self._database.read(lambda connection: set(connection.scalars(query)))

    async def plan(self, identity: str) -> tuple[Subtask, ...]:
        """Read a task's parts in their order; none where it is one step."""
        return await self._database.read(lambda connection: load_plan(connection, identity))

    async def events(self, identity: str, after: int) -> tuple[list[TaskEvent], bool]:
        """Read the events of a task that come after `after`, and whether the task has ended."""
        query = (
            select(*_SHOWN)
            .where(task_events.c.task == identity, task_events.c.seq > after)
            .order_by(task_events.c.seq)
        )

        def work(connection: Connection) -> tuple[list[TaskEvent], bool]:
            state = connection.scalar(select(tasks.c.state).where(tasks.c.id == identity))
            if state is None:
                raise not_found(identity)
            rows = connection.execute(query).mappings()
            return [TaskEvent(**row) for row in rows], state in ENDED

        return await self._database.read(work)

    async def finished(self, after: datetime | None, limit: int) -> list[Finished]:
        """Read the newest tasks that were done after a moment, oldest first, with their events."""
        query = select(tasks).where(tasks.c.state == "done")
        if after is not None:
            query = query.where(tasks.c.finished > after)
        query = query.order_by(tasks.c.finished.desc()).limit(limit)

        def work(connection: Connection) -> list[Finished]:
            found = {row["id"]: task_of(row) for row in connection.execute(query).mappings()}
            told = (
                select(task_events)
                .where(task_events.c.task.in_(found))
                .order_by(task_events.c.task, task_events.c.seq)
            )
            events: dict[str, list[TaskEvent]] = {identity: [] for identity in found}
            for row in connection.execute(told).mappings():
                event = TaskEvent(row["task"], row["seq"], row["at"], row["kind"], row["data"])
                events[event.task].append(event)
            return [Finished(found[one], events[one]) for one in reversed(found)]

        return await self._database.read(work)

    async def notable(self, since: datetime, kinds: Collection[str]) -> list[tuple[TaskEvent, str]]:
        """Read the events of some kinds from a moment on, oldest first, with their tasks' texts."""
        # Tasks that ended before have no later events; there are many more of them.
        alive = tasks.c.finished.is_(None) | (tasks.c.finished >= since)
        query = (
            select(task_events, tasks.c.text)
            .join(tasks, tasks.c.id == task_events.c.task)
            .where(alive, task_events.c.kind.in_(kinds), task_events.c.at >= since)
            .order_by(task_events.c.at, task_events.c.task, task_events.c.seq)
        )

        def work(connection: Connection) -> list[tuple[TaskEvent, str]]:
            return [
                (
                    TaskEvent(row["task"], row["seq"], row["at"], row["kind"], row["data"]),
                    row["text"],
                )
                for row in connection.execute(query).mappings()
            ]

        return await self._database.read(work)
