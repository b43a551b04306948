"""What is to be expected of a model for a kind of request, learned from what happened. Pure.

Every figure begins at a prior of the model's role and moves with the evidence, which fades by time:
a model that got better, or was replaced under its name, is seen anew. Time is that of the outcomes;
no clock is read, so the same outcomes in the same order always give the same estimates. Above:
`ledger`, which keeps what happened, and `router`, which decides by these. Below: `assess`, for
kinds and bands, `budgets`, for lengths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from tale.models.assess import BANDS, Band, Kind
from tale.models.backend import FinishReason, Role
from tale.models.budgets import prior_length

__all__ = ["Estimate", "Estimates", "Outcome", "prior"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended.

    Attributes:
        at: Unix time in seconds.
        model: The real name of the model that answered.
        kind: What was asked for.
        band: How hard it was taken to be.
        ok: Whether the answer was good, as far as anybody can tell: False where it failed its
            check, ran out of time, fell back, or the user asked again; None where nobody said.
        prompt: Tokens of the prompt.
        completion: Tokens of the answer.
        cached: Tokens of the prompt that were not computed.
        first_token: Seconds to the first token; None where none came.
        seconds: Seconds to the end.
        finish: Why it ended; None where it failed.
        estimated: Tokens that the prompt was taken to have before it was sent; 0 if unknown.
    """

    at: float
    model: str
    kind: Kind
    band: Band
    ok: bool | None
    prompt: int
    completion: int
    cached: int
    first_token: float | None
    seconds: float
    finish: FinishReason | None
    estimated: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to be expected of one model for one kind and band.

    Attributes:
        success: How probably its answer is good.
        weight: How many outcomes stand behind `success`, faded ones as parts; 0 is the prior.
        completion: Tokens of its answer, in the median.
        completion_most: Tokens that nine in ten of its answers stay under.
        first_token: Seconds to the first token of a prompt that is cached.
        per_prompt_token: Seconds for each token of the prompt that has to be computed.
        per_token: Seconds for each token of the answer.
        prompt_scale: Real tokens of a prompt for each estimated one.
    """

    success: float
    weight: float
    completion: float
    completion_most: float
    first_token: float
    per_prompt_token: float
    per_token: float
    prompt_scale: float


# Half of what was seen three weeks ago still counts.
_HALF_LIFE: Final = 21 * 86_400.0
# Outcomes that the prior is worth: ten equal ones outweigh it.
_SUCCESS_PRIOR: Final = 8.0
_SIZE_PRIOR: Final = 4.0
_SPEED_PRIOR: Final = 2.0
# What the other bands of a kind tell about this one.
_NEIGHBOUR: Final = 0.25
# A longer memory than this of speeds would not see a machine that became busy.
_SPEED_MEMORY: Final = 200.0
# An answer that was cut off would have been longer; nobody knows by how much.
_CUT_OFF: Final = 1.5
# Fewer tokens than this say more about the timer than about the model.
_LEAST_TOKENS: Final = 8
_LEAST_COMPUTED: Final = 64
_P90: Final = 1.2816  # standard deviations; lengths of answers are close to log-normal

# How probably an answer is good, by band from easy to hard: guesses, set so that the choices they
# lead to are those that a person would make before having seen either model at work.
_SUCCESS: Final[dict[Role, dict[Kind, tuple[float, float, float]]]] = {
    "ux": {
        "talk": (0.97, 0.95, 0.88),
        "question": (0.90, 0.76, 0.50),
        "summarise": (0.88, 0.80, 0.60),
        "extract": (0.88, 0.79, 0.55),
        "transform": (0.88, 0.78, 0.52),
        "write": (0.86, 0.64, 0.45),
        "code": (0.58, 0.38, 0.18),
        "plan": (0.50, 0.35, 0.20),
        "act": (0.50, 0.35, 0.20),
    },
    "task": {
        "talk": (0.98, 0.97, 0.93),
        "question": (0.95, 0.87, 0.74),
        "summarise": (0.92, 0.88, 0.80),
        "extract": (0.93, 0.88, 0.78),
        "transform": (0.92, 0.87, 0.76),
        "write": (0.92, 0.85, 0.75),
        "code": (0.88, 0.75, 0.52),
        "plan": (0.85, 0.75, 0.60),
        "act": (0.85, 0.75, 0.60),
    },
}
# Seconds: first token of a cached prompt, one prompt token, one token of the answer. The embedded
# pair on two cores without a GPU, which is the slowest there is.
_SPEED: Final[dict[Role, tuple[float, float, float]]] = {
    "ux": (0.3, 1 / 110, 1 / 40),
    "task": (0.6, 1 / 50, 1 / 22),
}


@cache
def prior(role: Role | None, kind: Kind, band: Band) -> Estimate:
    """Give what is expected of a model of that role before anything was seen of it.

    A model without a role is taken for a large one: somebody has put it there to help out.
    """
    role = role or "task"
    length = prior_length(kind, band)
    first, prompt_token, token = _SPEED[role]
    success = _SUCCESS[role][kind][BANDS.index(band)]
    return Estimate(success, 0.0, length.median, length.most, first, prompt_token, token, 1.0)


@dataclass(slots=True)
class _Mean:
    """The mean and the variance of logarithms, faded by time: middle values, not sums, count."""

    weight: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def fade(self, factor: float) -> None:
        self.weight *= factor
        self.total *= factor
        self.squares *= factor

    def faded(self, factor: float) -> _Mean:
        return _Mean(self.weight * factor, self.total * factor, self.squares * factor)

    def add(self, value: float, *, memory: float = math.inf) -> None:
        if value <= 0:  # a quotient too small to be told from nothing
            return
        if self.weight >= memory:
            self.fade(memory / (self.weight + 1))
        log = math.log(value)
        self.weight += 1
        self.total += log
        self.squares += log * log

    def towards(self, value: float, strength: float) -> float:
        """Give the mean, shrunk to a prior that is worth so many values."""
        log = math.log(value) * strength + self.total
        return math.exp(log / (self.weight + strength))


@dataclass(slots=True)
class _Cell:
    """What was seen of one model for one kind and band."""

    at: float = -math.inf
    good: float = 0.0
    bad: float = 0.0
    length: _Mean = field(default_factory=_Mean)


@dataclass(slots=True)
class _Speeds:
    """What was seen of one model, whatever it was asked."""

    first_token: _Mean = field(default_factory=_Mean)
    per_prompt_token: _Mean = field(default_factory=_Mean)
    per_token: _Mean = field(default_factory=_Mean)
    scale: _Mean = field(default_factory=_Mean)


_NOTHING_SEEN: Final = _Speeds()


class Estimates:
    """All that was learned. Learning one outcome and looking up one estimate take constant time."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, Kind, Band], _Cell] = {}
        self._speeds: dict[str, _Speeds] = {}
        self._now = -math.inf

    def learn(self, outcome: Outcome) -> None:
        """Take in how a request ended. Figures that can't be are left out, not believed."""
        at = outcome.at if math.isfinite(outcome.at) else self._now
        self._now = max(self._now, at)
        cell = self._cells.setdefault((outcome.model, outcome.kind, outcome.band), _Cell())
        faded = _faded(cell.at, self._now)
        cell.at = self._now
        cell.good *= faded
        cell.bad *= faded
        cell.length.fade(faded)
        if outcome.ok is True:
            cell.good += 1
        elif outcome.ok is False:
            cell.bad += 1
        # What failed has no length: it may have ended before it began.
        if outcome.finish in {"stop", "length"} and outcome.completion > 0:
            stretch = _CUT_OFF if outcome.finish == "length" else 1.0
            cell.length.add(outcome.completion * stretch)
        self._learn_speeds(outcome)

    def judged(self, outcome: Outcome) -> None:
        """Take in what was said later of an answer that was learned before."""
        cell = self._cells.get((outcome.model, outcome.kind, outcome.band))
        if cell is not None and outcome.ok is not None:
            cell.good += outcome.ok
            cell.bad += not outcome.ok

    def _learn_speeds(self, outcome: Outcome) -> None:
        speeds = self._speeds.setdefault(outcome.model, _Speeds())
        if outcome.estimated > 0 and outcome.prompt > 0:
            speeds.scale.add(outcome.prompt / outcome.estimated, memory=_SPEED_MEMORY)
        first, whole = outcome.first_token, outcome.seconds
        if first is None or not (0 < first <= whole < math.inf):
            return
        computed = outcome.prompt - outcome.cached
        if computed >= _LEAST_COMPUTED:
            speeds.per_prompt_token.add(first / computed, memory=_SPEED_MEMORY)
        elif outcome.prompt > 0:
            speeds.first_token.add(first, memory=_SPEED_MEMORY)
        if outcome.completion >= _LEAST_TOKENS and whole > first:
            pace = (whole - first) / (outcome.completion - 1)
            speeds.per_token.add(pace, memory=_SPEED_MEMORY)

    def of(self, model: str, role: Role | None, kind: Kind, band: Band) -> Estimate:
        """Give what is to be expected; the prior of the role where nothing was seen.

        Args:
            model: Its real name.
            role: Its core role; None for another model.
            kind: What is asked for.
            band: How hard that is.
        """
        begin = prior(role, kind, band)
        good = bad = 0.0
        length = _Mean()
        for near in BANDS:
            cell = self._cells.get((model, kind, near))
            if cell is None:
                continue
            faded = _faded(cell.at, self._now)
            share = faded * (1.0 if near == band else _NEIGHBOUR)
            good += cell.good * share
            bad += cell.bad * share
            # What hard requests need is no sign of what easy ones do: lengths stay in their band.
            if near == band:
                length = cell.length.faded(faded)
        success = (good + _SUCCESS_PRIOR * begin.success) / (good + bad + _SUCCESS_PRIOR)
        median, most = _lengths(length, begin)
        speeds = self._speeds.get(model, _NOTHING_SEEN)
        return Estimate(
            success,
            good + bad,
            median,
            most,
            speeds.first_token.towards(begin.first_token, _SPEED_PRIOR),
            speeds.per_prompt_token.towards(begin.per_prompt_token, _SPEED_PRIOR),
            speeds.per_token.towards(begin.per_token, _SPEED_PRIOR),
            speeds.scale.towards(begin.prompt_scale, _SPEED_PRIOR),
        )


def _lengths(seen: _Mean, begin: Estimate) -> tuple[float, float]:
    """Give the median and the 90th percentile of lengths, both shrunk to the prior."""
    median = seen.towards(begin.completion, _SIZE_PRIOR)
    spread = math.log(begin.completion_most / begin.completion) / _P90
    if seen.weight > 0:
        mean = seen.total / seen.weight
        variance = max(0.0, seen.squares / seen.weight - mean * mean)
        total = variance * seen.weight + spread * spread * _SIZE_PRIOR
        spread = math.sqrt(total / (seen.weight + _SIZE_PRIOR))
    return median, median * math.exp(_P90 * spread)


def _faded(then: float, now: float) -> float:
    """Give what is left of the weight of something seen then."""
    age = now - then
    return 0.5 ** (age / _HALF_LIFE) if 0 < age < math.inf else 1.0
