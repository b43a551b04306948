"""How near to the best a schedule comes, what it survives, and what a decision costs.

The schedule that runs tasks is driven through a simulated clock. Once over the graphs of AsyncHow,
whose durations are those of real procedures and are known beforehand: beside what no order can go
below, and beside the same schedule where parts begin in order of their place. Once over random
graphs whose parts fail, whose plans change and whose process is killed (`tests.schedule_world`
says what must hold). Then the processor time of each decision, which a busy machine does not move.
"""

from __future__ import annotations

import gzip
import heapq
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from tests.schedule_world import World

from benchmarks.report import Figure, Report, spread
from tale.tasks.critical_path import Seconds, upward_ranks
from tale.tasks.plan import check_plan, ready
from tale.tasks.scheduler import PATIENCE, Queued, Schedule
from tale.tasks.task import State, Subtask

__all__ = ["measure"]

ResultT = TypeVar("ResultT")

_DATA = Path(os.environ.get("TALE_BENCH_DATA", "../shared/data"))
_WORLDS = 1_000
_PARTS = 500
_TASKS = 200
_EVENTS = 2_000
_ANEW = 40
"""Events of the baseline, each of which looks at all parts of all tasks."""
_VALIDATED = 200
_LIMIT = 20.0
_URGENT = 5
"""Priorities by which a stream of tasks is more urgent than the one that waits."""


@dataclass(frozen=True, slots=True)
class _Graph:
    """A procedure of AsyncHow; `published` is its critical path as the data has it."""

    goal: str
    plan: tuple[Subtask, ...]
    seconds: Mapping[str, float]
    published: float

    def of(self, part: Subtask) -> float:
        return self.seconds[part.id]


def measure(report: Report) -> None:
    """Play real graphs, then random ones, and time the decisions."""
    file = _DATA / "planning" / "asynchow.jsonl.gz"
    if file.exists():
        graphs = _graphs(file)
        _unlimited(report, graphs)
        for workers in (2, 4):
            _few(report, graphs, workers)
    else:
        report.console.print(f"  skipped: {file} isn't here (TALE_BENCH_DATA)")
    _worlds(report)
    _waits(report)
    _validation(report)
    _decisions(report, 0)
    _decisions(report, _TASKS)
    _held_up(report)


# -- how near to the best --------------------------------------------------------------------------


def _unlimited(report: Report, graphs: Sequence[_Graph]) -> None:
    exact = 0
    for one in graphs:
        longest = _longest(one)
        exact += _makespan(one, len(one.plan), one.of) == longest
        if longest != one.published:
            report.console.print(
                f"  {one.goal!r}: its longest path takes {longest:,.0f} s, the data says "
                f"{one.published:,.0f} s"
            )
    report.add(
        Figure(
            "AsyncHow: makespan = critical path, any number of workers",
            exact,
            "graphs",
            f"all {len(graphs)}",
            exact == len(graphs),
            runs=len(graphs),
        )
    )


def _few(report: Report, graphs: Sequence[_Graph], workers: int) -> None:
    ours: list[float] = []
    in_order: list[float] = []
    for one in graphs:
        least = _least_seconds(one.plan, one.of, workers)
        ours.append(_makespan(one, workers, one.of) / least)
        # Where nothing is known of how long parts take, it is their place that counts.
        in_order.append(_makespan(one, workers, lambda _: 0.0) / least)
    mean = statistics.fmean(ours)
    report.add(
        Figure(
            f"AsyncHow: makespan with {workers} workers above the lower bound, mean",
            (mean - 1) * 100,
            "%",
            "≤ 5 %",
            mean <= 1.05,
            "in order of place",
            (statistics.fmean(in_order) - 1) * 100,
            len(graphs),
            spread([(ratio - 1) * 100 for ratio in ours]),
        )
    )
    optimal = [sum(abs(ratio - 1) < 1e-9 for ratio in each) for each in (ours, in_order)]
    report.console.print(
        f"    exactly at the bound: {optimal[0]} of {len(graphs)}, in order of place {optimal[1]}; "
        f"the worst is {max(ours):.2f}, in order of place {max(in_order):.2f}"
    )


def _makespan(graph: _Graph, workers: int, expected: Seconds) -> float:
    """Have the real schedule bring a plan to its end, and give the time at which that is."""
    schedule = Schedule({"ux": 1, "task": workers}, seconds=expected)
    schedule.add("t-1", 0, "task", graph.plan)
    now = 0.0
    ends: list[tuple[float, str, Queued]] = []
    while True:
        while step := schedule.next():
            heapq.heappush(ends, (now + graph.seconds[step.subtask], step.subtask, step))
        if not ends:
            return now
        now, _, step = heapq.heappop(ends)
        schedule.part_done(step, "", ())
        schedule.end(step.id)


def _longest(graph: _Graph) -> float:
    """Give the critical path, found in another way than the schedule finds it."""
    before = {one.id: one.depends_on for one in graph.plan}
    known: dict[str, float] = {}

    def end(part: str) -> float:
        if part not in known:
            known[part] = graph.seconds[part] + max(map(end, before[part]), default=0.0)
        return known[part]

    return max(map(end, before))


def _graphs(file: Path) -> list[_Graph]:
    graphs: list[_Graph] = []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            row: dict[str, Any] = json.loads(line)
            plan = tuple(
                Subtask(name, text, text, tuple(a for a, b in row["edges"] if b == name))
                for name, text in row["steps"].items()
            )
            seconds = {name: float(value) for name, value in row["seconds"].items()}
            graphs.append(_Graph(row["goal"], plan, seconds, row["critical_path_seconds"]))
    return graphs


# -- what it survives ------------------------------------------------------------------------------


def _worlds(report: Report) -> None:
    """Bring random tasks to their ends, whatever happens."""
    well = plans = parts = failures = kills = 0
    for seed in range(_WORLDS):
        world = World(random.Random(seed))
        try:
            world.play()
            well += 1
        except AssertionError as error:
            report.console.print(f"  seed {seed}: {error}")
        plans += len(world.tasks)
        parts += sum(len(task.parts) for task in world.tasks.values())
        failures += world.failures
        kills += world.kills
    report.add(
        Figure(
            "random plans x failures x kills: done once or accounted for",
            well,
            "worlds",
            f"all {_WORLDS:,}",
            well == _WORLDS,
            runs=_WORLDS,
        )
    )
    report.console.print(
        f"    {plans:,} plans of {parts:,} parts; {failures:,} parts failed, {kills:,} kills"
    )


def _waits(report: Report) -> None:
    """See after how many steps a task begins beside a stream of tasks that are more urgent."""
    schedule = Schedule({"ux": 1, "task": 1})
    schedule.add("t-0000", 0, "task")
    bound = PATIENCE * (_URGENT + 1)
    begun = 0
    for number in range(10 * bound):
        schedule.add(f"t-{number + 1:04}", -_URGENT, "task")
        step = schedule.next()
        if step is None or step.task == "t-0000":
            break
        begun += 1
        schedule.end(step.id)
    report.add(
        Figure(
            f"steps before a task's own, beside a stream {_URGENT} priorities more urgent",
            begun,
            "steps",
            f"≤ {bound}",
            begun <= bound,
        )
    )


# -- what a decision costs -------------------------------------------------------------------------


@dataclass(slots=True)
class _Clock:
    """Takes the processor time of calls, in milliseconds."""

    taken: list[float] = field(default_factory=list[float])

    def time(self, call: Callable[[], ResultT]) -> ResultT:
        began = time.thread_time_ns()
        result = call()
        self.taken.append((time.thread_time_ns() - began) / 1e6)
        return result


def _validation(report: Report) -> None:
    random_, clock = random.Random(1), _Clock()
    for _ in range(_VALIDATED):
        plan = _plan(random_)
        clock.time(lambda plan=plan: check_plan(plan))
    _cost(report, f"checking a plan of {_PARTS} parts", clock)


def _decisions(report: Report, others: int) -> None:
    """Time what happens to a plan of many parts, each time with all that begins then."""
    random_, clock, anew = random.Random(2), _Clock(), _Clock()
    schedule = Schedule({"ux": 1, "task": 4})
    plans: dict[str, list[Subtask]] = {}
    running: list[Queued] = []

    def happens(tell: Callable[[], object]) -> None:
        tell()
        while step := schedule.next():
            running.append(step)

    def add(name: str, rank: int) -> None:
        plans[name] = _plan(random_)
        clock.time(lambda: happens(lambda: schedule.add(name, rank, "task", plans[name])))

    for number in range(others):
        add(f"t-{number:03}", 1)
    add("u-000", 0)
    clock.taken = clock.taken[-1:]
    while len(clock.taken) < _EVENTS:
        if not schedule.plan(max(plans)):
            add(f"u-{len(plans):03}", 0)
            continue
        step = running.pop(random_.randrange(len(running)))
        clock.time(lambda step=step: happens(lambda: _ended(schedule, step, random_)))
    looked_at = [{one.id: one for one in plan} for plan in plans.values()]
    for _ in range(_ANEW):
        anew.time(lambda: [ready(plan) for plan in looked_at])
    beside = f", beside {others} such tasks that wait" if others else ""
    what = f"an event of a schedule of {_PARTS} parts{beside}"
    _cost(report, what, clock, "finding anew what is ready", anew)


def _ended(schedule: Schedule, step: Queued, random_: random.Random) -> None:
    """Tell that a part is done; one in a hundred has failed, and another plan is made."""
    if random_.random() < 0.01:
        schedule.part_failed(step)
        plan = schedule.plan(step.task).values()
        schedule.replace_plan(step.task, [replace(one, state=_again(one.state)) for one in plan])
    else:
        schedule.part_done(step, "", ())
    schedule.end(step.id)


def _held_up(report: Report) -> None:
    """Time the events while nearly all waits for one file, so that a decision looks at the most."""
    clock = _Clock()
    schedule = Schedule({"ux": 1, "task": 4})
    plan = [Subtask(f"p{n}", "", "", reads=("a.py", f"p{n}.py")) for n in range(_PARTS)]
    for number in range(_TASKS):
        schedule.add(f"t-{number:03}", 0, "task", plan, folder="/w")
    running: list[Queued] = []

    def happens(name: str) -> None:
        if running:
            schedule.end(running.pop(0).id)
        writer = Subtask("w", "", "", writes=("a.py",))
        schedule.add(name, -1, "task", [writer], folder="/w")
        while step := schedule.next():
            running.append(step)

    for number in range(_EVENTS // 4):
        clock.time(lambda number=number: happens(f"w-{number:03}"))
    _cost(report, f"the same where all parts of {_TASKS} tasks wait for one file", clock)


def _cost(
    report: Report, what: str, clock: _Clock, baseline: str = "", beside: _Clock | None = None
) -> None:
    value = _percentile(clock)
    report.add(
        Figure(
            f"{what}: 99th percentile",
            value,
            "ms",
            f"< {_LIMIT:.0f} ms",
            value < _LIMIT,
            baseline,
            _percentile(beside) if beside else None,
            len(clock.taken),
            spread(clock.taken),
        )
    )


def _percentile(clock: _Clock) -> float:
    return statistics.quantiles(clock.taken, n=100)[98]


def _plan(random_: random.Random) -> list[Subtask]:
    """Make a plan as large as plans may be; each part writes a file that some later ones read."""
    plan: list[Subtask] = []
    for number in range(_PARTS):
        near = range(max(0, number - 40), number)
        needs = sorted(random_.sample(near, min(len(near), random_.randint(0, 3))))
        plan.append(
            Subtask(
                f"p{number}",
                f"Part {number}",
                "Write the part, and a test for it. " * 10,
                tuple(f"p{other}" for other in needs),
                reads=tuple(f"src/p{other}.py" for other in needs),
                writes=(f"src/p{number}.py", f"tests/test_p{number}.py"),
                size=random_.choice(("small", "medium", "large")),
            )
        )
    return plan


def _again(state: State) -> State:
    """Give the state of a part in the plan that is made once one has failed."""
    return "queued" if state == "failed" else state


def _least_seconds(plan: Iterable[Subtask], seconds: Seconds, workers: int) -> float:
    """Give a time below which no order of work can bring the plan to its end.

    Args:
        plan: The parts of which something is left to do.
        seconds: What each takes.
        workers: How many parts can be done at a time.
    """
    parts = list(plan)
    longest = max(upward_ranks(parts, seconds).values(), default=0.0)
    return max(longest, sum(map(seconds, parts)) / workers)
