"""Which step begins next: what waits, what runs, and the parts of plans. Pure, and reads no clock.

A task is one step or, with a plan, one for each part. Whatever happens to them is told to the
`Schedule`, which says what begins and what is to be cut off; the same events give the same answers.
Each model has its own lane, so that a short answer does not wait behind long work. Above:
`tasks.engine`, which does what is said here. Below: `tasks.parts`, `tasks.resources`.

The order is that of the tasks, by priority and then by age, and within a task that of the critical
path. So what is more urgent overtakes wherever a step ends. Nothing waits for ever: a task gains a
priority with every few steps of others that take what it waits for, and loses them once a step of
its own begins. So after `PATIENCE` * (d + 1) such steps, where priorities differ by d at most,
nothing that comes later goes before it any more, and of what waits by then each task once. Then it
begins as soon as what runs leaves it room: the files of a task that has gained anything are kept
free for it, as those of the first job in a queue are with backfilling (Lifka,
"The ANL/IBM SP scheduling system", 1995). The count is not recorded; it begins anew after a crash.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tale.tasks.critical_path import Seconds, by_size
from tale.tasks.parts import Parts, followed
from tale.tasks.resources import Claim, Files, Room, compete
from tale.tasks.task import Role, Subtask

__all__ = ["PATIENCE", "Queued", "Schedule", "Waiting", "pick"]

PATIENCE: Final = 4
"""Steps of others that are worth one priority to a task that waits: beside a stream of tasks that
are more urgent by one, a fifth to a ninth of the steps are its own."""
_LOOKED_AT: Final = 500
"""Steps that are looked at in one decision, shared out among the tasks that wait: each costs up to
20 microseconds. Where none of them can begin, the rest waits until one that runs has ended."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A step that waits or runs: a whole task, or a part of one."""

    task: str
    role: Role
    subtask: str = ""

    @property
    def id(self) -> str:
        """The step's, and its workflow's."""
        return f"{self.task}.{self.subtask}" if self.subtask else self.task


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step that may begin where there is room.

    Attributes:
        claim: What it takes.
        overdue: Whether its files are kept free for it.
    """

    step: Queued
    claim: Claim
    overdue: bool = False


def pick(waiting: Iterable[Waiting], running: Collection[Claim], room: Room) -> Waiting | None:
    """Choose the step to begin next; None where nothing can begin now.

    Args:
        waiting: In the order in which they should begin; looked at only as far as needed.
        running: What those take that run.
        room: What there is in all.
    """
    kept: list[Claim] = []
    for one in waiting:
        if room.fits(one.claim, running, kept):
            return one
        if one.overdue:
            kept.append(one.claim)
    return None


@dataclass(slots=True)
class _Task:
    """A task that is not at rest.

    Attributes:
        folder: What its files are relative to.
        passed: Steps of others that took what it waited for, since one of its own began.
    """

    id: str
    rank: int
    role: Role
    folder: str
    parts: Parts
    passed: int = 0
    claims: dict[str, Claim] = field(default_factory=dict[str, Claim])

    @property
    def order(self) -> tuple[int, str]:
        """Its place among the tasks; ids sort by age."""
        return self.rank - self.passed // PATIENCE, self.id


class Schedule:
    """The steps that wait and run."""

    def __init__(
        self,
        lanes: Mapping[Role, int],
        *,
        seconds: Seconds = by_size,
    ) -> None:
        """Begin with nothing.

        Args:
            lanes: How many steps each model has at a time.
            seconds: What a part is expected to take.
        """
        self._room = Room(lanes)
        self._seconds = seconds
        self._tasks: dict[str, _Task] = {}
        self._running: dict[str, tuple[Queued, Claim]] = {}
        self._leaving: set[str] = set()
        self._held: set[str] = set()

    # -- tasks -------------------------------------------------------------------------------------

    def add(
        self,
        task: str,
        rank: int,
        role: Role,
        plan: Iterable[Subtask] = (),
        *,
        folder: str = "",
    ) -> None:
        """Queue a task.

        Args:
            task: Its id; ids sort by age.
            rank: Lower is sooner.
            role: The model that does it.
            plan: Its parts; those that are done stay so.
            folder: Where its files are; by default one of its own.
        """
        parts = Parts(plan or [_whole()], self._going_on(task), self._seconds)
        self._tasks[task] = _Task(task, rank, role, folder or task, parts)

    def drop(self, task: str, *, but: str = "") -> list[str]:
        """Forget a task's steps; gives those that run, and are to be cut off, except one."""
        self._tasks.pop(task, None)
        cut_off = [step for step in self.running(task) if step != but]
        self._leaving.update(cut_off)
        return cut_off

    def hold(self, task: str) -> None:
        """Let nothing of a task begin."""
        self._held.add(task)

    def release(self, task: str) -> None:
        """Let it begin again."""
        self._held.discard(task)

    def running(self, task: str) -> list[str]:
        """Give a task's steps of which something still goes on."""
        return [step for step, (one, _) in self._running.items() if one.task == task]

    # -- steps -------------------------------------------------------------------------------------

    def next(self) -> Queued | None:
        """Begin the next step, if one can begin; it counts as running until it is told to `end`.

        One that was stopped and let go on at once may still be on its way out, and has to wait.
        """
        running = [claim for _, claim in self._running.values()]
        free = self._room.free(running)
        found = pick(self._waiting(free), running, self._room)
        if found is None:
            return None
        self._running[found.step.id] = found.step, found.claim
        self._pass(found)
        one = self._tasks[found.step.task]
        one.parts.begin(found.step.subtask)
        one.passed = 0
        return found.step

    def end(self, step: str) -> None:
        """Hear that nothing of a step goes on any more.

        Nothing more is done of one whose outcome was not told, until its task is added again.
        """
        queued, _ = self._running.pop(step)
        self._leaving.discard(step)
        self._forget_if_over(queued.task, whole=not queued.subtask)

    # -- parts -------------------------------------------------------------------------------------

    def part_done(self, step: Queued, answer: str, files: tuple[str, ...]) -> None:
        """Hear what came of a part; what needed it is queued."""
        if one := self._tasks.get(step.task):
            one.parts.done(step.subtask, answer, files)

    def part_failed(self, step: Queued) -> tuple[str, ...]:
        """Hear that a part can't be done; the rest goes on.

        Returns:
            The parts that can't begin any more, unless the plan is replaced.
        """
        if one := self._tasks.get(step.task):
            one.parts.fail(step.subtask)
        return self.out_of_reach(step.task)

    def replace_plan(self, task: str, plan: Iterable[Subtask]) -> None:
        """Follow another plan: parts that are done or run stay, the rest is that of the new one.

        A task is known until the last step of it has ended, also where all its parts are done.
        """
        if one := self._tasks.get(task):
            going_on = self._going_on(task)
            one.parts = Parts(followed(one.parts.all, plan, going_on), going_on, self._seconds)
            one.claims.clear()
            self._forget_if_over(task)

    def out_of_reach(self, task: str) -> tuple[str, ...]:
        """Name the parts that can't begin as the plan is, for what they need has failed."""
        one = self._tasks.get(task)
        return one.parts.out_of_reach if one else ()

    def plan(self, task: str) -> Mapping[str, Subtask]:
        """Give the parts of a task that is not at rest; empty where it has none."""
        one = self._tasks.get(task)
        return one.parts.all if one and "" not in one.parts.all else {}

    # -- which is next -----------------------------------------------------------------------------

    def _waiting(self, free: Collection[Role]) -> Iterator[Waiting]:
        """Give the steps that may begin, in order; of tasks in full lanes what is kept for them."""
        tasks = [
            one for one in self._tasks.values() if one.parts.waits and one.id not in self._held
        ]
        if not any(one.role in free for one in tasks):
            return
        share = max(1, _LOOKED_AT // len(tasks))
        for one in sorted(tasks, key=lambda task: task.order):
            overdue = one.passed >= PATIENCE
            if one.role in free or overdue:
                for number, part in enumerate(one.parts.first(share if one.role in free else 1)):
                    step = Queued(one.id, one.role, part)
                    if step.id not in self._running:
                        # Its first part is enough: once it begins, the next one is the first.
                        yield Waiting(step, self._claim(one, part), overdue and number == 0)

    def _pass(self, begun: Waiting) -> None:
        """Count for the other tasks that wait what has begun before their first part."""
        for one in self._tasks.values():
            if one.id != begun.step.task and one.parts.waits and one.id not in self._held:
                same_lane = one.role == begun.step.role
                one.passed += same_lane or compete(
                    self._claim(one, one.parts.first(1)[0]), begun.claim
                )

    def _forget_if_over(self, task: str, *, whole: bool = False) -> None:
        one = self._tasks.get(task)
        if one and not one.parts.waits and not self.running(task) and (whole or one.parts.over):
            del self._tasks[task]

    def _claim(self, task: _Task, part: str) -> Claim:
        if part not in task.claims:
            one = task.parts.all[part]
            files = Files.of(task.folder, reads=one.reads, writes=one.writes)
            task.claims[part] = Claim(task.role, files)
        return task.claims[part]

    def _going_on(self, task: str) -> set[str]:
        """Name a task's parts that run, were not cut off, and whose outcome is not known yet."""
        run = {
            one.subtask
            for step, (one, _) in self._running.items()
            if one.task == task and step not in self._leaving
        }
        if known := self._tasks.get(task):
            run &= {one.id for one in known.parts.all.values() if one.state == "running"}
        return run


def _whole() -> Subtask:
    """Give what a task without a plan is: its only part, which has no name."""
    return Subtask("", "", "")
