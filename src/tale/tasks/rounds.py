"""A task's rounds: what is recorded when its files are brought back to an earlier state.

What a step has recorded says nothing of files that were brought back under it, so an unfinished
step then begins anew: in a new round, under another name, so that neither its record, nor what it
began, nor what its user answered counts any more. The round is the number of `restoring` events,
which are written before the files are touched. Above: `tasks.engine`, `tasks.going_back`. Below:
`storage`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from tale.errors import TaskError
from tale.storage.database import Database
from tale.storage.schema import subtasks, task_events, tasks
from tale.tasks.task import Origin, Subtask, TaskEvent

__all__ = ["NewEvent", "Past", "key_taken", "others_at_work", "past_of", "record", "undone"]

NewEvent = tuple[str, Mapping[str, object], str | None]
"""Kind, data and key; where one of that key is there already, it is left out."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a step has to know of its task: its round, and where its files came from."""

    rounds: int = 0
    origin: Origin | None = None


async def past_of(database: Database, task: str) -> Past:
    """Read a task's past."""
    query = select(task_events.c.kind, task_events.c.data).where(
        task_events.c.task == task, task_events.c.kind.in_(("restoring", "queued"))
    )

    def work(connection: Connection) -> Past:
        rounds, origin = 0, None
        for kind, data in connection.execute(query):
            rounds += kind == "restoring"
            if forked := data.get("forked"):
                origin = Origin(forked["task"], forked["number"])
        return Past(rounds, origin)

    return await database.read(work)


async def key_taken(database: Database, key: str) -> str | None:
    """Give the id of the task that was submitted under a key, if there is one."""
    query = select(tasks.c.id).where(tasks.c.key == key)
    return await database.read(lambda connection: connection.scalar(query))


async def others_at_work(database: Database, workspace: str) -> list[str]:
    """Give the tasks that run in a folder, oldest first."""
    query = select(tasks.c.id).where(tasks.c.workspace == workspace, tasks.c.state == "running")
    return await database.read(lambda connection: sorted(connection.scalars(query)))


def undone(events: Sequence[TaskEvent], plan: Sequence[Subtask], number: int) -> tuple[str, ...]:
    """Name the parts whose work a checkpoint does not hold, so that they have to be done again.

    Its own checkpoint is told before a part is done. So a part that was done after a later
    checkpoint than this may have done something since; one that was done before has not. What
    only plans writes nothing, and its plan stays.
    """
    done_at: dict[Any, int] = {}
    later: int | None = None
    for event in events:
        if event.kind == "checkpoint" and later is None:
            told = event.data.get("number")
            later = event.seq if isinstance(told, int) and told > number else None
        elif event.kind == "subtask" and event.data.get("state") == "done":
            done_at[event.data.get("id")] = event.seq
    return tuple(
        part.id
        for part in plan
        if part.state == "done"
        and part.kind != "plan"
        and later is not None
        and done_at.get(part.id, 0) > later
    )


async def record(
    database: Database,
    task: str,
    events: Sequence[NewEvent],
    at: datetime,
    *,
    again: Collection[str] = (),
) -> list[TaskEvent]:
    """Record events of a task that does not run, ended ones too, and parts to be done again.

    Raises:
        TaskError: It runs.
    """
    which = tasks.c.id == task
    known = select(tasks.c.state, tasks.c.last_event).where(which).with_for_update()

    def work(connection: Connection) -> list[TaskEvent]:
        state, seq = connection.execute(known).one()
        if state == "running":
            raise TaskError(f"Task {task} runs.")
        recorded: list[TaskEvent] = []
        for kind, data, key in events:
            same = select(task_events.c.seq).where(
                task_events.c.task == task, task_events.c.key == key
            )
            if key is not None and connection.scalar(same) is not None:
                continue
            seq += 1
            recorded.append(TaskEvent(task, seq, at, kind, data))
            values = {"task": task, "seq": seq, "at": at, "kind": kind, "data": dict(data)}
            connection.execute(insert(task_events).values(**values, key=key))
        for part in again:
            one = (subtasks.c.task == task) & (subtasks.c.id == part)
            afresh: dict[str, object] = {"state": "queued", "answer": "", "files": []}
            connection.execute(update(subtasks).where(one).values(afresh))
        connection.execute(update(tasks).where(which).values(last_event=seq))
        return recorded

    return await database.write(work)
