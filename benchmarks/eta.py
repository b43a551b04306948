"""How far off the estimated end of a task is, half-way through it, after twenty like it.

Tasks are played on a simulated clock: subtasks start as lanes are free and take log-normal times
around their kind's usual one, which the estimator has to learn; each task has a factor of its own
(the machine, the user), and now and then a subtask takes several times as long. Once the plans are
such as an agent's (write, test, mend), and once they are the graphs of AsyncHow, whose durations
are those of real procedures. The error is that of the time left, in parts of what was really left.
Nobody can bring it to nothing: the error of one who knows the usual durations is printed too.
Beside it: what a bar that counts subtasks would say, elapsed * (left / done).
"""

from __future__ import annotations

import gzip
import heapq
import json
import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.report import Figure, Report, median
from tale.tasks.durations import Durations, Expected
from tale.tasks.estimate import Work, WorkState, eta

_DATA = Path(os.environ.get("TALE_BENCH_DATA", "../shared/data"))
_TASKS = 200
_LEARNED = 20
_LANES = 2
_STEP_SPREAD = 0.3
_TASK_SPREAD = 0.2
_SLOW = (0.04, 3.0)
"""How many subtasks take how many times as long: a retry, a swapping machine."""
_USUAL = {"plan": 20.0, "write": 60.0, "test": 45.0, "run": 8.0, "mend": 35.0, "review": 25.0}
"""Seconds: the order of what the embedded task model takes."""
_UNKNOWN = (math.log(5), math.log(180))
_WEEK = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class _Step:
    """A subtask as it is: what it really takes is drawn around `usual`."""

    id: str
    kind: str
    usual: float
    depends_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Played:
    """When each subtask of a task began and ended, in seconds."""

    began: dict[str, float]
    ended: dict[str, float]

    @property
    def end(self) -> float:
        return max(self.ended.values())


@dataclass(frozen=True, slots=True)
class _Guess:
    """The estimate half-way, what was true, and what a count of subtasks would have said."""

    error: float
    held: bool
    counted: float | None
    width: float


def measure(report: Report) -> None:
    random_ = random.Random(5)
    _compare(report, "agents' plans", [_agent_plan] * _TASKS, random_)
    file = _DATA / "planning" / "asynchow.jsonl.gz"
    if not file.exists():
        report.console.print(f"  skipped: {file} isn't here (TALE_BENCH_DATA)")
        return
    graphs = _graphs(file)
    chosen = random_.sample(graphs, _TASKS)
    _compare(report, "AsyncHow's plans", [lambda _, g=g: g for g in chosen], random_)
    _first(report, random_)


def _compare(
    report: Report,
    which: str,
    make: Sequence[Callable[[random.Random], list[_Step]]],
    random_: random.Random,
) -> None:
    guesses = [_like(each, random_) for each in make]
    best = median([_guess(each(random_), None, random_).error for each in make])
    error = median([guess.error for guess in guesses])
    counted = median([1.0 if g.counted is None else g.counted for g in guesses])
    held = sum(guess.held for guess in guesses) / len(guesses)
    report.add(
        Figure(
            f"ETA of {which}: median error of the time left at 50 %",
            error * 100,
            "%",
            "< 20 %",
            error < 0.20,
            "counting subtasks",
            counted * 100,
            len(guesses),
        )
    )
    report.add(
        Figure(
            f"ETA of {which}: range holds the truth",
            held * 100,
            "%",
            "≥ 80 %",
            held >= 0.80,
            runs=len(guesses),
        )
    )
    whole = median([guess.error / 2 for guess in guesses])
    width = median([guess.width for guess in guesses])
    report.console.print(
        f"    {whole:.0%} of the whole duration; the range's upper bound is {width:.1f} times its "
        f"lower one; with the usual durations known: {best:.0%} of the time left"
    )


def _first(report: Report, random_: random.Random) -> None:
    """See whether the range is honest for the first task on machines of which nothing is known."""
    guesses: list[_Guess] = []
    for _ in range(_TASKS):
        usual = {kind: math.exp(random_.uniform(*_UNKNOWN)) for kind in _USUAL}
        guesses.append(_guess(_agent_plan(random_, usual), Durations(), random_))
    share = sum(guess.held for guess in guesses) / len(guesses)
    what = "ETA of the first task ever: range holds the truth"
    report.add(Figure(what, share * 100, "%", "≥ 80 %", share >= 0.80, runs=len(guesses)))
    width = median([guess.width for guess in guesses])
    report.console.print(f"    the range's upper bound is {width:.1f} times its lower one")


def _like(make: Callable[[random.Random], list[_Step]], random_: random.Random) -> _Guess:
    """Learn from tasks alike, then guess at the next one half-way."""
    durations = Durations()
    for number in range(_LEARNED):
        plan = make(random_)
        played = _play(plan, random_)
        for step in plan:
            seconds = played.ended[step.id] - played.began[step.id]
            durations.learn(step.kind, "model", seconds, at=number * _WEEK / _LEARNED)
    return _guess(make(random_), durations, random_)


def _guess(plan: list[_Step], durations: Durations | None, random_: random.Random) -> _Guess:
    """Guess half-way; without `durations`, by somebody who knows the usual ones."""
    played = _play(plan, random_)
    now = played.end / 2
    for step in plan:
        if durations and played.ended[step.id] <= now:
            seconds = played.ended[step.id] - played.began[step.id]
            durations.learn(step.kind, "model", seconds, at=_WEEK)
    works = [_seen(step, played, now, durations) for step in plan]
    found = eta(works, lanes=_LANES)
    left = played.end - now
    done = sum(work.state == "done" for work in works)
    counted = abs(now * (len(works) - done) / done - left) / left if done else None
    return _Guess(
        abs(found.median - left) / left,
        found.low <= left <= found.high,
        counted,
        found.high / max(found.low, 1e-9),
    )


def _seen(step: _Step, played: _Played, now: float, durations: Durations | None) -> Work:
    began, ended = played.began[step.id], played.ended[step.id]
    state: WorkState = "done" if ended <= now else "running" if began <= now else "waiting"
    elapsed = ended - began if state == "done" else max(0.0, now - began)
    known = Expected(step.usual, math.hypot(_STEP_SPREAD, _TASK_SPREAD), 0.0, _LEARNED)
    expected = durations.of(step.kind, "model") if durations else known
    return Work(step.id, expected, step.depends_on, state, elapsed, step.kind)


def _play(plan: Sequence[_Step], random_: random.Random) -> _Played:
    factor = math.exp(random_.gauss(0, _TASK_SPREAD))
    share, times = _SLOW
    seconds = {
        step.id: step.usual
        * factor
        * math.exp(random_.gauss(0, _STEP_SPREAD))
        * (times if random_.random() < share else 1.0)
        for step in plan
    }
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    busy: list[tuple[float, str]] = []
    now = 0.0
    while len(ended) < len(plan):
        for step in plan:
            ready = step.id not in began and all(name in ended for name in step.depends_on)
            if ready and len(busy) < _LANES:
                began[step.id] = now
                heapq.heappush(busy, (now + seconds[step.id], step.id))
        now, done = heapq.heappop(busy)
        ended[done] = now
    return _Played(began, ended)


def _agent_plan(
    random_: random.Random, usual: Mapping[str, float] = MappingProxyType(_USUAL)
) -> list[_Step]:
    """Make a plan such as an agent's: a few modules, each written and tested, then the whole."""

    def step(name: str, kind: str, depends_on: tuple[str, ...]) -> _Step:
        return _Step(name, kind, usual[kind], depends_on)

    plan = [step("plan", "plan", ())]
    last: list[str] = []
    for number in range(random_.randint(2, 5)):
        write = f"write {number}"
        plan.append(step(write, "write", ("plan",)))
        plan.append(step(f"test {number}", "test", (write,)))
        last.append(f"test {number}")
        if random_.random() < 0.4:
            plan.append(step(f"mend {number}", "mend", (last[-1],)))
            last[-1] = f"mend {number}"
    plan.append(step("run", "run", tuple(last)))
    plan.append(step("review", "review", ("run",)))
    return plan


def _graphs(file: Path) -> list[list[_Step]]:
    """Read the plans of more than three steps; a step's kind is itself: the task comes again."""
    plans: list[list[_Step]] = []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            row: dict[str, Any] = json.loads(line)
            seconds = row["seconds"]
            if len(seconds) <= 3 or set(seconds) != set(row["steps"]):
                continue
            before = {name: [a for a, b in row["edges"] if b == name] for name in seconds}
            plans.append(
                [
                    _Step(name, name, float(seconds[name]), tuple(before[name]))
                    for name in row["steps"]
                ]
            )
    return plans
