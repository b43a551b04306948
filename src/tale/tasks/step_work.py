"""One step, from its beginning to its recorded end: set up, worked on by its agent, concluded.

What may be done next follows from what is given back; nothing of the schedule is known here. Above:
`tasks.engine`. Below: the agents, `tasks.recorded_hands` (through which they act), `tasks.keeper`,
`tasks.run` (which records what came of it).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from tale.errors import PlanRejected, StorageError, TaleError, TaskError
from tale.storage.database import storable
from tale.tasks.briefing import Briefing, briefing
from tale.tasks.course import is_own, without_needless
from tale.tasks.durable import Changed, Journal, Recorder
from tale.tasks.equip import Equip
from tale.tasks.hands import Hands
from tale.tasks.keeper import Keeper
from tale.tasks.leave import Asker, Trust
from tale.tasks.planning import PlanKeeping, own_part
from tale.tasks.recompose import Recompose, after_failure, can_be_repaired
from tale.tasks.recorded_hands import Overtaken, RecordedHands, Workers
from tale.tasks.rounds import Past, past_of
from tale.tasks.run import Insist, Run
from tale.tasks.store import TaskStore
from tale.tasks.task import Form, Judgement, Role, Step, StepResult, Subtask, Task
from tale.tasks.task_spans import step_span
from tale.telemetry import get_logger

__all__ = ["Agent", "Doing", "PartDone", "PartFailed", "StepWork", "TaskFailed"]

log = get_logger(__name__)

Agent = Callable[[Step, Hands], Awaitable[StepResult]]
"""Does a step with hands alone; given the same replies and outcomes it does the same."""

_LOG_HINT: Final = "`tale logs gateway` has the traceback."
_ANEW: Final = (
    "tale or its settings were changed meanwhile, so that it can't go on from what it had; it "
    "begins anew."
)


@dataclass(frozen=True, slots=True)
class Doing:
    """A step that is to be done.

    Attributes:
        run: Records and tells.
        task: What it is of.
        part: Which part of that; None where it is the whole.
        judgement: Who does it.
        plan: Gives a task's parts as they are now.
        ask_user: Gives the user's answer.
    """

    run: Run
    task: Task
    part: Subtask | None
    judgement: Judgement
    plan: Callable[[str], Mapping[str, Subtask]]
    ask_user: Asker

    @property
    def parts(self) -> Mapping[str, Subtask]:
        """The task's parts as they are now."""
        return self.plan(self.task.id)


@dataclass(frozen=True, slots=True)
class PartDone:
    """A part has its result, which those that need it are given; the plan may have changed."""

    answer: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartFailed:
    """A part can't be done; the plan goes on in another way."""


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """Nothing of the task goes on."""


Ended = PartDone | PartFailed | TaskFailed
"""What a step came to that its task's others are concerned with."""


class StepWork:
    """Does steps."""

    def __init__(
        self,
        store: TaskStore,
        journal: Journal,
        workers: Workers,
        *,
        agent: Agent,
        keeper: Keeper,
        trust: Trust,
        equip: Equip | None,
        forms: Mapping[Role, Form],
        plans: PlanKeeping | None,
        pause: Callable[[float], Awaitable[None]],
        insist: Insist,
    ) -> None:
        """Make one; the arguments are the engine's, and `insist` waits for the database."""
        self._store = store
        self._journal = journal
        self._workers = workers
        self._agent = agent
        self._keeper = keeper
        self._trust = trust
        self._equip = equip
        self._forms = forms
        self._plans = plans
        self._pause = pause
        self._insist = insist

    async def bring_to_end(self, doing: Doing) -> Ended | None:
        """Do a step; gives what concerns others, which is nothing where it is all of its task."""
        run, part, task = doing.run, doing.part, doing.task
        await run.start(part, doing.judgement)
        past = await self._insist(lambda: past_of(self._store.database, task.id))
        run.step = step = self._step(doing, past)
        try:
            await self._insist(lambda: self._keeper.begin(step, run.tell))
        except TaleError as error:  # without the files it was forked for there is nothing to do
            return await self._fail(doing, error)
        if self._journal.lost and task.started:
            await run.tell("note", {"text": self._journal.lost}, f"{step.id}:lost")
        log.info("step.started", step=step.id, role=step.role, kind=step.kind)
        ended: Ended | None = None

        async def work(recorder: Recorder) -> None:
            nonlocal ended
            with step_span(step):
                ended = await self._work(step, doing, recorder)

        while True:
            try:
                await self._insist(lambda: self._journal.run(step.id, work))
            except Changed as error:
                log.warning("step.begins_anew", step=step.id, reason=error.message)
                await self._insist(lambda: self._journal.forget([step.id]))
                await run.tell("resumed", {"why": _ANEW})
            else:
                return ended

    def _step(self, doing: Doing, past: Past) -> Step:
        task, part, judgement = doing.task, doing.part, doing.judgement
        if part and part.id not in doing.parts:  # cut off, but what it read came nevertheless
            raise Overtaken(f"Task {task.id} was stopped meanwhile.")
        told = briefing(task.text, part, doing.parts) if part else Briefing("", task.text)
        return Step(
            task.id,
            told.text,
            task.workspace,
            judgement.role,
            judgement.kind,
            task.session,
            check=(part.check or None) if part else None,
            form=self._forms.get(judgement.role, "fences"),
            subtask=part.id if part else None,
            round=past.rounds,
            origin=past.origin,
            permission=task.permission,
            wanted=part.kind if part else None,
            writes=part.writes if part else (),
            context=told.context,
        )

    async def _work(self, step: Step, doing: Doing, recorder: Recorder) -> Ended | None:
        """Have the agent do a step, and record what came of it."""
        run, part = doing.run, doing.part
        if self._equip:
            step = await self._equip(step, recorder, run.tell)
        recorded = RecordedHands(
            step,
            recorder,
            self._workers,
            run,
            self._pause,
            trust=self._trust,
            ask_user=doing.ask_user,
        )
        hands = self._keeper.hands(step, recorded, run.tell)
        try:
            result, plan = await self._result(step, doing, hands, recorder)
            await self._keeper.keep(step, "subtask" if part else "end", run.tell)
        except (StorageError, Changed):
            raise
        except TaleError as error:
            return await self._fail(doing, error)
        except Overtaken:
            raise
        except Exception as error:  # a task's boundary: the log has the traceback, the rest go on
            log.exception("task.crashed", task=step.id)
            return await self._fail(doing, TaskError(f"tale failed: {error!r}.", hint=_LOG_HINT))
        return await self._conclude(doing, result, plan)

    async def _result(
        self, step: Step, doing: Doing, hands: Hands, recorder: Recorder
    ) -> tuple[StepResult, Recompose | None]:
        """Give what a step comes to, and how the plan goes on where it says so."""
        part = doing.part
        if part is None or self._plans is None or not is_own(part):
            return await self._agent(step, hands), None
        return await own_part(
            step, hands, recorder, self._plans, task=doing.task, part=part, parts=doing.parts
        )

    async def _conclude(
        self, doing: Doing, result: StepResult, plan: Recompose | None
    ) -> Ended | None:
        """Record what came of a step."""
        run, part = doing.run, doing.part
        log.info("step.ended", step=run.queued.id, model=result.model, holds=result.holds)
        if part is None:
            await run.finish(result)
            return None
        if result.holds is False:
            return await self._fail_part(doing, part, result, _told(result))
        try:
            await run.finish_part(part, result, plan or without_needless)
        except PlanRejected as error:  # others have changed it meanwhile
            return await self._fail_part(doing, part, result, error.message)
        return PartDone(storable(result.answer), result.files)

    async def _fail_part(
        self, doing: Doing, part: Subtask, result: StepResult | None, why: str
    ) -> Ended:
        """Record that a part failed, and that its plan is mended, or what was made is accepted."""
        log.warning("part.failed", step=doing.run.queued.id, reason=why)
        goes_on = partial(after_failure, failed=part.id, why=why)
        try:
            await doing.run.fail_part(part, result, why, goes_on)
        except PlanRejected as error:
            return await self._fail(doing, error)
        return PartFailed()

    async def _fail(self, doing: Doing, error: TaleError) -> Ended:
        """Record that a step came to nothing: its plan is mended where it has one, if it can be."""
        run, part = doing.run, doing.part
        if run.step:
            await self._keeper.keep(run.step, "end", run.tell)
        gave_up = isinstance(error, TaskError)  # what no model or server can do fails the task
        if part and gave_up and not is_own(part) and can_be_repaired(doing.parts.values()):
            return await self._fail_part(doing, part, None, error.message)
        await run.fail(part, error)
        log.warning("task.failed", task=run.queued.id, code=error.code, reason=error.message)
        return TaskFailed()


def _told(result: StepResult) -> str:
    return "\n\n".join(result.faults) or result.check
