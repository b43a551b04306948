"""Rows of the tables of tasks: read as what they stand for, and written with their event.

Within a transaction that somebody else has begun. Above: `tasks.store`, `tasks.part_store`,
`tasks.task_reads`. Below: `storage.schema`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from tale.errors import TaskError, TaskNotFound
from tale.storage.database import storable
from tale.storage.schema import subtasks, task_events, tasks
from tale.tasks.leave import Asked
from tale.tasks.plan_facts import PlanFacts, write_facts
from tale.tasks.task import (
    ENDED,
    State,
    StepResult,
    Subtask,
    Task,
    TaskEvent,
    TokensSpent,
)

__all__ = [
    "Change",
    "asked_told",
    "checked",
    "count_states",
    "facts_told",
    "listed",
    "load_plan",
    "load_task",
    "not_found",
    "record",
    "save_plan",
    "set_part",
    "task_of",
    "told",
    "too_late",
]


@dataclass(frozen=True, slots=True)
class Change:
    """A task as it stands after a transaction, and the event that was recorded with it."""

    task: Task
    event: TaskEvent


def record(
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
            # Two that end at the same moment and take the same number: one of them tries again.
            changed["ended"] = 1 + (connection.scalar(select(func.max(tasks.c.ended))) or 0)
        elif state == "running" and task.started is None:
            changed["started"] = at
    connection.execute(
        insert(task_events).values(
            task=event.task, seq=event.seq, at=at, kind=kind, data=dict(data), key=key
        )
    )
    connection.execute(update(tasks).where(tasks.c.id == task.id).values(changed))
    return Change(load_task(connection, task.id), event)


def load_task(connection: Connection, identity: str, *, lock: bool = False) -> Task:
    """Look up a task; `lock` makes two writers take turns. Raises `TaskNotFound`."""
    query = select(tasks).where(tasks.c.id == identity)
    if lock:
        query = query.with_for_update()  # SQLite's writers exclude each other anyway
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise not_found(identity)
    return task_of(row)


def count_states(connection: Connection) -> dict[str, int]:
    """Count the tasks in each state; a state that none is in is missing."""
    query = select(tasks.c.state, func.count()).group_by(tasks.c.state)
    return {str(state): int(count) for state, count in connection.execute(query)}


def load_plan(connection: Connection, identity: str) -> tuple[Subtask, ...]:
    """Give a task's parts, in their order; none where it is one step."""
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
            row["kind"],
            tuple(row["reads"]),
            tuple(row["writes"]),
            row["check"],
            row["size"],
            row["priority"],
        )
        for row in connection.execute(query).mappings()
    )


def set_part(connection: Connection, task: str, part: str, **values: object) -> None:
    """Change some values of a part."""
    which = (subtasks.c.task == task) & (subtasks.c.id == part)
    connection.execute(update(subtasks).where(which).values(values))


def save_plan(
    connection: Connection, task: str, before: Sequence[Subtask], after: Sequence[Subtask]
) -> None:
    """Write a plan in place of the one that is there; parts are added and changed, none is lost.

    Args:
        connection: Within a transaction.
        task: Its id.
        before: The parts that are recorded.
        after: All of these, as they are now, and those that are new.
    """
    known = {one.id: (position, one) for position, one in enumerate(before)}
    new: list[dict[str, object]] = []
    for position, part in enumerate(after):
        values = {**_columns(part), "position": position}
        if part.id not in known:
            new.append({**values, "task": task})
        elif known[part.id] != (position, part):
            set_part(connection, task, part.id, **values)
    if new:
        connection.execute(insert(subtasks), new)


def _columns(part: Subtask) -> dict[str, object]:
    return {name: _storable(value) for name, value in asdict(part).items()}


def listed(part: Subtask) -> dict[str, object]:
    """Give a part as the events `queued` and `plan` list it; its state where it has ended."""
    shown = {
        "id": part.id,
        "title": part.title,
        "kind": part.kind,
        "depends_on": part.depends_on,
        "reads": part.reads,
        "writes": part.writes,
        "check": part.check,
        "size": part.size,
        "priority": part.priority,
    }
    if part.state in {"done", "failed", "cancelled"}:
        shown["state"] = part.state
    return {name: _storable(value) for name, value in shown.items()}


def told(part: Subtask, state: State) -> dict[str, object]:
    """Give a part as its own events tell it."""
    return {"id": part.id, "title": part.title, "state": state}


def asked_told(asked: Asked) -> dict[str, object]:
    """Give a question to the user as its event tells it."""
    names = ("id", "text", "action", "detail", "digest")
    facts = facts_told(asked.facts) if asked.digest else {}
    return {**{name: storable(getattr(asked, name)) for name in names}, **facts}


def facts_told(facts: PlanFacts) -> dict[str, object]:
    """Give what is known of a plan as events tell it."""
    return {name: _storable(value) for name, value in write_facts(facts).items()}


def _storable(value: object) -> object:
    """Give a value as the database and an event take it."""
    if isinstance(value, str):
        return storable(value)
    return (
        [_storable(one) for one in cast("tuple[object, ...]", value)]
        if isinstance(value, tuple)
        else value
    )


def checked(result: StepResult) -> dict[str, object]:
    """Give what was checked of a result, as events tell it."""
    return {"holds": result.holds, "check": storable(result.check)} if result.check else {}


def too_late(task: Task) -> TaskError:
    """Make the error for what comes too late."""
    return TaskError(f"Task {task.id} is {task.state}; nothing happens to it now.")


def not_found(identity: str) -> TaskNotFound:
    """Make the error for an id that there is none of."""
    return TaskNotFound(f"There is no task {identity!r}.", hint="`tale tasks` lists them.")


def task_of(row: RowMapping) -> Task:
    """Read a row."""
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
        approve=row["approve"],
        private=row["private"],
    )
