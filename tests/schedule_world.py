"""A world in which a schedule is disturbed in every way: parts fail, processes are killed, plans
change. It keeps what is recorded, and what it asserts is worked out from that alone.

For `test_scheduler.py` and for `benchmarks/scheduling.py`, which plays a thousand of them.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from random import Random
from typing import Final

from tale.tasks.scheduler import Queued, Schedule
from tale.tasks.task import Role, Size, Subtask

__all__ = ["World", "random_plan"]

_SIZES: Final[tuple[Size, ...]] = ("small", "medium", "large")
_PATHS: Final = ("a.py", "b.py", "./a.py", "docs", "docs/c.md", "docs/../b.py")
_TRIES: Final = 3
"""Kills, pauses, holds, new plans and dropped parts in one world, of each kind."""
_OVER: Final = frozenset({"done", "failed", "cancelled"})


def random_plan(random_: Random, most: int = 12) -> list[Subtask]:
    """Make a plan: any graph without a circle, in any order, with files here and there."""
    ids = [f"p{number}" for number in range(random_.randint(1, most))]
    density = random_.random() * 0.6
    plan = [
        Subtask(
            one,
            one,
            "do",
            tuple(other for other in ids[:number] if random_.random() < density),
            reads=tuple(path for path in _PATHS if random_.random() < 0.1),
            writes=tuple(path for path in _PATHS if random_.random() < 0.1),
            size=random_.choice(_SIZES),
            priority=random_.randint(0, 1),
        )
        for number, one in enumerate(ids)
    ]
    random_.shuffle(plan)
    return plan


@dataclass(slots=True)
class _Recorded:
    """A task as the database has it."""

    rank: int
    role: Role
    folder: str
    parts: dict[str, Subtask]
    paused: bool = False
    repairs: int = 0
    needless: set[str] = field(default_factory=set[str])
    """Parts that were cancelled because they are needless."""
    given_up: set[str] = field(default_factory=set[str])
    """Parts that were cancelled because what they need has failed."""

    @property
    def over(self) -> bool:
        return all(one.state in _OVER for one in self.parts.values())


@dataclass(slots=True)
class _Going:
    step: Queued
    cut_off: bool = False


class World:
    """Some tasks, the schedule that brings them to their ends, and what disturbs it."""

    def __init__(self, random_: Random) -> None:
        """Make up tasks and limits."""
        self._random = random_
        self.lanes: dict[Role, int] = {"ux": 1, "task": random_.randint(1, 4)}
        self.tasks = {
            f"t-{number}": _Recorded(
                random_.randint(-2, 2),
                "task" if random_.random() < 0.8 else "ux",
                random_.choice(["/home/u/one", "/home/u/one", "/home/u/one/docs", "/home/u/two"]),
                {one.id: one for one in random_plan(random_)},
            )
            for number in range(random_.randint(1, 4))
        }
        self.times_done: Counter[str] = Counter()
        self.kills = 0
        self.failures = 0
        self._tries: Counter[str] = Counter()
        self._held: set[str] = set()
        self._now = 0.0
        self._ends: list[tuple[float, str]] = []
        self._going: dict[str, _Going] = {}
        self._schedule = self._rebuilt()

    def play(self) -> None:
        """Bring all to its end, and see that nothing was lost."""
        while True:
            self._begin()
            if self._going:
                self._disturb()
                if self._going:
                    self._end_next()
            elif self._held:
                self._release()
            elif paused := [name for name, task in self.tasks.items() if task.paused]:
                self._resume(self._random.choice(paused))
            else:
                break
        for name, task in self.tasks.items():
            for part in task.parts.values():
                self._account_for(name, task, part)

    # -- what goes on ------------------------------------------------------------------------------

    def _begin(self) -> None:
        while step := self._schedule.next():
            assert step.id not in self._going, f"{step.id} begins while something of it goes on"
            task = self.tasks[step.task]
            part = task.parts[step.subtask]
            assert part.state == "queued", f"{step.id} begins, and is {part.state}"
            assert not task.paused, f"{step.id} begins, and its task rests"
            assert step.task not in self._held, f"{step.id} begins, and its task is held"
            assert all(task.parts[one].state in ("done", "cancelled") for one in part.depends_on)
            assert part.id not in _lost(task.parts), f"{step.id} needs what has failed"
            task.parts[part.id] = replace(part, state="running")
            self._going[step.id] = _Going(step)
            self._push(step.id, self._random.choice([0.0, 1.0, 2.0, 5.0]))
            self._check_limits()

    def _check_limits(self) -> None:
        going = [(self.tasks[one.step.task], one.step) for one in self._going.values()]
        for role, room in self.lanes.items():
            assert sum(step.role == role for _, step in going) <= room, f"lane {role} is over-full"
        for number, (task, step) in enumerate(going):
            for other_task, other in going[:number]:
                one, two = _part(task, step), _part(other_task, other)
                assert not _clash(task.folder, one, other_task.folder, two), (
                    f"{step.id} and {other.id} use the same file"
                )

    def _end_next(self) -> None:
        self._now, step = heapq.heappop(self._ends)
        going = self._going.pop(step)
        if not going.cut_off:
            self._outcome(going.step)
        self._schedule.end(step)

    def _outcome(self, step: Queued) -> None:
        task = self.tasks[step.task]
        part = task.parts[step.subtask]
        if self._random.random() < 0.12:
            self.failures += 1
            task.parts[part.id] = replace(part, state="failed")
            lost = self._schedule.part_failed(step)
            assert set(lost) == _lost(task.parts)
            if task.repairs < 2 and self._random.random() < 0.6:
                task.repairs += 1
                self._repair(step, part)
            else:
                self._give_up(step.task, lost)
        else:
            self.times_done[step.id] += 1
            task.parts[part.id] = replace(part, state="done", answer="A")
            self._schedule.part_done(step, "A", ())

    def _give_up(self, name: str, lost: Collection[str]) -> None:
        parts = self.tasks[name].parts
        self.tasks[name].given_up.update(lost)
        parts.update({one: replace(parts[one], state="cancelled") for one in lost})
        self._schedule.replace_plan(name, list(parts.values()))

    def _repair(self, step: Queued, failed: Subtask) -> None:
        """Try it again, or put another part in its place, on which depends what depended on it."""
        task = self.tasks[step.task]
        if self._random.random() < 0.3:
            task.parts[failed.id] = replace(failed, state="queued")
        else:
            new = replace(failed, id=f"{failed.id}+{task.repairs}", state="queued")
            for one in list(task.parts.values()):
                if one.state == "queued" and failed.id in one.depends_on:
                    needs = tuple(new.id if it == failed.id else it for it in one.depends_on)
                    task.parts[one.id] = replace(one, depends_on=needs)
            task.parts[new.id] = new
        self._schedule.replace_plan(step.task, list(task.parts.values()))

    # -- what disturbs it --------------------------------------------------------------------------

    def _disturb(self) -> None:
        if self._random.random() > 0.4:
            return
        kind = self._random.choice(["kill", "pause", "resume", "hold", "release", "plan", "drop"])
        self._tries[kind] += 1
        if self._tries[kind] > _TRIES:
            return
        name = self._random.choice(list(self.tasks))
        task = self.tasks[name]
        if kind == "kill":
            self._kill()
        elif kind == "pause" and not task.paused and not task.over:
            task.paused = True
            self._cut_off(self._schedule.drop(name))
        elif kind == "resume" and task.paused:
            self._resume(name)
        elif kind == "hold":
            self._schedule.hold(name)
            self._held.add(name)
        elif kind == "release":
            self._release()
        elif kind == "plan" and not task.paused and not task.over:
            self._change_plan(name)
        elif kind == "drop" and not task.paused:
            self._drop_parts(name)

    def _kill(self) -> None:
        """Forget all but what is recorded."""
        self.kills += 1
        self._ends.clear()
        self._going.clear()
        self._held.clear()
        self._schedule = self._rebuilt()

    def _rebuilt(self) -> Schedule:
        schedule = Schedule(self.lanes)
        for name, task in self.tasks.items():
            if not task.paused and not task.over:
                self._add(schedule, name)
        return schedule

    def _resume(self, name: str) -> None:
        self.tasks[name].paused = False
        if not self.tasks[name].over:
            self._add(self._schedule, name)

    def _add(self, schedule: Schedule, name: str) -> None:
        task = self.tasks[name]
        plan = list(task.parts.values())
        schedule.add(name, task.rank, task.role, plan, folder=task.folder)
        for part in plan:
            if part.state == "running":
                task.parts[part.id] = replace(part, state="queued")

    def _release(self) -> None:
        for name in self._held:
            self._schedule.release(name)
        self._held.clear()

    def _cut_off(self, steps: Collection[str]) -> None:
        """They end soon; what came of them counts no more."""
        for step in steps:
            self._going[step].cut_off = True

    def _change_plan(self, name: str) -> None:
        """Drop one of the parts that are queued, and add one between others."""
        task = self.tasks[name]
        queued = [one.id for one in task.parts.values() if one.state == "queued"]
        if queued and self._random.random() < 0.5:
            self._cancel(task, self._random.choice(queued))
        # What has failed, and what is lost by that, stays as it was decided.
        usable = [one for one in task.parts if one not in _lost(task.parts)]
        usable = [one for one in usable if task.parts[one].state != "failed"]
        needs = tuple(one for one in usable if self._random.random() < 0.3)
        new = f"n{len(task.parts)}"
        task.parts[new] = Subtask(new, new, "do", needs, writes=("a.py",))
        before = [
            one.id
            for one in task.parts.values()
            if one.state == "queued" and not _needs(task.parts, needs) & {one.id} and one.id != new
        ]
        if before:
            one = task.parts[self._random.choice(before)]
            task.parts[one.id] = replace(one, depends_on=(*one.depends_on, new))
        self._schedule.replace_plan(name, list(task.parts.values()))

    def _drop_parts(self, name: str) -> None:
        task = self.tasks[name]
        left = [one.id for one in task.parts.values() if one.state == "queued"]
        chosen = [one for one in left if self._random.random() < 0.2]
        for one in chosen:
            self._cancel(task, one)
        self._schedule.replace_plan(name, list(task.parts.values()))

    def _cancel(self, task: _Recorded, part: str) -> None:
        task.needless.add(part)
        task.parts[part] = replace(task.parts[part], state="cancelled")

    def _push(self, step: str, seconds: float) -> None:
        heapq.heappush(self._ends, (self._now + seconds, step))

    # -- what came of it ---------------------------------------------------------------------------

    def _account_for(self, name: str, task: _Recorded, part: Subtask) -> None:
        done = self.times_done[f"{name}.{part.id}"]
        assert part.state in _OVER, f"{name}.{part.id} is {part.state} and nothing goes on"
        assert done == (part.state == "done"), f"{name}.{part.id} was done {done} times"
        if part.state == "cancelled":
            assert part.id in task.needless | task.given_up


def _part(task: _Recorded, step: Queued) -> Subtask:
    return task.parts[step.subtask]


def _lost(parts: Mapping[str, Subtask]) -> set[str]:
    """Name what waits in vain: it needs, over others or not, what has failed."""
    lost: set[str] = set()
    for _ in parts:
        lost |= {
            one.id
            for one in parts.values()
            if one.state == "queued"
            and any(parts[it].state == "failed" or it in lost for it in one.depends_on)
        }
    return lost


def _needs(parts: Mapping[str, Subtask], some: Collection[str]) -> set[str]:
    """Name some parts and all that they need, over others or not."""
    found = set(some)
    for _ in parts:
        found |= {other for one in found if one in parts for other in parts[one].depends_on}
    return found


def _clash(folder: str, one: Subtask, other_folder: str, other: Subtask) -> bool:
    return any(
        a == b or a in b.parents or b in a.parents
        for these, those in [
            (_paths(folder, one.writes), _paths(other_folder, (*other.writes, *other.reads))),
            (_paths(folder, (*one.writes, *one.reads)), _paths(other_folder, other.writes)),
        ]
        for a in these
        for b in those
    )


def _paths(folder: str, names: Collection[str]) -> list[PurePosixPath]:
    """Name files in full, without what leads nowhere."""
    found: list[PurePosixPath] = []
    for name in names:
        here = PurePosixPath(folder)
        for piece in PurePosixPath(name).parts:
            here = here.parent if piece == ".." else here / piece
        found.append(here)
    return found
