"""Runs tasks: a bounded number at a time, by priority then age, each to its recorded end.

Everything passes one path: recorded as queued, picked, worked on in a durable workflow, its outcome
recorded, then shown. A task is one step, or several that depend on each other; each is a workflow
of its own. The tables of `tasks.store` are the truth about what is to be done: at start whatever
has not ended takes that path again, and its workflows go on where they were cut off. Above:
`servers.gateway`. Below: `tasks.scheduler` (what begins next), `tasks.store`, `tasks.progress`,
`tasks.durable`, and the execution servers behind the `Workers`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

import anyio
import anyio.abc

from tale.errors import StorageError, TaskError
from tale.tasks.course import opening
from tale.tasks.critical_path import Seconds, by_size
from tale.tasks.durable import Journal
from tale.tasks.equip import Equip
from tale.tasks.keeper import Keeper, KeepsNothing
from tale.tasks.leave import Answer, Asked, Trust
from tale.tasks.plan import PLAN_PART
from tale.tasks.planning import PlanKeeping
from tale.tasks.progress import ProgressHub
from tale.tasks.recorded_hands import Overtaken, Workers, pauses
from tale.tasks.run import Run
from tale.tasks.scheduler import Schedule
from tale.tasks.step_work import Agent, Doing, PartDone, PartFailed, StepWork, TaskFailed
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task import Form, Judge, Judgement, Role, Subtask, Task
from tale.tasks.task_rows import Change
from tale.telemetry import get_logger

__all__ = ["Agent", "Engine"]

log = get_logger(__name__)

ResultT = TypeVar("ResultT")
_TIDY_SECONDS: Final = 3600.0
_PART: Final = Judgement("task", "work", "part of a plan")


class Engine:
    """Takes tasks and brings them to an end."""

    def __init__(
        self,
        store: TaskStore,
        hub: ProgressHub,
        journal: Journal,
        workers: Workers,
        *,
        agent: Agent,
        judge: Judge,
        lanes: Mapping[Role, int],
        forms: Mapping[Role, Form] | None = None,
        keeper: Keeper | None = None,
        trust: Trust | None = None,
        equip: Equip | None = None,
        plans: PlanKeeping | None = None,
        seconds: Seconds = by_size,
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Make an engine.

        Args:
            store: Where tasks are recorded.
            hub: Who is told.
            journal: Where what steps did is recorded.
            workers: Who does what a step needs.
            agent: Decides what that is.
            judge: Chooses the model for a text.
            lanes: How many steps each model has at a time.
            forms: How each model acts; in fenced files where it isn't said.
            keeper: Takes checkpoints; none are taken without.
            trust: What tasks may do without a question.
            equip: Gives steps the tools of external servers; without, there are none.
            plans: How large requests are planned; without, they are done in one step.
            seconds: How long a part is expected to take.
            pause: Waits between attempts.
        """
        self._store = store
        self._hub = hub
        self._journal = journal
        self._judge = judge
        self._keeper = keeper or KeepsNothing()
        self._plans = plans
        self._pause = pause
        self._worker = StepWork(
            store,
            journal,
            workers,
            agent=agent,
            keeper=self._keeper,
            trust=trust or Trust(),
            equip=equip,
            forms=forms or {},
            plans=plans,
            pause=pause,
            insist=self._insist,
        )
        self._schedule = Schedule(lanes, seconds=seconds)
        self._runs: dict[str, Run] = {}
        self._changed = anyio.Event()
        self._asking = anyio.Lock()
        """Makes asking and answering take turns, so that who rests is not what was let go on."""
        self._following = anyio.Lock()
        """Makes reading a plan and following it take turns, so that none follows an older one."""

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Take up what has not ended, then run tasks until cancelled.

        Tasks that run when it is cancelled stay unfinished, and go on when it runs again. It is
        ready before they are taken up: a database that can only be read still has to be shown.
        """
        unfinished = await self._insist(self._store.unfinished)
        task_status.started()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run_queue)
            for identity in unfinished:
                await self._take_up(identity)
            await anyio.sleep_forever()

    async def submit(self, new: NewTask) -> Task:
        """Record a task and start it as soon as there is room; it is durable on return."""
        if self._plans and not new.subtasks and self._judge(new.text).planned:
            new = replace(new, subtasks=opening(new.text))
        recorded = await self._store.add(new)
        if isinstance(recorded, Task):
            return recorded
        self._hub.publish(recorded.event)
        self._enqueue(recorded.task, new.subtasks)
        return recorded.task

    async def cancel(self, identity: str) -> Task:
        """End a task, whether it waits or runs; one that has ended stays as it is."""
        return self._stop(await self._store.cancel(identity))

    async def pause(self, identity: str) -> Task:
        """Let a task rest until it is resumed: what runs is cut off, what is recorded stays.

        Raises:
            TaskError: It has ended.
        """
        return self._stop(await self._store.pause(identity))

    async def resume(self, identity: str) -> Task:
        """Let a paused task go on.

        Raises:
            TaskError: It has ended.
        """
        recorded = await self._store.resume(identity)
        if isinstance(recorded, Task):
            return recorded
        await self._queue(identity, recorded)
        return recorded.task

    async def settled(self, identity: str) -> None:
        """Wait until nothing goes on any more of a task that was stopped."""
        for run in self._runs_of(identity):
            if run.scope.cancel_called:
                await run.ended.wait()

    async def answer(self, identity: str, answer: Answer) -> Task:
        """Tell a task what its user answers, and let it go on.

        Raises:
            TaskError: It asks for nothing.
        """
        async with self._asking:
            recorded = await self._store.answer(identity, answer)
            await self._queue(identity, recorded)
        return recorded.task

    @asynccontextmanager
    async def holding(self, identity: str) -> AsyncGenerator[None]:
        """Let nothing of a task that rests or has ended begin meanwhile; one holder at a time.

        Raises:
            TaskError: It is worked on, or will be.
        """
        self._schedule.hold(identity)
        try:
            task = await self._store.get(identity)
            if task.state in {"queued", "running"}:
                raise TaskError(
                    f"Task {identity} is {task.state}; its files must not change under it.",
                    hint=f"`tale pause {identity}` lets it rest.",
                )
            for run in self._runs_of(identity):
                await run.ended.wait()  # what was cut off may still be on its way out
            yield
        finally:
            self._schedule.release(identity)
            self._changed.set()

    async def _ask_user(self, run: Run, asked: Asked) -> Answer:
        """Give the user's answer, or let the whole task rest until it is there."""
        queued = run.queued
        async with self._asking:
            try:
                recorded = await self._insist(
                    lambda: self._store.ask(queued.task, asked, queued.subtask or None)
                )
            except TaskError as error:
                raise Overtaken(error.message) from error
            if isinstance(recorded, Answer):
                return recorded
            self._hub.publish(recorded.event)
            log.info("task.waits_for_user", task=queued.id, action=asked.action)
            self._drop(queued.task)
        await anyio.sleep_forever()  # it is cut off; what is recorded stays
        raise AssertionError  # sleeps have no end

    def _stop(self, recorded: Change | Task) -> Task:
        if isinstance(recorded, Task):
            return recorded
        self._hub.publish(recorded.event)
        self._drop(recorded.task.id)
        return recorded.task

    def _drop(self, task: str, *, but: str = "") -> None:
        """Take a task's steps out of the queue and cut off those that run."""
        for step in self._schedule.drop(task, but=but):
            self._runs[step].scope.cancel()

    def _runs_of(self, task: str) -> list[Run]:
        return [self._runs[step] for step in self._schedule.running(task)]

    async def _take_up(self, identity: str) -> None:
        """Queue a task again that an earlier run left unfinished."""
        try:
            change = await self._insist(
                lambda: self._store.requeue(identity, "tale was started again.")
            )
        except TaskError as error:  # it was cancelled while the database could not be written
            log.info("task.overtaken", task=identity, reason=error.message)
            return
        await self._queue(identity, change)

    async def _queue(self, identity: str, change: Change | None = None) -> None:
        """Queue a task by what is recorded of it; one that rests or has ended by now is dropped.

        What let it go on is shown no sooner: who sees it may end the call that this is part of.
        """
        async with self._following:
            task = await self._insist(lambda: self._store.get(identity))
            plan = await self._insist(lambda: self._store.plan(identity))
            if change:
                self._hub.publish(change.event)
            if task.state in {"queued", "running"}:
                self._enqueue(task, plan)
            else:
                self._drop(identity)

    def _enqueue(self, task: Task, plan: Collection[Subtask]) -> None:
        judgement = _PART if plan else self._judge(task.text)
        self._schedule.add(task.id, -task.priority, judgement.role, plan, folder=task.workspace)
        self._changed.set()

    async def _run_queue(self) -> None:
        """Start what there is room for, once the journal is there, until cancelled."""
        waits = pauses()
        while True:
            try:
                async with self._journal.open(), anyio.create_task_group() as tasks:
                    tasks.start_soon(self._tidy)
                    while True:
                        self._changed = anyio.Event()
                        self._start_ready(tasks)
                        await self._changed.wait()
            except StorageError as error:
                log.warning("engine.waiting_for_storage", reason=error.message)
            await self._pause(next(waits))

    def _start_ready(self, tasks: anyio.abc.TaskGroup) -> None:
        while one := self._schedule.next():
            self._runs[one.id] = run = Run(one, self._store, self._hub, self._insist)
            tasks.start_soon(self._run, run)

    async def _run(self, run: Run) -> None:
        identity, overtaken = run.queued.id, False
        try:
            with run.scope:
                await self._bring_to_end(run)
            if run.scope.cancelled_caught and run.step:
                await self._keeper.keep(run.step, "pause", run.tell_at_rest)
        except (TaskError, Overtaken) as error:  # it was stopped at the same moment, and recorded
            log.info("task.overtaken", task=identity, reason=str(error))
            overtaken = True
        finally:
            del self._runs[identity]
            self._schedule.end(identity)
            run.ended.set()
            self._changed.set()
        if overtaken and run.queued.subtask:  # its plan may have changed, or it was stopped
            await self._queue(run.queued.task)

    async def _bring_to_end(self, run: Run) -> None:
        task = await self._insist(lambda: self._store.get(run.queued.task))
        part = self._schedule.plan(task.id).get(run.queued.subtask)
        ask = partial(self._ask_user, run)
        doing = Doing(run, task, part, self._judgement(task, part), self._schedule.plan, ask)
        match await self._worker.bring_to_end(doing):
            case PartDone(answer, files):
                self._schedule.part_done(run.queued, answer, files)
                await self._follow_plan(task.id)
            case PartFailed():
                self._schedule.part_failed(run.queued)
                await self._follow_plan(task.id)
            case TaskFailed():
                self._drop(task.id, but=run.queued.id)
            case None:
                pass
        self._changed.set()

    async def _follow_plan(self, task: str) -> None:
        """Go on by the plan that is recorded, which the end of a part may have changed."""
        async with self._following:
            plan = await self._insist(lambda: self._store.plan(task))
            self._schedule.replace_plan(task, plan)

    def _judgement(self, task: Task, part: Subtask | None) -> Judgement:
        if part and part.id != PLAN_PART:
            return _PART
        judged = self._judge(task.text)
        return replace(_PART, reason=judged.reason) if part else judged

    async def _tidy(self) -> None:
        """Forget now and then what was recorded of steps whose tasks have ended."""
        while True:
            try:
                known = await self._journal.known()
                living = await self._store.living()  # later: who is new is not known yet
                await self._journal.forget([one for one in known if _task_of(one) not in living])
            except StorageError as error:
                log.warning("engine.not_tidied", reason=error.message)
            await anyio.sleep(_TIDY_SECONDS)

    async def _insist(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Try until the database takes it: a full disk or a lock holds tasks up, not ends them."""
        waits = pauses()
        while True:
            try:
                return await call()
            except StorageError as error:
                log.warning("task.waiting_for_storage", reason=error.message)
            await self._pause(next(waits))


def _task_of(step: str) -> str:
    return step.partition(".")[0].partition("~")[0]
