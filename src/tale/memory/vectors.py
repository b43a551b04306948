"""The vectors of all turns, side by side in memory, and those nearest to a question's.

Exact: every vector is looked at, which takes some milliseconds for a hundred thousand; an
approximate index would cost more to keep than it saves. They are held as the database has them, a
byte for each dimension, and numpy, which is loaded with the first of them, takes a block at a time.
Above: `retrieval`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Vectors"]

_BLOCK: Final = 512
"""Vectors at a time: as floats they stay in the processor's cache, and they are too few for the
library of linear algebra to share them out to threads, which wait for a busy model's cores (100,000
vectors: 4 ms, ten times that with 4,096 at a time)."""
_GROWTH: Final = 1.5


class Vectors:
    """Vectors by the numbers of what they belong to, which only grow."""

    def __init__(self, dimensions: int) -> None:
        # A tenth of a second and 25 MB that only a search pays.
        import numpy  # noqa: ICN001, PLC0415

        self._np = numpy
        self._rows: NDArray[np.int8] = numpy.zeros((_BLOCK, dimensions), numpy.int8)
        self._scales: NDArray[np.float32] = numpy.zeros(_BLOCK, numpy.float32)
        self._ids: NDArray[np.int64] = numpy.zeros(_BLOCK, numpy.int64)
        self._count = 0

    @property
    def last(self) -> int:
        """The greatest number that was added; 0 where there is none."""
        return int(self._ids[self._count - 1]) if self._count else 0

    def __len__(self) -> int:
        return self._count

    def add(self, vectors: Iterable[tuple[int, bytes]]) -> None:
        """Add some, in the order of their numbers; those of another length are left out."""
        width = self._rows.shape[1]
        fitting = [(at, vector) for at, vector in vectors if len(vector) == width]
        if not fitting:
            return
        end = self._count + len(fitting)
        if end > len(self._ids):
            self._grow(max(end, int(len(self._ids) * _GROWTH)))
        new = slice(self._count, end)
        packed = b"".join(vector for _, vector in fitting)
        self._rows[new] = self._np.frombuffer(packed, self._np.int8).reshape(-1, width)
        lengths = self._np.linalg.norm(self._rows[new].astype(self._np.float32), axis=1)
        self._scales[new] = 1 / self._np.maximum(lengths, 1)
        self._ids[new] = [at for at, _ in fitting]
        self._count = end

    def closeness(self, vector: bytes) -> Closeness:
        """Compare all with one."""
        np = self._np
        wanted = np.frombuffer(vector, np.int8).astype(np.float32)
        wanted /= max(float(np.linalg.norm(wanted)), 1.0)
        found: NDArray[np.float32] = np.zeros(self._count, np.float32)
        for begin in range(0, self._count, _BLOCK):
            block = slice(begin, min(begin + _BLOCK, self._count))
            found[block] = self._rows[block].astype(np.float32) @ wanted
        return Closeness(self._ids[: self._count], found * self._scales[: self._count])

    def _grow(self, size: int) -> None:
        np = self._np
        more = size - len(self._ids)
        self._rows = np.concatenate([self._rows, np.zeros((more, self._rows.shape[1]), np.int8)])
        self._scales = np.concatenate([self._scales, np.zeros(more, np.float32)])
        self._ids = np.concatenate([self._ids, np.zeros(more, np.int64)])


class Closeness:
    """The cosine of each vector with one."""

    def __init__(self, ids: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        self._ids = ids
        self._values = values

    def best(self, count: int) -> list[int]:
        """Give the numbers of the nearest, in no order."""
        if count >= len(self._ids):
            return [int(at) for at in self._ids]
        return [int(self._ids[at]) for at in self._values.argpartition(-count)[-count:]]

    def of(self, wanted: Iterable[int]) -> dict[int, float]:
        """Give some numbers' cosines; those that have no vector are left out."""
        found: dict[int, float] = {}
        for one in wanted:
            at = int(self._ids.searchsorted(one))
            if at < len(self._ids) and int(self._ids[at]) == one:
                found[one] = float(self._values[at])
        return found
