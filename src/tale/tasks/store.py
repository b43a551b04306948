"""Tasks and their events in the database: each change of state with its event, in one transaction.

What is returned has been committed, so it may be shown. Events of a task count from 1 without a
gap; the task's row carries the last number, and its row lock makes two writers take turns. Only the
gateway writes here. Above: `tasks.engine`, `tasks.progress`. Below: `storage.database`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from tale.errors import TaskError, TaskNotFound
from tale.ids import next_id
from tale.storage.database import Database, storable
from tale.storage.schema import subtasks, task_events, tasks
from tale.tasks.leave import Answer, Asked
from tale.tasks.plan import outcome_of
from tale.tasks.task import (
    ENDED,
    Level,
    Origin,
    Role,
    State,
    StepResult,
    Subtask,
    Task,
    TaskEvent,
    TokensSpent,
    check_transition,
)
from tale.tasks.view import Finished

__all__ = ["Change", "NewTask", "TaskStore", "utc_now"]

_PREFIX: Final = "t-"
_SHOWN: Final = tuple(column for column in task_events.c if column.name != "key")
_TIMELESS: Final = ("file", "note", "acting")
_ANSWERS: Final = ("approved", "rejected")


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be recorded.

    Attributes:
        key: The same key again gives the task that is there.
        workspace: Its folder; None gives it one of its own.
        permission: What it may do without a question; None leaves it to the settings.
        subtasks: Its parts, checked by `plan.check_plan`; none makes it one step.
        origin: The checkpoint that its workspace begins with, if it is a fork.
    """

    text: str
    key: str | None = None
    workspace: str | None = None
    priority: int = 0
    session: str | None = None
    subtasks: tuple[Subtask, ...] = ()
    origin: Origin | None = None
    permission: Level | None = None


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

    @property
    def database(self) -> Database:
        """Where they are; `rounds` has more of what is recorded of them."""
        return self._database

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
                    permission=new.permission,
                    created=at,
                )
            )
            for position, part in enumerate(new.subtasks):
                connection.execute(
                    insert(subtasks).values(
                        task=identity,
                        id=part.id,
                        position=position,
                        title=storable(part.title),
                        text=storable(part.text),
                        depends_on=list(part.depends_on),
                        state="queued",
                    )
                )
            data: dict[str, object] = {}
            if new.subtasks:
                data["subtasks"] = [_listed(part) for part in new.subtasks]
            if new.origin:
                data["forked"] = asdict(new.origin)
            return _record(connection, _load(connection, identity), "queued", data, at)

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
        return await self._database.read(lambda connection: _plan(connection, identity))

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
                raise _not_found(identity)
            rows = connection.execute(query).mappings()
            return [TaskEvent(**row) for row in rows], state in ENDED

        return await self._database.read(work)

    async def finished(self, after: datetime | None, limit: int) -> list[Finished]:
        """Read the newest tasks that were done after a moment, oldest first, with their events.

        Files, notes and tools are left out: they don't tell how long something took.
        """
        query = select(tasks).where(tasks.c.state == "done")
        if after is not None:
            query = query.where(tasks.c.finished > after)
        query = query.order_by(tasks.c.finished.desc()).limit(limit)

        def work(connection: Connection) -> list[Finished]:
            found = {row["id"]: _task(row) for row in connection.execute(query).mappings()}
            told = (
                select(task_events)
                .where(task_events.c.task.in_(found), task_events.c.kind.not_in(_TIMELESS))
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

    async def start(self, identity: str, role: Role, reason: str) -> Change:
        """Record that a queued task runs now."""
        values = {"role": role, "reason": reason}
        return await self._change(identity, "running", "started", values, dict(values))

    async def start_part(
        self, identity: str, part: Subtask, role: Role, reason: str
    ) -> list[Change]:
        """Record that a part runs now, and that its task does if it is the first."""
        at = self._now()

        def work(connection: Connection) -> list[Change]:
            task = _load(connection, identity, lock=True)
            changes: list[Change] = []
            if task.state != "running":
                check_transition(identity, task.state, "running")
                values = {"role": role, "reason": reason}
                changes.append(
                    _record(connection, task, "started", values, at, state="running", values=values)
                )
                task = changes[-1].task
            _set_part(connection, identity, part.id, state="running")
            data = _told(part, "running")
            return [*changes, _record(connection, task, "subtask", data, at)]

        return await self._database.write(work)

    async def requeue(self, identity: str, why: str) -> Change:
        """Record that an unfinished task waits for its turn again, and then goes on."""
        return await self._change(identity, "queued", "resumed", {}, {"why": why})

    async def pause(self, identity: str) -> Change | Task:
        """Record that a task rests until the user resumes it; one that does is returned alone.

        Raises:
            TaskError: It has ended.
        """
        return await self._rest(identity, "paused", "paused", {}, already={"paused"})

    async def resume(self, identity: str) -> Change | Task:
        """Record that a paused task goes on; one that was not paused is returned alone.

        Raises:
            TaskError: It has ended.
        """
        data = {"why": "It was paused."}
        already: set[State] = {"queued", "running", "waiting"}
        return await self._rest(identity, "queued", "resumed", data, already=already)

    async def ask(self, identity: str, asked: Asked, subtask: str | None) -> Change | Answer:
        """Record that a task waits for its user's answer; one that is there is given back.

        Raises:
            TaskError: The task does not run.
        """
        at = self._now()
        said = select(task_events).where(
            task_events.c.task == identity, task_events.c.kind.in_(_ANSWERS)
        )

        def work(connection: Connection) -> Change | Answer:
            for row in connection.execute(said).mappings():
                if row["data"].get("id") == asked.id:
                    return Answer(row["kind"] == "approved", row["data"].get("text", ""))
            task = _load(connection, identity, lock=True)
            if task.state != "running":
                raise _at_rest(task)
            data = {name: storable(value) for name, value in asdict(asked).items()}
            if subtask:
                data["subtask"] = subtask
            return _record(connection, task, "approval", data, at, state="waiting")

        return await self._database.write(work)

    async def answer(self, identity: str, answer: Answer) -> Change:
        """Record what the user answers to what a task waits for; it goes on then.

        Raises:
            TaskError: It asks for nothing.
        """
        at = self._now()
        last = (
            select(task_events.c.data)
            .where(task_events.c.task == identity, task_events.c.kind == "approval")
            .order_by(task_events.c.seq.desc())
            .limit(1)
        )

        def work(connection: Connection) -> Change:
            task = _load(connection, identity, lock=True)
            if task.state != "waiting":
                raise TaskError(
                    f"Task {identity} is {task.state}; it asks for nothing just now.",
                    hint=f"`tale show {identity}` shows how it stands.",
                )
            asked: Mapping[str, object] = connection.scalar(last) or {}
            kind = "approved" if answer.approved else "rejected"
            data: dict[str, object] = {"id": asked.get("id", ""), "text": storable(answer.text)}
            return _record(connection, task, kind, data, at, state="queued")

        return await self._database.write(work)

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
        data = {
            "answer": answer,
            "model": result.model,
            "role": result.role,
            "files": files,
            **_checked(result),
        }
        return await self._change(identity, "done", "done", values, data)

    async def finish_part(self, identity: str, part: Subtask, result: StepResult) -> list[Change]:
        """Record a part's result, and that of the task where it was the last part."""
        at = self._now()

        def work(connection: Connection) -> list[Change]:
            task = _load(connection, identity, lock=True)
            if task.state != "running":
                raise _at_rest(task)
            answer, files = storable(result.answer), list(result.files)
            _set_part(connection, identity, part.id, state="done", answer=answer, files=files)
            spent, usage = result.usage, task.usage
            values: dict[str, object] = {
                "model": result.model,
                "prompt_tokens": usage.prompt + spent.prompt,
                "completion_tokens": usage.completion + spent.completion,
                "cached_tokens": usage.cached + spent.cached,
            }
            data = {**_told(part, "done"), "files": files, **_checked(result)}
            changes = [_record(connection, task, "subtask", data, at, values=values)]
            plan = _plan(connection, identity)
            if all(one.state == "done" for one in plan):
                whole, written = outcome_of(plan)
                values = {"answer": whole, "files": list(written)}
                data = {**values, "model": result.model, "role": changes[-1].task.role}
                changes.append(
                    _record(
                        connection,
                        changes[-1].task,
                        "done",
                        data,
                        at,
                        state="done",
                        values=values,
                    )
                )
            return changes

        return await self._database.write(work)

    async def fail(self, identity: str, error: str, hint: str) -> Change:
        """Record that a running task can't be done."""
        values = {"error": storable(error), "hint": storable(hint)}
        return await self._change(identity, "failed", "failed", values, dict(values))

    async def add_lost(
        self, identity: str, workspace: str, at: datetime, error: str, hint: str
    ) -> Task | None:
        """Record a task of which nothing but its id is known any more; None where it is known."""
        values = {"error": error, "hint": hint}

        def work(connection: Connection) -> Task | None:
            if connection.scalar(select(tasks.c.id).where(tasks.c.id == identity)):
                return None
            connection.execute(
                insert(tasks).values(
                    id=identity,
                    text="(What it was to do was lost.)",
                    state="queued",
                    workspace=workspace,
                    priority=0,
                    created=at,
                )
            )
            task = _load(connection, identity)
            task = _record(connection, task, "queued", {}, at).task
            data = dict(values)
            return _record(
                connection, task, "failed", data, self._now(), state="failed", values=values
            ).task

        return await self._database.write(work)

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

    async def note_once(
        self,
        identity: str,
        key: str,
        kind: str,
        data: Mapping[str, object],
        *,
        at_rest: bool = False,
    ) -> Change | None:
        """Record an event of a task that runs, or `at_rest` of one that has not ended.

        Where one of that key is there already, nothing is done.

        Returns:
            None where it was there already.

        Raises:
            TaskError: The task runs no more.
        """
        at = self._now()
        same = select(task_events.c.seq).where(
            task_events.c.task == identity, task_events.c.key == key
        )

        def work(connection: Connection) -> Change | None:
            if connection.scalar(same) is not None:
                return None
            task = _load(connection, identity, lock=True)
            if task.state in ENDED if at_rest else task.state != "running":
                raise _at_rest(task)
            return _record(connection, task, kind, data, at, key=key)

        # Most of what is told again is there: a reader costs no lock.
        if await self._database.read(lambda connection: connection.scalar(same)) is not None:
            return None
        return await self._database.write(work)

    async def _rest(
        self,
        identity: str,
        state: State,
        kind: str,
        data: Mapping[str, object],
        *,
        already: Set[State],
    ) -> Change | Task:
        at = self._now()

        def work(connection: Connection) -> Change | Task:
            task = _load(connection, identity, lock=True)
            if task.state in already:
                return task
            check_transition(identity, task.state, state)
            return _record(connection, task, kind, data, at, state=state)

        return await self._database.write(work)

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
                raise _at_rest(task)
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
    key: str | None = None,
) -> Change:
    """Write an event and what it changes about its task."""
    # A clock that was set back between two starts must not make something take less than no time.
    before = connection.scalar(
        select(task_events.c.at).where(
            task_events.c.task == task.id, task_events.c.seq == task.last_event
        )
    )
    at = max(at, before or at)
    if kind == "started" and task.started:
        data = {**data, "again": True}
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
            task=event.task, seq=event.seq, at=at, kind=kind, data=dict(data), key=key
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


def _plan(connection: Connection, identity: str) -> tuple[Subtask, ...]:
    query = select(subtasks).where(subtasks.c.task == identity).order_by(subtasks.c.position)
    return tuple(
        Subtask(
            row["id"],
            row["title"],
            row["text"],
            tuple(row["depends_on"]),
            row["state"],
            row["answer"],
            tuple(row["files"]),
        )
        for row in connection.execute(query).mappings()
    )


def _set_part(connection: Connection, task: str, part: str, **values: object) -> None:
    which = (subtasks.c.task == task) & (subtasks.c.id == part)
    connection.execute(update(subtasks).where(which).values(values))


def _listed(part: Subtask) -> dict[str, object]:
    title = storable(part.title)
    return {"id": part.id, "title": title, "depends_on": list(part.depends_on)}


def _told(part: Subtask, state: State) -> dict[str, object]:
    return {"id": part.id, "title": part.title, "state": state}


def _checked(result: StepResult) -> dict[str, object]:
    return {"holds": result.holds, "check": storable(result.check)} if result.check else {}


def _at_rest(task: Task) -> TaskError:
    return TaskError(f"Task {task.id} is {task.state}; nothing happens to it now.")


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
        permission=row["permission"],
    )
