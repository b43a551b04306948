"""How long steps take, learned by kind and model from those that were done. Pure.

Durations are about log-normal, so logarithms are averaged: one step that took an hour among many
of a minute moves the expectation little. Each figure begins at a prior, moves with the evidence as
far as there is any, and fades. Time is that of what was learned; no clock is read. Above:
`estimate`, which adds expectations up to a plan's end, and whoever has the history.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, cast, get_args

from tale.models.assess import Kind
from tale.models.budgets import prior_length
from tale.tasks.task import Size

__all__ = ["SIZE_FACTORS", "Durations", "Expected", "prior_duration"]

SIZE_FACTORS: Final[Mapping[Size, float]] = {"small": 0.5, "medium": 1.0, "large": 2.0}
"""How much longer or shorter a part of a plan is than others of its kind: estimates."""

_HALF_LIFE: Final = 21 * 86_400.0
"""Half of what was seen three weeks ago still counts, as with what `models.estimates` learns."""
_MEMORY: Final = 50.0
"""Steps remembered at most, so that a faster machine or model is seen after some dozens."""
_PRIOR_SPREAD: Final = 0.5
"""Standard deviation of the logarithm among like steps: two in three within a factor of 1.6."""
_PRIOR_ERROR: Final = 1.3
"""That of the prior median itself: nine in ten kinds and machines within a factor of eight."""
_BETWEEN_KINDS: Final = 1.0
"""What of that is the kind's: the rest is the machine's, and all kinds tell about it."""
_BETWEEN_MODELS: Final = 0.7
"""That of a model's median around its kind's: a factor of two, as from the 0.5B to the 1.5B."""
_SPREAD_STRENGTH: Final = 1.0
"""Steps that the prior spread is worth, beside the first, which says nothing of it."""
_SECONDS_PER_TOKEN: Final = 1 / 22
"""The embedded task model on two cores without a GPU."""
_OVERHEAD: Final = 5.0
"""Seconds beside the answer: the prompt, a check."""
_UNKNOWN: Final = 30.0
"""Seconds for a kind that nothing is known of."""


@dataclass(frozen=True, slots=True)
class Expected:
    """How long a step takes, before it begins: log-normal.

    Attributes:
        median: Seconds.
        spread: Standard deviation of the logarithm among such steps.
        error: Standard deviation of the logarithm of `median` itself: how little is known of it.
        weight: How many steps were seen, faded ones as parts; 0 is the prior.
    """

    median: float
    spread: float = _PRIOR_SPREAD
    error: float = _PRIOR_ERROR
    weight: float = 0.0


def prior_duration(kind: str) -> Expected:
    """Give what is expected before anything of the kind was seen: very little."""
    if kind in get_args(Kind):
        tokens = prior_length(cast("Kind", kind), "medium").median
        return Expected(_OVERHEAD + tokens * _SECONDS_PER_TOKEN)
    return Expected(_UNKNOWN)


@dataclass(slots=True)
class _Logs:
    """Sums of logarithms, faded by time."""

    at: float = -math.inf
    weight: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float, at: float) -> None:
        self._scale(_faded(self.at, at))
        if self.weight > _MEMORY - 1:
            self._scale((_MEMORY - 1) / self.weight)
        self.at = max(self.at, at)
        self.weight += 1
        self.total += value
        self.squares += value * value

    def seen(self, now: float) -> tuple[float, float]:
        """Give the mean of the logarithms, and how many of them still count."""
        return self.total / self.weight, self.weight * _faded(self.at, now)

    def _scale(self, factor: float) -> None:
        self.weight *= factor
        self.total *= factor
        self.squares *= factor

    def update(self, before: Expected, now: float) -> Expected:
        """Give the expectation after these, where `before` was expected without them."""
        weight = self.weight * _faded(self.at, now)
        if weight <= 0:
            return before
        mean = self.total / self.weight
        seen = max(0.0, self.squares / self.weight - mean * mean)
        known = max(0.0, weight - 1)
        variance = (seen * weight + before.spread**2 * _SPREAD_STRENGTH) / (
            known + _SPREAD_STRENGTH
        )
        precision = 1 / before.error**2 + weight / variance
        start = math.log(before.median)
        median = start + (mean - start) * (weight / variance) / precision
        return Expected(
            math.exp(median), math.sqrt(variance), precision**-0.5, before.weight + weight
        )


class Durations:
    """All that was learned. Learning takes constant time; looking up, that of all kinds."""

    def __init__(self) -> None:
        self._kinds: defaultdict[str, _Logs] = defaultdict(_Logs)
        self._models: defaultdict[tuple[str, str], _Logs] = defaultdict(_Logs)
        self._now = -math.inf

    def learn(self, kind: str, model: str, seconds: float, *, at: float) -> None:
        """Take in how long a step took. Figures that can't be are left out, not believed.

        Args:
            kind: What was done; any word, the same for like steps.
            model: Who did it.
            seconds: From its beginning to its end, without interruptions.
            at: Unix time in seconds of its end.
        """
        if not (0 < seconds < math.inf and math.isfinite(at)):
            return
        self._now = max(self._now, at)
        log = math.log(seconds)
        self._kinds[kind].add(log, self._now)
        self._models[kind, model].add(log, self._now)

    def of(self, kind: str, model: str) -> Expected:
        """Give what is to be expected: the model's own steps count most, then those of the kind."""
        prior = prior_duration(kind)
        ratio, error = self._machine(kind)
        expected = replace(
            prior, median=prior.median * ratio, error=math.hypot(error, _BETWEEN_KINDS)
        )
        if kind in self._kinds:
            alike = self._kinds[kind].update(expected, self._now)
            expected = replace(alike, error=math.hypot(alike.error, _BETWEEN_MODELS), weight=0.0)
        own = self._models.get((kind, model))
        return own.update(expected, self._now) if own else expected

    def _machine(self, asked: str) -> tuple[float, float]:
        """Give how much longer than at first expected the other kinds take here, and its error.

        However often one kind was seen, it may differ from the others by itself: a greeting that
        took a fifth of what was expected says little of code.

        Returns:
            The ratio, and the standard deviation of its logarithm.
        """
        precision = 1 / (_PRIOR_ERROR**2 - _BETWEEN_KINDS**2)
        total = 0.0
        for kind, logs in self._kinds.items():
            mean, weight = logs.seen(self._now)
            if kind == asked or weight <= 0:
                continue
            told = 1 / (_BETWEEN_KINDS**2 + _PRIOR_SPREAD**2 / weight)
            precision += told
            total += told * (mean - math.log(prior_duration(kind).median))
        return math.exp(total / precision), precision**-0.5


def _faded(then: float, now: float) -> float:
    """Give what is left of the weight of something seen then."""
    age = now - then
    return 0.5 ** (age / _HALF_LIFE) if 0 < age < math.inf else 1.0
