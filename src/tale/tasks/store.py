"""Tasks and their events in the database: each change of state with its event, in one transaction.

What is returned has been committed, so it may be shown. Events of a task count from 1 without a
gap; the task's row carries the last number, and its row lock makes two writers take turns. Only the
gateway writes here. Above: `tasks.engine`, `tasks.progress`. Below: `tasks.part_store` (the parts
of tasks), `storage.database`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, insert, select

from tale.errors import TaskError
from tale.ids import next_id
from tale.storage.database import Database, storable
from tale.storage.schema import task_events, tasks
from tale.tasks.leave import Answer, Asked
from tale.tasks.part_store import PartStore
from tale.tasks.plan_digest import check_asked, check_seen
from tale.tasks.task import (
    ENDED,
    Approve,
    Level,
    Origin,
    Role,
    State,
    StepResult,
    Subtask,
    Task,
    check_transition,
)
from tale.tasks.task_rows import (
    Change,
    asked_told,
    checked,
    listed,
    load_task,
    record,
    save_plan,
    task_of,
    too_late,
)

__all__ = ["NewTask", "TaskStore", "utc_now"]

_PREFIX: Final = "t-"
_SHOWN: Final = tuple(column for column in task_events.c if column.name != "key")
_ANSWERS: Final = ("approved", "rejected")


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be recorded.

    Attributes:
        key: The same key again gives the task that is there.
        workspace: Its folder; None gives it one of its own.
        permission: What it may do without a question; None leaves it to the settings.
        approve: Whether its plan is put to the user; likewise.
        private: Whether nothing of it is to be remembered.
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
    approve: Approve | None = None
    private: bool = False


def utc_now() -> datetime:
    """Give the present time, in UTC."""
    return datetime.now(UTC)


class TaskStore(PartStore):
    """The one place that reads and writes tasks."""

    def __init__(
        self, database: Database, workspaces: Path, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        super().__init__(database, now)
        self._workspaces = workspaces

    async def add(self, new: NewTask) -> Change | Task:
        """Record a task as queued; a task that has the same key already is returned alone."""
        at = self._now()

        def work(connection: Connection) -> Change | Task:
            if new.key is not None:
                same = select(tasks).where(tasks.c.key == new.key)
                if row := connection.execute(same).mappings().one_or_none():
                    return task_of(row)
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
                    approve=new.approve,
                    private=new.private,
                    created=at,
                )
            )
            save_plan(connection, identity, (), new.subtasks)
            data: dict[str, object] = {}
            if new.subtasks:
                data["subtasks"] = [listed(part) for part in new.subtasks]
            if new.origin:
                data["forked"] = asdict(new.origin)
            return record(connection, load_task(connection, identity), "queued", data, at)

        return await self._database.write(work)

    async def start(self, identity: str, role: Role, reason: str) -> Change:
        """Record that a queued task runs now."""
        values = {"role": role, "reason": reason}
        return await self._change(identity, "running", "started", values, dict(values))

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
            task = load_task(connection, identity, lock=True)
            if task.state != "running":
                raise too_late(task)
            data = asked_told(asked)
            if subtask:
                data["subtask"] = subtask
            return record(connection, task, "approval", data, at, state="waiting")

        return await self._database.write(work)

    async def answer(self, identity: str, answer: Answer) -> Change:
        """Record what the user answers to what a task waits for; it goes on then.

        Raises:
            TaskError: It asks for nothing, or something else than what the user saw.
        """
        at = self._now()
        questions = (
            select(task_events.c.data)
            .where(task_events.c.task == identity, task_events.c.kind == "approval")
            .order_by(task_events.c.seq.desc())
        )

        def work(connection: Connection) -> Change:
            task = load_task(connection, identity, lock=True)
            if task.state != "waiting":
                raise TaskError(
                    f"Task {identity} is {task.state}; it asks for nothing just now.",
                    hint=f"`tale show {identity}` shows how it stands.",
                )
            asked = connection.scalars(questions).all()
            check_seen(answer.digest, asked)
            check_asked(answer.asked, asked)
            kind = "approved" if answer.approved else "rejected"
            data: dict[str, object] = {
                "id": asked[0].get("id", "") if asked else "",
                "text": storable(answer.text),
            }
            return record(connection, task, kind, data, at, state="queued")

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
            **checked(result),
        }
        return await self._change(identity, "done", "done", values, data)

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
                    private=True,  # it may have been, and there is nothing of it to remember
                )
            )
            task = load_task(connection, identity)
            task = record(connection, task, "queued", {}, at).task
            data = dict(values)
            return record(
                connection, task, "failed", data, self._now(), state="failed", values=values
            ).task

        return await self._database.write(work)

    async def cancel(self, identity: str) -> Change | Task:
        """Record that the user wants a task no more; one that has ended is returned alone."""
        at = self._now()

        def work(connection: Connection) -> Change | Task:
            task = load_task(connection, identity, lock=True)
            if task.state in ENDED:
                return task
            return record(connection, task, "cancelled", {}, at, state="cancelled")

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
            task = load_task(connection, identity, lock=True)
            if task.state in ENDED if at_rest else task.state != "running":
                raise too_late(task)
            return record(connection, task, kind, data, at, key=key)

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
            task = load_task(connection, identity, lock=True)
            if task.state in already:
                return task
            check_transition(identity, task.state, state)
            return record(connection, task, kind, data, at, state=state)

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
            task = load_task(connection, identity, lock=True)
            if state is not None:
                check_transition(identity, task.state, state)
            elif task.state != "running":
                raise too_late(task)
            return record(connection, task, kind, data, at, state=state, values=values)

        return await self._database.write(work)
