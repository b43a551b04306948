"""Figures that a process shows of itself beside those of the wire: values only, no library.

Whoever counts something gives `Figure`s, through `WireMetrics.show`, when they are asked for; how
they are written down is for `servers.exposition`. The names end up in dashboards and alerts: a
figure that is renamed breaks somebody's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Figure", "FigureKind", "Figures", "Histogram", "Sample", "Tally"]

FigureKind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a figure.

    Attributes:
        labels: The values of the figure's labels, in their order.
        value: The count, the level, or the sum of a histogram.
        buckets: For a histogram, how many were at most each bound, and all of them under infinity.
    """

    labels: tuple[str, ...]
    value: float
    buckets: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """What is shown under one name.

    Attributes:
        name: With its unit at the end; a counter's without `_total`, which the format adds.
        kind: Only grows, goes up and down, or is spread over buckets.
        help: One line.
        labels: Their names.
        samples: The values.
    """

    name: str
    kind: FigureKind
    help: str
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]


Figures = Callable[[], Awaitable[Iterable[Figure]]]
"""Gives figures as they are now."""


class Tally:
    """A counter with labels."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._counts: Counter[tuple[str, ...]] = Counter()

    def add(self, *labels: str, count: int = 1) -> None:
        """Count something under these values of the labels."""
        self._counts[labels] += count

    def figure(self) -> Figure:
        """Give what was counted."""
        samples = tuple(Sample(key, count) for key, count in sorted(self._counts.items()))
        return Figure(self._name, "counter", self._text, self._labels, samples)


class Histogram:
    """A histogram with labels."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], *labels: str) -> None:
        """Count values into the buckets that end at `bounds`, and one beyond."""
        self._name, self._text, self._labels = name, text, labels
        self._bounds = tuple(bounds)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, value: float, *labels: str) -> None:
        """Count a value under these values of the labels."""
        counts = self._counts.setdefault(labels, [0] * (len(self._bounds) + 1))
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + value

    def figure(self) -> Figure:
        """Give what was counted."""
        samples = tuple(
            Sample(key, self._sums[key], tuple(self._buckets(counts)))
            for key, counts in sorted(self._counts.items())
        )
        return Figure(self._name, "histogram", self._text, self._labels, samples)

    def _buckets(self, counts: Sequence[int]) -> Iterator[tuple[float, int]]:
        so_far = 0
        for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
            so_far += count
            yield bound, so_far
