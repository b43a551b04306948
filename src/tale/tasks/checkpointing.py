"""Takes a task's checkpoints while it works; whatever becomes of them, the task goes on.

One is taken beside the agent's next thoughts, and is done before the task's next effect, so that
it holds a state that was there. Before the first effect it holds what the workspace was. Above:
`tasks.engine`, which knows it as a `Keeper`, and `tasks.going_back`. Below:
`tasks.checkpoint_rule` (when), `tasks.checkpoint_store` (how).
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import anyio
import anyio.abc

from tale.errors import CheckpointDamaged, TaleError, TaskError, WorkspaceUnusable
from tale.tasks.checkpoint import checkpoint_event
from tale.tasks.checkpoint_rule import Cadence, Moment, Retention, Situation, due
from tale.tasks.hands import (
    Action,
    ApprovePlan,
    AskUser,
    CallTool,
    EditFile,
    Hands,
    ListFiles,
    Outcome,
    Question,
    ReadFile,
    Reply,
    RunCommand,
    RunPython,
    WriteFile,
)
from tale.tasks.keeper import Checkpoints, Tell
from tale.tasks.recorded_hands import Overtaken
from tale.tasks.task import Origin, Step
from tale.telemetry import get_logger

__all__ = ["Checkpointing"]

log = get_logger(__name__)

_CADENCE: Final = Cadence()
_RETENTION: Final = Retention()
_TIDY_SECONDS: Final = 3600.0
_SHOWN_CHARACTERS: Final = 60


@dataclass(slots=True)
class _Course:
    """What is known of a task's workspace.

    Attributes:
        changed: Files written since the last checkpoint; None where nobody knows.
        begun: What was there before its first effect is kept.
        empty: The last one holds no files, so that a missing folder is no loss.
        acting: Effects under way; the parts of a task share its workspace.
        settled: Set when the one that is being taken beside the work is there.
    """

    at: float
    changed: int | None = 0
    cost: float = 0.05
    number: int = 0
    begun: bool = False
    empty: bool = False
    acting: int = 0
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    settled: anyio.Event | None = None

    def count(self, changed: int | None) -> None:
        """Add the files that an effect changed."""
        if self.changed is not None:
            self.changed = None if changed is None else self.changed + changed

    def cut_off(self) -> None:
        """Note the end of an effect of which nothing is known."""
        self.acting -= 1
        self.changed = None


class Checkpointing:
    """The keeper of the gateway."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        *,
        cadence: Cadence = _CADENCE,
        retention: Retention = _RETENTION,
        clock: Callable[[], float] = anyio.current_time,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make one; it works while `run` does.

        Args:
            checkpoints: Where they are kept.
            cadence: How often one is taken within a step.
            retention: Which stay.
            clock: Seconds, from which the time between two is counted.
            now: The time of day, from which their ages are counted.
        """
        self._checkpoints = checkpoints
        self._cadence = cadence
        self._retention = retention
        self._clock = clock
        self._now = now
        self._courses: dict[str, _Course] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Take what is due beside the tasks, and thin out what is old, until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            task_status.started()
            while True:
                await self.tidy()
                await anyio.sleep(_TIDY_SECONDS)

    async def tidy(self) -> None:
        """Drop what the rule does not keep, and free its space."""
        late = self._clock() - _TIDY_SECONDS
        for task, course in list(self._courses.items()):
            if course.at < late and not course.acting and not course.settled:
                del self._courses[task]  # what it knew is found again in the store
        try:
            for task in await self._checkpoints.tasks():
                # A live task needs its newest one, and that always stays.
                await self._checkpoints.prune(task, self._retention, self._now())
            await self._checkpoints.collect()
        except TaleError as error:
            log.warning("checkpoints.not_tidied", reason=error.message)

    async def begin(self, step: Step, tell: Tell) -> None:
        """Bring a workspace that is gone back to its newest checkpoint; fill that of a fork.

        Raises:
            TaleError: It can't be filled.
        """
        workspace = Path(step.workspace)
        if step.origin:
            await self.fill(step.task, workspace, step.origin)
        course = self._course(step.task)
        async with course.lock:
            if not await anyio.Path(workspace).exists():
                await self._bring_back(step, course, tell)

    async def _bring_back(self, step: Step, course: _Course, tell: Tell) -> None:
        """Bring a workspace that somebody has deleted back to its newest checkpoint."""
        try:
            known = await self._checkpoints.list(step.task)
            if not known or not known[-1].files:
                return
            number = known[-1].number
            await self._checkpoints.restore(step.task, number, Path(step.workspace))
        except TaleError as error:
            await self._missed(step, error, tell)
            return
        course.changed = None
        log.warning("checkpoint.restored", task=step.task, number=number)
        text = f"The workspace was gone; it is back as it was at checkpoint {number}."
        await tell("note", {"text": text})

    async def fill(self, task: str, workspace: Path, origin: Origin) -> None:
        """Have a fork's workspace begin with its checkpoint's files; once that is so, do nothing.

        What is there already stays: it is what an earlier try has written, or the user's own.

        Raises:
            TaleError: The checkpoint is gone, or the workspace can't be written.
        """
        async with self._course(task).lock:
            if await self._checkpoints.list(task):
                return
            try:
                await self._checkpoints.fork(
                    origin.task, origin.number, task, workspace, beside=True
                )
            except CheckpointDamaged as error:  # not one to wait for, as other faults of storage
                raise TaskError(error.message, hint=error.hint) from error

    @asynccontextmanager
    async def apart(self, task: str) -> AsyncGenerator[None]:
        """Take no checkpoint of a task at rest meanwhile; its files are changed by someone else."""
        await self.settled(task)
        async with self._course(task).lock:
            try:
                yield
            finally:
                self._courses.pop(task, None)  # what it knew is found again in the store

    def hands(self, step: Step, hands: Hands, tell: Tell) -> Hands:
        """Give hands whose effects are kept as often as the rule says."""
        return _KeptHands(self, step, hands, tell)

    async def keep(self, step: Step, moment: Moment, tell: Tell) -> None:
        """Take a checkpoint if files may have changed; a task that ends is then forgotten."""
        course = self._course(step.task)
        await self.settled(step.task)
        if due(self._situation(course, moment), self._cadence).take:
            part = f" {step.subtask}" if step.subtask else ""
            why = {"subtask": f"after part{part}", "pause": "when it was stopped"}
            await self._take(step, why.get(moment, "at its end"), tell)
        if moment == "end":
            self._courses.pop(step.task, None)

    async def settled(self, task: str) -> None:
        """Wait for a checkpoint that is being taken."""
        course = self._courses.get(task)
        while course is not None and course.settled is not None:
            await course.settled.wait()

    async def before(self, step: Step, tell: Tell) -> _Course:
        """Have the workspace's present state kept, before an effect."""
        await self.settled(step.task)
        course = self._course(step.task)
        async with course.lock:
            if not course.begun:
                course.begun = True
                await self._first(step, course, tell)
            elif not course.empty and not await anyio.Path(step.workspace).exists():
                await self._bring_back(step, course, tell)
        course.acting += 1
        return course

    def after(
        self, step: Step, course: _Course, action: Action, outcome: Outcome, tell: Tell
    ) -> None:
        """Have what an effect made kept, if it is time, beside whatever comes next."""
        course.acting -= 1
        course.count(_changed(action, outcome))
        if course.acting or course.settled or self._tasks is None:
            return
        if due(self._situation(course, "effect"), self._cadence).take:
            course.settled = anyio.Event()
            self._tasks.start_soon(self._beside, step, course, _why(action), tell)

    async def _beside(self, step: Step, course: _Course, why: str, tell: Tell) -> None:
        try:
            await self._take(step, why, tell)
        except Overtaken:
            pass  # the checkpoint is there; its task was stopped before it could be told
        finally:
            settled, course.settled = course.settled, None
            if settled:
                settled.set()

    async def _first(self, step: Step, course: _Course, tell: Tell) -> None:
        """Keep what was there before the task's first effect; after a restart it is there."""
        try:
            known = await self._checkpoints.list(step.task)
        except TaleError as error:
            await self._missed(step, error, tell)
            return
        if known:
            course.number = known[-1].number
            course.empty = not known[-1].files
            course.changed = None  # what was done since, before the restart, isn't known
            await tell(*checkpoint_event(known[-1]))  # unless it was
        else:
            await self._save(step, course, "before its first effect", tell)

    async def _take(self, step: Step, why: str, tell: Tell) -> None:
        course = self._course(step.task)
        async with course.lock:
            await self._save(step, course, why, tell)

    async def _save(self, step: Step, course: _Course, why: str, tell: Tell) -> None:
        course.changed, before = 0, course.changed
        began = self._clock()
        try:
            taken = await self._checkpoints.take(step.task, Path(step.workspace), why)
        except TaleError as error:
            course.changed = before
            course.at = self._clock()  # not again at each effect
            if course.empty and isinstance(error, WorkspaceUnusable):
                return  # the folder is made by the first file
            await self._missed(step, error, tell)
            return
        course.at = self._clock()
        course.cost = course.at - began
        if taken.number == course.number:
            return
        course.number = taken.number
        course.empty = not taken.files
        log.info("checkpoint.taken", task=step.task, number=taken.number, seconds=course.cost)
        await tell(*checkpoint_event(taken))

    async def _missed(self, step: Step, error: TaleError, tell: Tell) -> None:
        log.warning("checkpoint.missed", task=step.task, code=error.code, reason=error.message)
        text = f"No checkpoint could be taken: {error.message} The task goes on."
        await tell("note", {"text": text}, f"{step.task}:no-checkpoint")

    def _situation(self, course: _Course, moment: Moment) -> Situation:
        since = self._clock() - course.at if course.number else math.inf
        return Situation(moment, course.changed, since, cost=course.cost)

    def _course(self, task: str) -> _Course:
        if task not in self._courses:
            self._courses[task] = _Course(self._clock())
        return self._courses[task]


class _KeptHands:
    def __init__(self, keeper: Checkpointing, step: Step, hands: Hands, tell: Tell) -> None:
        self._keeper = keeper
        self._step = step
        self._hands = hands
        self._tell = tell

    async def ask(self, question: Question) -> Reply:
        return await self._hands.ask(question)

    async def act(self, action: Action) -> Outcome:
        if isinstance(action, (AskUser, ApprovePlan, ListFiles, ReadFile)):
            return await self._hands.act(action)
        course = await self._keeper.before(self._step, self._tell)
        try:
            outcome = await self._hands.act(action)
        except BaseException:
            course.cut_off()
            raise
        self._keeper.after(self._step, course, action, outcome, self._tell)
        return outcome

    async def note(self, text: str) -> None:
        await self._hands.note(text)


def _changed(action: Action, outcome: Outcome) -> int | None:
    """Count the files that an action changed; None where nobody knows."""
    if isinstance(action, (WriteFile, EditFile)):
        return len(outcome.files)
    return None


def _why(action: Action) -> str:
    match action:
        case RunCommand(line=line):
            told = f"after running {line.splitlines()[0] if line else line}"
        case RunPython():
            told = "after running Python"
        case CallTool(server=server, tool=tool):
            told = f"after {server}.{tool}"
        case AskUser() | ApprovePlan():
            told = "after a question to the user"
        case (
            ListFiles(path=path) | ReadFile(path=path) | WriteFile(path=path) | EditFile(path=path)
        ):
            told = f"after writing {path}"
    return told[:_SHOWN_CHARACTERS]
