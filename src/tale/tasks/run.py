"""One step that runs: what happens in it is recorded for its task, then shown.

Above: `tasks.engine`, and `tasks.recorded_hands`, whose `Teller` it is. Below: `tasks.store`,
`tasks.progress`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import anyio

from tale.errors import TaleError, TaskError
from tale.storage.database import storable
from tale.tasks.progress import ProgressHub
from tale.tasks.recompose import Recompose
from tale.tasks.recorded_hands import Overtaken
from tale.tasks.scheduler import Queued
from tale.tasks.store import TaskStore, utc_now
from tale.tasks.task import Judgement, Step, StepResult, Subtask, TaskEvent
from tale.tasks.task_rows import Change

__all__ = ["Insist", "Run"]


class Insist(Protocol):
    """Makes a call until the database takes it."""

    async def __call__(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Give what the call gives in the end."""
        ...


class Run:
    """A step that runs.

    Attributes:
        queued: What it was in the queue.
        scope: Cancelling it cuts the step off.
        step: What is done; None until it has begun.
        ended: Set once nothing of it goes on.
    """

    def __init__(self, queued: Queued, store: TaskStore, hub: ProgressHub, insist: Insist) -> None:
        self.queued = queued
        self.scope = anyio.CancelScope()
        self.step: Step | None = None
        self.ended = anyio.Event()
        self._store = store
        self._hub = hub
        self._insist = insist
        self._last_event = 0

    async def start(self, part: Subtask | None, judgement: Judgement) -> None:
        """Record that it runs now; raises `TaskError` where its task does not wait for that."""
        task, role, reason = self.queued.task, judgement.role, judgement.reason
        if part is None:
            self._show(await self._insist(lambda: self._store.start(task, role, reason)))
        else:
            self._show(
                *await self._insist(lambda: self._store.start_part(task, part, role, reason))
            )

    async def finish(self, result: StepResult) -> None:
        """Record the task's result; raises `TaskError` where the task runs no more."""
        self._show(await self._insist(lambda: self._store.finish(self.queued.task, result)))

    async def finish_part(self, part: Subtask, result: StepResult, plan: Recompose) -> None:
        """Record a part's result, and how the plan goes on.

        Raises:
            TaskError: The task runs no more.
            PlanRejected: No plan can go on so; nothing is recorded.
        """
        task = self.queued.task
        self._show(*await self._insist(lambda: self._store.finish_part(task, part, result, plan)))

    async def fail_part(
        self, part: Subtask, result: StepResult | None, why: str, plan: Recompose
    ) -> None:
        """Record that a part failed, and how the plan goes on; raises as above."""
        task = self.queued.task
        self._show(
            *await self._insist(lambda: self._store.fail_part(task, part, result, why, plan))
        )

    async def fail(self, part: Subtask | None, error: TaleError) -> None:
        """Record that it, and so its task, can't be done; raises `TaskError` as above."""
        message = f"{part.title}: {error.message}" if part else error.message
        self._show(
            await self._insist(lambda: self._store.fail(self.queued.task, message, error.hint))
        )

    async def tell(self, kind: str, data: Mapping[str, object], key: str | None = None) -> bool:
        """Record an event and show it; False where one of that key is there already."""
        return await self._tell(kind, data, key)

    async def tell_at_rest(
        self, kind: str, data: Mapping[str, object], key: str | None = None
    ) -> bool:
        """Do the same for a task that was paused meanwhile."""
        return await self._tell(kind, data, key, at_rest=True)

    async def _tell(
        self, kind: str, data: Mapping[str, object], key: str | None, *, at_rest: bool = False
    ) -> bool:
        task, told = self.queued.task, {name: _storable(one) for name, one in data.items()}
        if self.queued.subtask:
            told["subtask"] = self.queued.subtask
        try:
            if key is None:
                change = await self._insist(lambda: self._store.note(task, kind, told))
            else:
                change = await self._insist(
                    lambda: self._store.note_once(task, key, kind, told, at_rest=at_rest)
                )
        except TaskError as error:
            raise Overtaken(error.message) from error
        if change is None:
            return False
        self._show(change)
        return True

    def token(self, text: str) -> None:
        """Show a piece of an answer; it is not recorded."""
        data: dict[str, object] = {"text": text}
        if self.queued.subtask:
            data["subtask"] = self.queued.subtask
        self._hub.publish(TaskEvent(self.queued.task, self._last_event, utc_now(), "token", data))

    def _show(self, *changes: Change) -> None:
        for change in changes:
            self._last_event = change.event.seq
            self._hub.publish(change.event)


def _storable(value: object) -> object:
    return storable(value) if isinstance(value, str) else value
