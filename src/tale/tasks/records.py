"""All that the databases have of one task, taken out as rows, and put in as a task from elsewhere.

Putting in is one transaction: the task, its events, its subtasks, and what its steps recorded, as
`adopted_steps`. Above: `tasks.transfer`. Below: `storage.database`, the engine's journal,
`tasks.portable_rows`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, cast

import orjson
from sqlalchemy import Connection, RowMapping, Table, func, insert, select

from tale.errors import TaskError, TaskNotFound
from tale.ids import next_id
from tale.storage.database import Database
from tale.storage.schema import adopted_steps, subtasks, task_events, tasks
from tale.tasks.durable import Journal
from tale.tasks.portable import Row, TaskRows
from tale.tasks.portable_rows import Checked, EventRow, PartRow, StepRow, TaskRow, clean
from tale.tasks.task import ENDED, State, TaskEvent

__all__ = ["TaskRecords"]

_PREFIX: Final = "t-"
_AT_WORK: Final[frozenset[State]] = frozenset({"queued", "running"})
_BATCH: Final = 500


class TaskRecords:
    """Gives a task's rows, and takes those of another machine's."""

    def __init__(self, database: Database, journal: Journal) -> None:
        self._database = database
        self._journal = journal

    async def dump(self, identity: str) -> TaskRows:
        """Read all of a task that rests or has ended.

        Raises:
            TaskNotFound: There is none of that id.
            TaskError: It is at work.
        """
        task, _, parts = await self._database.read(lambda one: _rows_of(one, identity))
        steps: list[Row] = []
        if task["state"] not in ENDED:  # of those that have, nothing is done again
            for part in [part["id"] for part in parts] or [""]:
                step = f"{identity}.{part}" if part else identity
                for position, (name, value) in enumerate(await self._journal.recorded(step)):
                    text = orjson.dumps(value).decode()
                    row = StepRow(part=part, position=position, name=name, value=text)
                    steps.append(row.model_dump(mode="json"))
        # Read again: only a task that rests now has rested all the while.
        task, events, parts = await self._database.read(lambda one: _rows_of(one, identity))
        if task["state"] in _AT_WORK:
            raise TaskError(
                f"Task {identity} is {task['state']}; only a task that rests can be exported.",
                hint=f"`tale pause {identity}`, then export it.",
            )
        shared = _shared(TaskRow, task)
        written = TaskRow.model_validate({**shared, "subtasks": [_part(part) for part in parts]})
        return TaskRows(
            written.model_dump(mode="json"),
            [_event(identity, event).model_dump(mode="json") for event in events],
            steps,
        )

    async def name(self, wanted: str, at: datetime, taken: Collection[str]) -> str:
        """Choose an id for a task from elsewhere: its own where it is free, else a new one.

        One of the future is none: all later ids would have to be greater still.

        Args:
            wanted: Its id there.
            at: The present time.
            taken: Ids that something else than the database has use for.
        """

        def work(connection: Connection) -> str:
            last = connection.scalar(select(func.max(tasks.c.id)))
            there = connection.scalar(select(tasks.c.id).where(tasks.c.id == wanted))
            fresh = next_id(_PREFIX, at, last)
            if there is None and wanted not in taken and wanted <= fresh:
                return wanted
            while fresh in taken:
                fresh = next_id(_PREFIX, at, fresh)
            return fresh

        return await self._database.read(work)

    async def load(
        self,
        identity: str,
        checked: Checked,
        workspace: Path,
        imported: Mapping[str, object],
        at: datetime,
    ) -> list[TaskEvent]:
        """Record a task that comes from elsewhere: it rests, unless it had ended.

        Args:
            identity: Its id here.
            checked: What the other machine had of it.
            workspace: Its folder.
            imported: The data of the event that tells of it.
            at: The present time.

        Returns:
            What has happened to it here.

        Raises:
            TaskError: A task has got that id meanwhile.
        """
        task = checked.task

        def work(connection: Connection) -> list[TaskEvent]:
            if connection.scalar(select(tasks.c.id).where(tasks.c.id == identity)) is not None:
                raise TaskError(
                    f"Another task has got the id {identity} meanwhile.", hint="Import it again."
                )
            here = _happened(identity, checked, imported, at)
            rests = task.state not in ENDED
            connection.execute(
                insert(tasks).values(
                    {
                        **_stored(task),
                        "id": identity,
                        "state": "paused" if rests else task.state,
                        "workspace": str(workspace),
                        "last_event": checked.last_event + len(here),
                    }
                )
            )
            for position, part in enumerate(task.subtasks):
                values = {**_stored(part), "task": identity, "position": position}
                connection.execute(insert(subtasks).values(values))
            there = (
                {
                    **one.model_dump(),
                    "task": identity,
                    "data": one.harmless(),
                    "key": None if one.key is None else f"{identity}{one.key}",
                }
                for one in checked.events()
            )
            _insert(connection, task_events, there)
            _insert(connection, task_events, map(_told, here))
            if rests:
                steps = ({**one.model_dump(), "task": identity} for one in checked.recorded())
                _insert(connection, adopted_steps, steps)
            return here

        return await self._database.write(work)


def _rows_of(
    connection: Connection, identity: str
) -> tuple[RowMapping, Sequence[RowMapping], Sequence[RowMapping]]:
    task = connection.execute(select(tasks).where(tasks.c.id == identity)).mappings().one_or_none()
    if task is None:
        raise TaskNotFound(f"There is no task {identity!r}.", hint="`tale tasks` lists them.")
    events = select(task_events).where(task_events.c.task == identity).order_by(task_events.c.seq)
    parts = select(subtasks).where(subtasks.c.task == identity).order_by(subtasks.c.position)
    return (
        task,
        connection.execute(events).mappings().all(),
        connection.execute(parts).mappings().all(),
    )


def _shared(shape: type[TaskRow | PartRow], row: RowMapping) -> dict[str, object]:
    """Give what a row of the table and one of the file have in common."""
    return {str(name): value for name, value in row.items() if name in shape.model_fields}


def _part(row: RowMapping) -> PartRow:
    return PartRow.model_validate(_shared(PartRow, row))


def _event(identity: str, row: RowMapping) -> EventRow:
    key: str | None = row["key"]
    return EventRow(
        seq=row["seq"],
        at=row["at"],
        kind=row["kind"],
        data=row["data"],
        key=key and key.removeprefix(identity),
    )


def _stored(row: TaskRow | PartRow) -> dict[str, object]:
    return cast("dict[str, object]", clean(row.model_dump(exclude={"subtasks"})))


def _happened(
    identity: str, checked: Checked, imported: Mapping[str, object], at: datetime
) -> list[TaskEvent]:
    """Say what happens to a task as it is imported; nothing to one that has ended."""
    if checked.task.state in ENDED:
        return []
    kinds: list[tuple[str, Mapping[str, object]]] = [("imported", imported)]
    if checked.task.state != "paused":  # it asked its user there, and asks again once it goes on
        kinds.insert(0, ("paused", {}))
    first = checked.last_event + 1
    return [
        TaskEvent(identity, seq, at, kind, data) for seq, (kind, data) in enumerate(kinds, first)
    ]


def _told(event: TaskEvent) -> dict[str, object]:
    return {**asdict(event), "key": None}


def _insert(connection: Connection, table: Table, rows: Iterator[Mapping[str, object]]) -> None:
    while batch := [dict(row) for row in islice(rows, _BATCH)]:
        connection.execute(insert(table), batch)
