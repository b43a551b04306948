"""Which parts of a plan come before which, directly or not. Pure.

A set of parts is one number with a bit for each, so that 500 parts cost a millisecond. Above:
`plan`, `recompose`. Below: `task`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tale.tasks.task import Subtask

__all__ = ["Ancestry", "circles"]


class Ancestry:
    """What comes before what in a plan.

    Parts that wait for each other, those behind them, and ids that are not there have no order.
    """

    def __init__(self, plan: Sequence[Subtask]) -> None:
        self._parts = {one.id: one for one in plan}
        self._order = tuple(_in_order(self._parts))
        self._bits = {one: 1 << number for number, one in enumerate(self._order)}
        self._before: dict[str, int] = {}
        for one in self._order:
            before = 0
            for other in self._parts[one].depends_on:
                before |= self._bits.get(other, 0) | self._before.get(other, 0)
            self._before[one] = before

    @property
    def order(self) -> tuple[str, ...]:
        """Those that can be worked on, each after all that it needs."""
        return self._order

    def comes_before(self, one: str, other: str) -> bool:
        """Tell whether a part has to be done before another begins."""
        return bool(self._before.get(other, 0) & self._bits.get(one, 0))

    def ancestors(self, one: str) -> tuple[str, ...]:
        """Name all that must be done before a part begins, in an order in which it can be done."""
        before = self._before.get(one, 0)
        return tuple(other for other in self._order if before & self._bits[other])

    def together(self, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Give for each of some parts the first of the others beside which it may run.

        Each pair is given once, and of a part only one: all of them would be too many to tell.
        """
        seen = 0
        chosen = set(ids)
        for one in self._order:
            if one in chosen:
                if beside := seen & ~self._before[one]:
                    yield self._order[(beside & -beside).bit_length() - 1], one
                seen |= self._bits[one]


def circles(plan: Sequence[Subtask]) -> list[tuple[str, ...]]:
    """Give circles of parts that wait for each other, each ending with the one it began with.

    When none of them is left, there are none at all.
    """
    parts = {one.id: one for one in plan}
    found: list[tuple[str, ...]] = []
    while left := parts.keys() - set(_in_order(parts)):
        one = next(name for name in parts if name in left)
        walked: dict[str, int] = {}
        while one not in walked:
            walked[one] = len(walked)
            # One that is left waits for another that is.
            one = next(other for other in parts[one].depends_on if other in left)
        circle = list(walked)[walked[one] :]
        found.append((one, *reversed(circle)))
        parts = {name: part for name, part in parts.items() if name not in circle}
    return found


def _in_order(parts: Mapping[str, Subtask]) -> Iterator[str]:
    """Give the ids so that each comes after what it needs; those in circles not at all."""
    missing: dict[str, int] = {}
    after: defaultdict[str, list[str]] = defaultdict(list)
    for name, part in parts.items():
        needs = {other for other in part.depends_on if other in parts}
        missing[name] = len(needs)
        for other in needs:
            after[other].append(name)
    ready = [name for name, count in missing.items() if count == 0]
    for name in ready:  # it grows meanwhile
        yield name
        for other in after[name]:
            missing[other] -= 1
            if missing[other] == 0:
                ready.append(other)
