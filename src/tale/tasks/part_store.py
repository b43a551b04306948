"""Parts of tasks in the database: what begins, what came of it, and how the plan goes on.

What came of a part and the plan that follows from it are recorded in one transaction: cut off at
any point, a part is either still to be done or its plan is there. Above: `tasks.store`, which adds
the tasks. Below: `tasks.task_rows`, `tasks.recompose`, which says how plans change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from tale.errors import TaskError
from tale.storage.database import Database, storable
from tale.tasks.plan import WHOLE_PART, is_over, outcome_of, ready
from tale.tasks.plan_facts import PlanFacts
from tale.tasks.recompose import Recompose
from tale.tasks.task import (
    Role,
    StepResult,
    Subtask,
    Task,
    TokensSpent,
    check_transition,
)
from tale.tasks.task_reads import TaskReads
from tale.tasks.task_rows import (
    Change,
    checked,
    facts_told,
    listed,
    load_plan,
    load_task,
    record,
    save_plan,
    set_part,
    told,
    too_late,
)

__all__ = ["PartStore"]

_CHANGED_HINT: Final = "It is done as the plan has it now."


class PartStore(TaskReads):
    """Records what happens to the parts of tasks."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        super().__init__(database)
        self._now = now

    async def start_part(
        self, identity: str, part: Subtask, role: Role, reason: str
    ) -> list[Change]:
        """Record that a part runs now, and that its task does if it is the first.

        Raises:
            TaskError: The task can't run, or the plan has changed and the part may not begin so.
        """
        at = self._now()

        def work(connection: Connection) -> list[Change]:
            task = load_task(connection, identity, lock=True)
            changes: list[Change] = []
            if task.state != "running":
                check_transition(identity, task.state, "running")
            plan = {one.id: one for one in load_plan(connection, identity)}
            known = next((one for one in ready(plan) if one.id == part.id), None)
            if known is None or known.text != storable(part.text):
                raise TaskError(
                    f"The plan of task {identity} has changed, and {part.id} with it.",
                    hint=_CHANGED_HINT,
                )
            if task.state != "running":
                values = {"role": role, "reason": reason}
                changes.append(
                    record(connection, task, "started", values, at, state="running", values=values)
                )
                task = changes[-1].task
            set_part(connection, identity, part.id, state="running")
            data = told(part, "running")
            return [*changes, record(connection, task, "subtask", data, at)]

        return await self._database.write(work)

    async def finish_part(
        self, identity: str, part: Subtask, result: StepResult, plan: Recompose | None = None
    ) -> list[Change]:
        """Record a part's result, the plan that follows, and the task's result after the last part.

        Args:
            identity: The task.
            part: What is done.
            result: What it gave.
            plan: Makes the plan that goes on of the one that there is, in which the part is done.

        Raises:
            TaskError: The task does not run.
            PlanRejected: No plan can go on so; nothing is recorded.
        """
        return await self._end_part(identity, part.id, result, told(part, "done"), plan)

    async def fail_part(
        self,
        identity: str,
        part: Subtask,
        result: StepResult | None,
        why: str,
        plan: Recompose | None = None,
    ) -> list[Change]:
        """Record that a part has failed, and the plan that follows; the task goes on.

        Args:
            identity: The task.
            part: What has failed.
            result: What it gave nevertheless.
            why: What failed, in a few words.
            plan: Makes the plan that goes on of the one that there is, in which the part has
                failed: `recompose.after_failure`.

        Raises:
            TaskError: The task does not run.
            PlanRejected: No plan can go on so; nothing is recorded.
        """
        data = {**told(part, "failed"), "why": storable(why)}
        if result is None or not result.check:
            data |= {"holds": False, "check": storable(why)}
        return await self._end_part(identity, part.id, result, data, plan)

    async def _end_part(
        self,
        identity: str,
        part: str,
        result: StepResult | None,
        said: Mapping[str, object],
        plan: Recompose | None,
    ) -> list[Change]:
        """Record the end of a part; the event `subtask` says how it ended."""
        at = self._now()

        def work(connection: Connection) -> list[Change]:
            task = load_task(connection, identity, lock=True)
            if task.state != "running":
                raise too_late(task)
            answer, files = "", list[str]()
            values: dict[str, object] = {}
            data = dict(said)
            if result is not None:
                answer, files = storable(result.answer), list(result.files)
                values = {"model": result.model, **_spent(task.usage + result.usage)}
                data |= checked(result)
            ended = {"state": data["state"], "answer": answer, "files": files}
            set_part(connection, identity, part, **ended)
            data["files"] = files
            changes = [record(connection, task, "subtask", data, at, values=values)]
            if plan is not None:
                changes += _recomposed(connection, changes[-1].task, plan, at)
            after = load_plan(connection, identity)
            if is_over(after):
                # What was found of the whole is what was found of the task.
                told = {one: data[one] for one in ("holds", "check") if one in data}
                found = told if part.startswith(WHOLE_PART) else {}
                changes.append(_whole(connection, changes[-1].task, after, at, found))
            return changes

        return await self._database.write(work)


def _spent(usage: TokensSpent) -> dict[str, object]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "cached_tokens": usage.cached,
    }


def _recomposed(connection: Connection, task: Task, plan: Recompose, at: datetime) -> list[Change]:
    """Record the plan that goes on, if it is another one."""
    before = load_plan(connection, task.id)
    merged = plan(before)
    after = tuple(replace(one, title=storable(one.title)) for one in merged.plan)
    if after == before:
        return []
    save_plan(connection, task.id, before, after)
    data: dict[str, object] = {
        "subtasks": [listed(one) for one in after],
        **facts_told(
            PlanFacts(
                merged.why,
                merged.changes,
                merged.used,
                merged.notes,
                remembered=merged.remembered,
            )
        ),
    }
    return [record(connection, task, "plan", data, at)]


def _whole(
    connection: Connection,
    task: Task,
    plan: tuple[Subtask, ...],
    at: datetime,
    found: Mapping[str, object] | None = None,
) -> Change:
    """Record the result of a task whose parts are over, and what was `found` of the whole."""
    answer, files = outcome_of(plan)
    values: dict[str, object] = {"answer": answer, "files": list(files)}
    data = {**values, "model": task.model, "role": task.role, **(found or {})}
    return record(connection, task, "done", data, at, state="done", values=values)
