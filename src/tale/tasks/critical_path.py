"""How urgent a part of a plan is: how long what waits for it takes at least. Pure.

The upward rank of a part is its own expected seconds and the longest path of what depends on it;
whoever always begins the ready part of the greatest rank schedules a plan by its critical path
(Topcuoglu, Hariri and Wu, "Performance-effective and low-complexity task scheduling for
heterogeneous computing", 2002, section 4.1). Any order that leaves no worker idle ends within
2 - 1/workers of the best (Graham, "Bounds on multiprocessing timing anomalies", 1969); this one is
usually near it. Above: `tasks.parts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tale.tasks.task import Size, Subtask

__all__ = ["Seconds", "by_size", "upward_ranks"]

Seconds = Callable[[Subtask], float]
"""Says how long a part is expected to take, in any unit that is the same for all."""

_SIZES: Final[Mapping[Size, float]] = {"small": 1.0, "medium": 3.0, "large": 9.0}
"""What a part weighs of which only the size is known; each size is three of the one below."""


def by_size(part: Subtask) -> float:
    """Give how long a part takes beside others, from its size alone."""
    return _SIZES[part.size]


def upward_ranks(plan: Iterable[Subtask], seconds: Seconds = by_size) -> dict[str, float]:
    """Give for each part how long it and the longest path of those that wait for it take.

    Parts of a circle, which no valid plan has, and those that wait for none but them, get none.

    Args:
        plan: The parts of which something is left to do; needs that are not among them are met.
        seconds: What each takes; what can't be a duration counts as nothing.
    """
    left = {one.id: one for one in plan}
    needs = {one.id: left.keys() & set(one.depends_on) for one in left.values()}
    waiting = dict.fromkeys(left, 0)
    for others in needs.values():
        for other in others:
            waiting[other] += 1
    last = [one for one, count in waiting.items() if not count]
    after = dict.fromkeys(left, 0.0)
    ranks: dict[str, float] = {}
    while last:
        one = last.pop()
        taken = seconds(left[one])
        ranks[one] = after[one] + (taken if 0 < taken < math.inf else 0.0)
        for other in needs[one]:
            after[other] = max(after[other], ranks[one])
            waiting[other] -= 1
            if not waiting[other]:
                last.append(other)
    return ranks
