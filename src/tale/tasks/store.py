"""Tasks and their events in the database: each change of state with its event, in one transaction.

What is returned has been committed, so it may be shown. Events of a task count from 1 without a
gap; the task's row carries the last number, and its row lock makes two writers take turns. Only the
gateway writes here. Above: `tasks.engine`, `tasks.progress`. Below: `storage.database`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from tale.errors import TaskError, TaskNotFound
from tale.ids import next_id
from tale.storage.database import Database, storable
from tale.storage.schema import task_events, tasks
from tale.tasks.task import (
    ENDED,
    Role,
    State,
    StepResult,
    Task,
    TaskEvent,
    TokensSpent,
    check_transition,
)

__all__ = ["Change", "NewTask", "TaskStore", "utc_now"]

_PREFIX: Final = "t-"


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be recorded.

    Attributes:
        key: The same key again gives the task that is there.
        workspace: Its folder; None gives it one of its own.
    """

    text: str
    key: str | None = None
    workspace: str | None = None
    priority: int = 0
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A task as it stands after a transaction, and the event that was recorded with it."""

    task: Task
    event: TaskEvent


def utc_now() -> datetime:
    """Give the present time, in UTC."""
    return datetime.now(UTC)


class TaskStore:
    """The one place that reads and writes tasks."""

    def __init__(
        self, database: Database, workspaces: Path, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._workspaces = workspaces
        self._now = now

    async def add(self, new: NewTask) -> Change | Task:
        """Record a task as queued; a task that has the same key already is returned alone."""
        at = self._now()

        def work(connection: Connection) -> Change | Task:
            if new.key is not None:
                same = select(tasks).where(tasks.c.key == new.key)
                if row := connection.execute(same).mappings().one_or_none():
                    return _task(row)
            identity = next_id(_PREFIX, at, connection.scalar(select(func.max(tasks.c.id))))
            connection.execute(
                insert(tasks).values(
                    id=identity,
                    key=new.key,
                    text=new.text,
                    state="queued",
                    workspace=new.workspace or str(self._workspaces / identity),
                    priority=new.priority,
                    session=new.session,
                    created=at,
                )
            )
            return _record(connection, _load(connection, identity), "queued", {}, at)

        return await self._database.write(work)

    async def get(self, identity: str) -> Task:
        """Look up a task.

        Raises:
            TaskNotFound: There is none of that id.
        """
        return await self._database.read(lambda connection: _load(connection, identity))

    async def newest(self, *, state: State | None = None, limit: int) -> list[Task]:
        """List tasks, newest first."""
        query = select(tasks).order_by(tasks.c.id.desc()).limit(limit)
        if state:
            query = query.where(tasks.c.state == state)
        return await self._database.read(
            lambda connection: [_task(row) for row in connection.execute(query).mappings()]
        )

    async def unfinished(self) -> list[str]:
        """List the ids of the tasks that have not ended, oldest first."""
        query = select(tasks.c.id).where(tasks.c.state.not_in(ENDED)).order_by(tasks.c.id)
        return await self._database.read(lambda connection: list(connection.scalars(query)))

    async def events(self, identity: str, after: int) -> tuple[list[TaskEvent], bool]:
        """Read the events of a task that come after `after`, and whether the task has ended."""
        query = (
            select(task_events)
            .where(task_events.c.task == identity, task_events.c.seq > after)
            .order_by(task_events.c.seq)
        )

        def work(connection: Connection) -> tuple[list[TaskEvent], bool]:
            state = connection.scalar(select(tasks.c.state).where(tasks.c.id == identity))
            if state is None:
                raise _not_found(identity)
            rows = connection.execute(query).mappings()
            return [TaskEvent(**row) for row in rows], state in ENDED

        return await self._database.read(work)

    async def start(self, identity: str, role: Role, reason: str) -> Change:
        """Record that a queued task runs now."""
        values = {"role": role, "reason": reason}
        return await self._change(identity, "running", "started", values, dict(values))

    async def requeue(self, identity: str, why: str) -> Change:
        """Record that an unfinished task starts over."""
        return await self._change(identity, "queued", "resumed", {}, {"why": why})

    async def finish(self, identity: str, result: StepResult) -> Change:
        """Record a running task's result."""
        answer, files = storable(result.answer), list(result.files)
        values: dict[str, object] = {
            "answer": answer,
            "model": result.model,
            "role": result.role,
            "files": files,
            "prompt_tokens": result.usage.prompt,
            "completion_tokens": result.usage.completion,
            "cached_tokens": result.usage.cached,
        }
        if result.reason:
            values["reason"] = storable(result.reason)
        data = {"answer": answer, "model": result.model, "role": result.role, "files": files}
        return await self._change(identity, "done", "done", values, data)

    async def fail(self, identity: str, error: str, hint: str) -> Change:
        """Record that a running task can't be done."""
        values = {"error": storable(error), "hint": storable(hint)}
        return await self._change(identity, "failed", "failed", values, dict(values))

    async def cancel(self, identity: str) -> Change | Task:
        """Record that the user wants a task no more; one that has ended is returned alone."""
        at = self._now()

        def work(connection: Connection) -> Change | Task:
            task = _load(connection, identity, lock=True)
            if task.state in ENDED:
                return task
            return _record(connection, task, "cancelled", {}, at, state="cancelled")

        return await self._database.write(work)

    async def note(self, identity: str, kind: str, data: Mapping[str, object]) -> Change:
        """Record an event of a task that runs, and goes on.

        Raises:
            TaskError: The task runs no more.
        """
        return await self._change(identity, None, kind, {}, data)

    async def _change(
        self,
        identity: str,
        state: State | None,
        kind: str,
        values: Mapping[str, object],
        data: Mapping[str, object],
    ) -> Change:
        at = self._now()

        def work(connection: Connection) -> Change:
            task = _load(connection, identity, lock=True)
            if state is not None:
                check_transition(identity, task.state, state)
            elif task.state != "running":
                raise TaskError(f"Task {identity} is {task.state}; nothing happens to it now.")
            return _record(connection, task, kind, data, at, state=state, values=values)

        return await self._database.write(work)


def _record(
    connection: Connection,
    task: Task,
    kind: str,
    data: Mapping[str, object],
    at: datetime,
    *,
    state: State | None = None,
    values: Mapping[str, object] | None = None,
) -> Change:
    """Write an event and what it changes about its task."""
    event = TaskEvent(task.id, task.last_event + 1, at, kind, dict(data))
    changed: dict[str, object] = {**(values or {}), "last_event": event.seq}
    if state is not None:
        changed["state"] = state
        if state in ENDED:
            changed["finished"] = at
        elif state == "running" and task.started is None:
            changed["started"] = at
    connection.execute(
        insert(task_events).values(
            task=event.task, seq=event.seq, at=at, kind=kind, data=dict(data)
        )
    )
    connection.execute(update(tasks).where(tasks.c.id == task.id).values(changed))
    return Change(_load(connection, task.id), event)


def _load(connection: Connection, identity: str, *, lock: bool = False) -> Task:
    query = select(tasks).where(tasks.c.id == identity)
    if lock:
        query = query.with_for_update()  # SQLite's writers exclude each other anyway
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise _not_found(identity)
    return _task(row)


def _not_found(identity: str) -> TaskNotFound:
    return TaskNotFound(f"There is no task {identity!r}.", hint="`tale tasks` lists them.")


def _task(row: RowMapping) -> Task:
    usage = TokensSpent(row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"])
    return Task(
        id=row["id"],
        text=row["text"],
        state=row["state"],
        workspace=row["workspace"],
        created=row["created"],
        priority=row["priority"],
        session=row["session"],
        started=row["started"],
        finished=row["finished"],
        role=row["role"],
        reason=row["reason"],
        model=row["model"],
        answer=row["answer"],
        files=tuple(row["files"] or ()),
        usage=usage,
        error=row["error"],
        hint=row["hint"],
        last_event=row["last_event"],
    )
