"""Which step begins next: what waits, what runs, and the parts of plans. Pure, and reads no clock.

A task is one step or, with a plan, one for each part. Each model has its own lane, so that a short
answer does not wait behind long work. Above: `tasks.engine`, which does what is said here. Below:
`tasks.plan`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from tale.tasks.plan import ready
from tale.tasks.task import Role, Subtask

__all__ = ["Queued", "Schedule", "pick"]


@dataclass(frozen=True, slots=True, order=True)
class Queued:
    """A step that waits; its order is the order of the queue."""

    rank: int
    task: str
    position: int
    role: Role
    subtask: str = ""

    @property
    def id(self) -> str:
        """The step's, and its workflow's."""
        return f"{self.task}.{self.subtask}" if self.subtask else self.task


def pick(
    queue: Collection[Queued], running: Collection[Role], lanes: Mapping[Role, int]
) -> Queued | None:
    """Choose the step to start next; None where nothing can start now."""
    busy = list(running)
    return min((one for one in queue if busy.count(one.role) < lanes[one.role]), default=None)


class Schedule:
    """The steps that wait and run."""

    def __init__(self, lanes: Mapping[Role, int]) -> None:
        """Begin with nothing; `lanes` says how many steps each model has at a time."""
        self._lanes = lanes
        self._queue: set[Queued] = set()
        self._running: dict[str, Queued] = {}
        self._leaving: set[str] = set()
        self._held: set[str] = set()
        self._plans: dict[str, dict[str, Subtask]] = {}

    def add(self, task: str, rank: int, role: Role, plan: Iterable[Subtask] = ()) -> None:
        """Queue a task.

        Args:
            task: Its id.
            rank: Lower is sooner.
            role: The model that does it.
            plan: Its parts; those that are done stay so.
        """
        if parts := {part.id: part for part in plan}:
            self._plans[task] = parts
            self._add_ready(task, rank, role)
        else:
            self._queue.add(Queued(rank, task, 0, role))

    def next(self) -> Queued | None:
        """Begin the next step, if one can begin; it counts as running until it is told to `end`.

        One that was stopped and let go on at once may still be on its way out, and has to wait.
        """
        startable = {
            one for one in self._queue if one.id not in self._running and one.task not in self._held
        }
        roles: list[Role] = [one.role for one in self._running.values()]
        if one := pick(startable, roles, self._lanes):
            self._queue.remove(one)
            self._running[one.id] = one
        return one

    def end(self, step: str) -> None:
        """Hear that nothing of a step goes on any more."""
        del self._running[step]
        self._leaving.discard(step)

    def part_done(self, step: Queued, answer: str, files: tuple[str, ...]) -> None:
        """Hear what came of a part; what needed it is queued."""
        plan = self._plans.get(step.task)
        if plan is None:
            return
        plan[step.subtask] = replace(plan[step.subtask], state="done", answer=answer, files=files)
        if all(one.state == "done" for one in plan.values()):
            del self._plans[step.task]
        else:
            self._add_ready(step.task, step.rank, step.role)

    def drop(self, task: str, *, but: str = "") -> list[str]:
        """Forget a task's steps; gives those that run, and are to be cut off, except one."""
        self._plans.pop(task, None)
        self._queue = {one for one in self._queue if one.task != task}
        cut_off = [step for step in self.running(task) if step != but]
        self._leaving.update(cut_off)
        return cut_off

    def running(self, task: str) -> list[str]:
        """Give a task's steps of which something still goes on."""
        return [step for step, one in self._running.items() if one.task == task]

    def hold(self, task: str) -> None:
        """Let nothing of a task begin."""
        self._held.add(task)

    def release(self, task: str) -> None:
        """Let it begin again."""
        self._held.discard(task)

    def plan(self, task: str) -> Mapping[str, Subtask]:
        """Give the parts of a task that is not at rest; empty where it has none."""
        return self._plans.get(task, {})

    def _add_ready(self, task: str, rank: int, role: Role) -> None:
        """Queue the parts that may begin, and are not queued or running."""
        plan = self._plans[task]
        taken = {one.subtask for one in self._queue if one.task == task}
        staying = set(self.running(task)) - self._leaving
        taken |= {self._running[step].subtask for step in staying}
        order = list(plan)
        for part in ready(plan, taken):
            self._queue.add(Queued(rank, task, order.index(part.id), role, part.id))
