"""Logistic regression over few features of many, by Newton's method with conjugate gradients.

Small enough to need nothing but numpy, and exact: the same rows always give the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

__all__ = ["Array", "Rows", "fit_logistic", "sigmoid"]


@dataclass(frozen=True, slots=True)
class Rows:
    """A sparse matrix, by rows.

    Attributes:
        starts: Where each row begins in the other two, and the end.
        columns: Which columns aren't zero.
        values: What they hold.
        width: How many columns there are.
    """

    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: Array
    width: int

    @classmethod
    def of(cls, rows: Sequence[dict[int, float]], width: int) -> Rows:
        """Make one of rows given as column: value; a last column of ones is added."""
        starts = np.cumsum([0, *(len(row) + 1 for row in rows)]).astype(np.int64)
        columns = np.fromiter((c for row in rows for c in (*row, width)), np.int64)
        values = np.fromiter((v for row in rows for v in (*row.values(), 1.0)), np.float64)
        return cls(starts, columns, values, width + 1)

    def take(self, chosen: NDArray[np.int64]) -> Rows:
        """Give some of the rows."""
        lengths = np.diff(self.starts)[chosen]
        starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        shifts = np.repeat(self.starts[chosen] - starts[:-1], lengths)
        at = shifts + np.arange(len(shifts), dtype=np.int64)
        return Rows(starts, self.columns[at], self.values[at], self.width)

    def dot(self, weights: Array) -> Array:
        """Multiply by a vector."""
        sums: Array = np.add.reduceat(self.values * weights[self.columns], self.starts[:-1])
        return sums

    def transposed_dot(self, rows: Array) -> Array:
        """Multiply the transpose by a vector."""
        spread = np.repeat(rows, np.diff(self.starts))
        sums = np.bincount(self.columns, weights=self.values * spread, minlength=self.width)
        return sums.astype(np.float64)


def sigmoid(x: Array) -> Array:
    """Turn log odds into probabilities."""
    return 0.5 * (1 + np.tanh(x / 2))


def fit_logistic(
    rows: Rows, labels: Array, *, penalty: float, weights: Array | None = None
) -> Array:
    """Fit the weights; the last is the constant, which isn't held small.

    Args:
        rows: What is known of each example.
        labels: 0 to 1 each; a few may lie outside, which pulls the harder.
        penalty: How strongly weights are held small.
        weights: How much each example counts; all the same if not given.
    """
    counts = np.ones(len(labels)) if weights is None else weights
    held = np.full(rows.width, penalty)
    held[-1] = 1e-6
    fitted = np.zeros(rows.width)
    for _ in range(12):
        chance = sigmoid(rows.dot(fitted))
        gradient = rows.transposed_dot(counts * (chance - labels)) + held * fitted
        bend = counts * np.maximum(chance * (1 - chance), 1e-4)
        step = _solve(rows, bend, held, gradient)
        fitted -= step
        if float(np.abs(step).max()) < 1e-2:
            break
    return fitted


def _solve(rows: Rows, bend: Array, held: Array, target: Array) -> Array:
    """Solve (XᵀBX + H) x = target by conjugate gradients."""
    scale = 1 / (held + rows.transposed_dot(bend) * 0.2 + 1e-9)
    x = np.zeros_like(target)
    left = target.copy()
    conditioned = scale * left
    direction = conditioned.copy()
    size = float(left @ conditioned)
    first = size
    for _ in range(40):
        image = rows.transposed_dot(bend * rows.dot(direction)) + held * direction
        length = size / max(float(direction @ image), 1e-12)
        x += length * direction
        left -= length * image
        conditioned = scale * left
        new = float(left @ conditioned)
        if new < 1e-6 * first:
            break
        direction = conditioned + new / size * direction
        size = new
    return x
