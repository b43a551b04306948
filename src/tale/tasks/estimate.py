"""When a task will be done, and how far it is, from what is left of its plan. Pure.

The plan is played through some hundred times with durations drawn from what is expected of each
subtask, under as many lanes as there are; the answers' quantiles are the estimate and its range.
All subtasks of one task share a factor (this machine today, this user's way of asking), learned
from the subtasks that are done and from the tokens per second; one that runs longer than expected
is expected to last longer still. The draws are the same each time, so nothing flickers. Above:
`outlook`. Below: `durations`.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

from tale.tasks.durations import Expected

__all__ = ["Eta", "Progress", "Work", "WorkState", "eta", "fraction"]

WorkState = Literal["waiting", "running", "done"]

_SAMPLES: Final = 200
_LOW, _HIGH = 0.04, 0.96
"""The range's quantiles: nine in ten would hold the truth, were the model right; it is simpler."""
_TASK_SPREAD: Final = 0.2
"""Standard deviation of the logarithm of the factor that a task's subtasks share."""
_LEAST_SPREAD: Final = 0.1
_COMMON: Final = 0.2
"""What share of what is not known of a median all kinds have in common; the rest is each kind's."""
_PACE_SPREAD: Final = 0.2
"""How far a momentary rate of tokens may be from the rate of the rest, as a logarithm."""
_SURPRISE: Final = 2.0
"""Standard deviations beyond which a running subtask says that the spread was taken too small:
retries, a machine that swaps. So it never seems to be about to end only because it is late."""
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Work:
    """One subtask, as far as time is concerned.

    Attributes:
        depends_on: Subtasks that must be done before; unknown ones are taken to be.
        elapsed: Seconds that it has run, or took.
        kind: What is done: where little is known of a kind, its subtasks are all off alike.
    """

    id: str
    expected: Expected
    depends_on: tuple[str, ...] = ()
    state: WorkState = "waiting"
    elapsed: float = 0.0
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds from now to the end, and within which bounds it probably stays.

    Attributes:
        why: What the estimate rests on, in words.
    """

    median: float
    low: float
    high: float
    why: str = ""


def eta(works: Sequence[Work], *, lanes: int = 1, pace: float = 1.0) -> Eta:
    """Estimate when all will be done.

    Args:
        works: The plan, sooner ones first.
        lanes: How many run at a time.
        pace: Usual tokens per second over those now: 2 is a machine that is half as fast.
    """
    left = [work for work in works if work.state != "done"]
    if not left:
        return Eta(0.0, 0.0, 0.0, "nothing is left to do")
    shift, width = _shared(works, pace)
    # The same draws each time, and in order: what changed alone changes the estimate.
    random_ = random.Random(20)  # noqa: S311 - a simulation, no secret
    plan = _Plan(left)
    drawn = [(work, _log(work.expected.median), _own_spread(work)) for work in left]
    kinds = {work.kind: math.sqrt(1 - _COMMON) * work.expected.error for work in left}
    ends: list[tuple[float, float]] = []
    for number in range(_SAMPLES):
        factor = shift + width * _NORMAL.inv_cdf((number + 0.5) / _SAMPLES)
        off = {kind: factor + random_.gauss(0.0, error) for kind, error in kinds.items()}
        likely, seconds = 0.0, list[float]()
        for work, middle, spread in drawn:
            here = middle + off[work.kind]
            if work.state == "running":
                survived, rest = _rest(here, spread, work.elapsed, random_.random())
                likely += survived
            else:
                rest = math.exp(here + random_.gauss(0.0, spread))
            seconds.append(rest)
        ends.append((plan.makespan(seconds, max(1, lanes)), likely))
    median, low, high = _quantiles(ends, (0.5, _LOW, _HIGH))
    return Eta(median, low, high, _why(works, left, lanes))


def fraction(works: Iterable[Work]) -> float:
    """Give the share of the work that is done, 0 to 1; a subtask weighs what it was expected to."""
    done = whole = 0.0
    for work in works:
        weight = work.expected.median
        whole += weight
        if work.state == "done":
            done += weight
        elif work.state == "running":
            # Of what it will have taken, which is more the longer it lasts and the less is known.
            unsure = math.hypot(work.expected.spread, work.expected.error)
            _, rest = _rest(_log(weight), unsure, work.elapsed, 0.5)
            done += weight * work.elapsed / max(work.elapsed + rest, 1e-9)
    return done / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is, as it was last shown.

    Attributes:
        percent: 0 to 100; 100 is only shown of what is done.
        setback: Why it went back the last time it did.
    """

    percent: int = 0
    setback: str = ""

    def advance(self, share: float, *, reason: str = "", done: bool = False) -> Progress:
        """Show a new share of the work; it goes back only for a reason.

        Args:
            share: 0 to 1, as `fraction` gives it.
            reason: What happened since that may have undone work: a new plan, a crash.
            done: Nothing is left to do.
        """
        percent = 100 if done else min(99, max(0, int(share * 100)))
        if percent >= self.percent:
            return Progress(percent, self.setback)
        return Progress(percent, reason) if reason else self


def _shared(works: Sequence[Work], pace: float) -> tuple[float, float]:
    """Give mean and deviation of the logarithm of the factor that this task's subtasks share."""
    left = [work for work in works if work.state != "done"]
    unknown = sum(work.expected.error**2 for work in left) / len(left)
    precision, weighted = 1 / (_TASK_SPREAD**2 + _COMMON * unknown), 0.0
    for work in works:
        if work.state == "done" and work.elapsed > 0:
            weight = 1 / (_own_spread(work) ** 2 + (1 - _COMMON) * work.expected.error**2)
            precision += weight
            weighted += weight * (_log(work.elapsed) - _log(work.expected.median))
    if pace > 0 and pace != 1.0:
        weight = 1 / _PACE_SPREAD**2
        precision += weight
        weighted += weight * math.log(pace)
    return weighted / precision, precision**-0.5


def _log(seconds: float) -> float:
    """Give the logarithm; a step of no time at all is one of a millisecond."""
    return math.log(max(seconds, 1e-3))


def _own_spread(work: Work) -> float:
    """Give how far like subtasks of one task differ: what was learned has the task's share too."""
    return math.sqrt(max(_LEAST_SPREAD**2, work.expected.spread**2 - _TASK_SPREAD**2))


def _rest(middle: float, spread: float, elapsed: float, chance: float) -> tuple[float, float]:
    """Give what is left of a log-normal duration that has lasted `elapsed` already.

    Args:
        middle: Logarithm of its median.
        spread: Standard deviation of its logarithm.
        elapsed: Seconds so far.
        chance: Which quantile of the rest to give, 0 to 1.

    Returns:
        The logarithm of how probable it was to last that long, and seconds.
    """
    beyond = _log(elapsed) - middle if elapsed > 0 else -math.inf
    spread = max(spread, beyond / _SURPRISE)
    survived = 1 - _NORMAL.cdf(beyond / spread)
    z = -_NORMAL.inv_cdf(survived * (1 - min(max(chance, 1e-9), 1 - 1e-9)))
    return math.log(survived), max(0.0, math.exp(middle + spread * z) - elapsed)


class _Plan:
    """What is left, as a graph that can be played through quickly."""

    def __init__(self, left: Sequence[Work]) -> None:
        numbers = {work.id: number for number, work in enumerate(left)}
        self._after: list[list[int]] = [[] for _ in left]
        self._missing = [0] * len(left)
        self._running = [number for number, work in enumerate(left) if work.state == "running"]
        for number, work in enumerate(left):
            before = {numbers[name] for name in work.depends_on if name in numbers}
            # What runs has everything that it needs.
            if work.state != "running":
                self._missing[number] = len(before)
                for other in before:
                    self._after[other].append(number)

    def makespan(self, seconds: Sequence[float], lanes: int) -> float:
        """Play it through: whatever is ready starts in order as soon as a lane is free."""
        missing = list(self._missing)
        busy = [(seconds[number], number) for number in self._running]
        heapq.heapify(busy)
        ready = [
            number
            for number, count in enumerate(missing)
            if count == 0 and number not in self._running
        ]
        now, played = 0.0, 0
        while busy or ready:
            while ready and len(busy) < lanes:
                number = heapq.heappop(ready)
                heapq.heappush(busy, (now + seconds[number], number))
            now, number = heapq.heappop(busy)
            played += 1
            for after in self._after[number]:
                missing[after] -= 1
                if missing[after] == 0:
                    heapq.heappush(ready, after)
        if played < len(seconds):  # a cycle, which no valid plan has
            return sum(seconds)
        return now


def _quantiles(
    ends: Sequence[tuple[float, float]], wanted: Sequence[float]
) -> tuple[float, float, float]:
    """Give the wanted quantiles of values that come with the logarithms of their weights."""
    most = max(likely for _, likely in ends)
    weighted = sorted((value, math.exp(likely - most)) for value, likely in ends)
    whole = sum(weight for _, weight in weighted)
    found: list[float] = []
    for share in wanted:
        reached = 0.0
        for value, weight in weighted:
            reached += weight
            if reached >= share * whole:
                found.append(value)
                break
        else:
            found.append(weighted[-1][0])
    first, second, third = found
    return first, second, third


def _why(works: Sequence[Work], left: Sequence[Work], lanes: int) -> str:
    """Say what an estimate rests on."""
    parts: list[str] = []
    if len(works) > 1:
        many = f", {lanes} at a time" if lanes > 1 else ""
        parts.append(f"{len(left)} of {len(works)} subtasks are left{many}")
    seen = min(work.expected.weight for work in left)
    if seen < 1:
        parts.append("nothing like it has been done before")
    else:
        parts.append(f"learned from {seen:.0f} like steps" if seen >= 2 else "learned from one")
    return "; ".join(parts)
