"""Runs tasks: a bounded number at a time, by priority then age, each to its recorded end.

Everything passes one path: recorded as queued, picked, run through a `StepRunner`, its outcome
recorded, then shown. At start whatever has not ended takes that path again, so a crash costs a
repetition and never a task. A library for durable workflows will stand behind this same interface
when a task has several steps. Above: `servers.gateway`. Below: `tasks.store`, `tasks.progress`, and
the execution servers behind the `StepRunner`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final, Protocol, TypeVar

import anyio
import anyio.abc

from tale.errors import (
    BackendBroke,
    BackendStalled,
    BackendUnavailable,
    Busy,
    ServiceUnavailable,
    StorageError,
    TaleError,
    TaskError,
)
from tale.storage.database import storable
from tale.tasks.progress import ProgressHub
from tale.tasks.store import Change, NewTask, TaskStore, utc_now
from tale.tasks.task import (
    Began,
    FileWritten,
    Judge,
    Noted,
    Progress,
    Report,
    Role,
    Step,
    StepResult,
    Task,
    TaskEvent,
    TokenSaid,
)
from tale.telemetry import get_logger

__all__ = ["Engine", "Queued", "StepRunner", "pick"]

log = get_logger(__name__)

ResultT = TypeVar("ResultT")

_ATTEMPTS: Final = 5
"""Starts of one step, after which its task fails: something about it brings its server down."""
_RESTARTED: Final = "Its server was started again."
_PAUSE_SECONDS: Final = (1.0, 30.0)
"""First and longest pause before a failed attempt is made again; in between it doubles."""
_PASSING: Final = (ServiceUnavailable, Busy, BackendUnavailable, BackendStalled, BackendBroke)
"""Failures of whoever did the step, not of the step: it can be done again."""


class StepRunner(Protocol):
    """Does a step somewhere, telling its progress in order, `Began` first.

    It may do the step again by itself, which a second `Began` tells. Doing it twice is harmless.
    """

    async def __call__(self, step: Step, report: Report) -> StepResult:
        """Do it; cancelling this call stops the work."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Queued:
    """A task that waits; its order is the order of the queue."""

    rank: int
    id: str
    role: Role


def pick(
    queue: Collection[Queued], running: Collection[Role], lanes: Mapping[Role, int]
) -> Queued | None:
    """Choose the task to start next; None where nothing can start now.

    Each model has its own lane, so that a short answer does not wait behind long work.
    """
    busy = list(running)
    return min((one for one in queue if busy.count(one.role) < lanes[one.role]), default=None)


class Engine:
    """Takes tasks and brings them to an end."""

    def __init__(
        self,
        store: TaskStore,
        hub: ProgressHub,
        runner: StepRunner,
        judge: Judge,
        *,
        lanes: Mapping[Role, int],
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Make an engine.

        Args:
            store: Where tasks are recorded.
            hub: Who is told.
            runner: Who does the steps.
            judge: Chooses the model for a text.
            lanes: How many tasks each model has at a time.
            pause: Waits between attempts.
        """
        self._store = store
        self._hub = hub
        self._runner = runner
        self._judge = judge
        self._lanes = lanes
        self._pause = pause
        self._queue: set[Queued] = set()
        self._running: dict[str, _Run] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Take up what has not ended, then run tasks until cancelled.

        Tasks that run when it is cancelled stay unfinished, and go on when it runs again. It is
        ready before they are taken up: a database that can only be read still has to be shown.
        """
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                unfinished = await self._insist(self._store.unfinished)
                task_status.started()
                for identity in unfinished:
                    await self._take_up(identity)
                await anyio.sleep_forever()
            finally:
                self._tasks = None

    async def submit(self, new: NewTask) -> Task:
        """Record a task and start it as soon as there is room; it is durable on return."""
        recorded = await self._store.add(new)
        if isinstance(recorded, Task):
            return recorded
        self._hub.publish(recorded.event)
        self._enqueue(recorded.task)
        return recorded.task

    async def cancel(self, identity: str) -> Task:
        """End a task, whether it waits or runs; one that has ended stays as it is."""
        recorded = await self._store.cancel(identity)
        if isinstance(recorded, Task):
            return recorded
        self._hub.publish(recorded.event)
        self._queue = {one for one in self._queue if one.id != identity}
        if run := self._running.get(identity):
            run.scope.cancel()
        return recorded.task

    async def _take_up(self, identity: str) -> None:
        """Queue a task again that an earlier run left unfinished."""
        try:
            change = await self._insist(
                lambda: self._store.requeue(identity, "tale was started again.")
            )
        except TaskError as error:  # it was cancelled while the database could not be written
            log.info("task.overtaken", task=identity, reason=error.message)
            return
        self._hub.publish(change.event)
        self._enqueue(change.task)

    def _enqueue(self, task: Task) -> None:
        self._queue.add(Queued(-task.priority, task.id, self._judge(task.text).role))
        self._start_ready()

    def _start_ready(self) -> None:
        while self._tasks and (
            one := pick(self._queue, [run.role for run in self._running.values()], self._lanes)
        ):
            self._queue.remove(one)
            run = self._running[one.id] = _Run(one.role)
            self._tasks.start_soon(self._run, one.id, run)

    async def _run(self, identity: str, run: _Run) -> None:
        try:
            with run.scope:
                await self._bring_to_end(identity, run)
        except TaskError as error:  # it was cancelled at the same moment, and that was recorded
            log.info("task.overtaken", task=identity, reason=error.message)
        finally:
            del self._running[identity]
            self._start_ready()

    async def _bring_to_end(self, identity: str, run: _Run) -> None:
        task = await self._insist(lambda: self._store.get(identity))
        judgement = self._judge(task.text)
        role, kind = judgement.role, judgement.kind
        await self._record(run, lambda: self._store.start(identity, role, judgement.reason))
        log.info("task.started", task=identity, role=role, kind=kind)
        try:
            step = Step(identity, task.text, task.workspace, role, kind, task.session)
            result = await self._attempt(step, run)
        except TaleError as error:
            await self._fail(identity, run, error)
        except Exception as error:  # a task's boundary: the log has the traceback, the rest go on
            log.exception("task.crashed", task=identity)
            hint = "`tale logs gateway` has the traceback."
            await self._fail(identity, run, TaskError(f"tale failed: {error!r}.", hint=hint))
        else:
            await self._record(run, lambda: self._store.finish(identity, result))
            log.info("task.done", task=identity, model=result.model, files=len(result.files))

    async def _fail(self, identity: str, run: _Run, error: TaleError) -> None:
        await self._record(run, lambda: self._store.fail(identity, error.message, error.hint))
        log.warning("task.failed", task=identity, code=error.code, reason=error.message)

    async def _attempt(self, step: Step, run: _Run) -> StepResult:
        """Have the step done, again where whoever did it went away."""
        pauses = _pauses()
        failures = 0
        while True:
            with anyio.CancelScope() as scope:

                async def report(progress: Progress, scope: anyio.CancelScope = scope) -> None:
                    try:
                        await self._take(progress, step.task, run, scope)
                    except TaskError as error:  # the task was cancelled; so will be this step
                        log.info("task.late_progress", task=step.task, reason=error.message)

                try:
                    return await self._runner(step, report)
                except _PASSING as error:
                    failures += 1
                    if failures >= _ATTEMPTS:
                        raise
                    run.why = error.message
                    log.warning("task.retried", task=step.task, reason=error.message)
                    await self._pause(next(pauses))
            if scope.cancelled_caught:
                raise TaskError(
                    f"The step was begun {_ATTEMPTS} times, and each time its server died.",
                    hint="`tale logs execution-1` may say why.",
                )

    async def _take(
        self, progress: Progress, task: str, run: _Run, scope: anyio.CancelScope
    ) -> None:
        """Record what happened in a step, and show it; tokens are only shown."""
        match progress:
            case TokenSaid(text):
                event = TaskEvent(task, run.last_event, utc_now(), "token", {"text": text})
                self._hub.publish(event)
            case FileWritten(path, size):
                file = {"path": storable(path), "bytes": size}
                await self._record(run, lambda: self._store.note(task, "file", file))
            case Noted(text):
                note = {"text": storable(text)}
                await self._record(run, lambda: self._store.note(task, "note", note))
            case Began():
                run.begins += 1
                if run.begins > _ATTEMPTS:
                    scope.cancel()
                elif run.begins > 1:
                    why = {"why": storable(run.why)}
                    run.why = _RESTARTED
                    await self._record(run, lambda: self._store.note(task, "resumed", why))

    async def _record(self, run: _Run, write: Callable[[], Awaitable[Change]]) -> None:
        change = await self._insist(write)
        run.last_event = change.event.seq
        self._hub.publish(change.event)

    async def _insist(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Try until the database takes it: a full disk or a lock holds tasks up, not ends them."""
        pauses = _pauses()
        while True:
            try:
                return await call()
            except StorageError as error:
                log.warning("task.waiting_for_storage", reason=error.message)
            await self._pause(next(pauses))


class _Run:
    """A task that runs."""

    def __init__(self, role: Role) -> None:
        self.role: Role = role
        self.scope = anyio.CancelScope()
        self.begins = 0
        self.why = _RESTARTED
        self.last_event = 0


def _pauses() -> Iterator[float]:
    first, longest = _PAUSE_SECONDS
    return (min(first * 2**number, longest) for number in count())
