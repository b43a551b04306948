"""What waits for what, as a tree: where each part stands, and how its lines begin. Pure.

A part stands below the one that it waits for longest. One that is the only one below another stands
under it without being moved in, so that a long chain stays readable. Above: `plan_tree` and the
dashboard, which draw it. Below: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Final

__all__ = ["Branch", "branches"]

_DEEPEST: Final = 8
"""Levels that are moved in: more would leave no room for titles."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A part's place.

    Attributes:
        id: Which part.
        first: How its own line begins.
        rest: How further lines of it begin.
    """

    id: str
    first: str
    rest: str


def branches(waits: Mapping[str, Sequence[str]]) -> Iterator[Branch]:
    """Give the parts from the top to the bottom of the tree.

    Args:
        waits: Ids of the parts that each waits for, by its own; others than these don't count, and
            what waits in a circle is given all the same.
    """
    below: dict[str | None, list[str]] = {}
    for one, above in _places(waits).items():
        below.setdefault(above, []).append(one)
    # Without recursion: a chain of 200 is a legal plan.
    stack = [(one, "", "") for one in reversed(below.get(None, []))]
    while stack:
        one, first, rest = stack.pop()
        under = below.get(one, [])
        yield Branch(one, first, rest + ("│ " if under[1:] else "  "))
        stack += reversed(_moved_in(under, rest))


def _moved_in(below: Sequence[str], rest: str) -> list[tuple[str, str, str]]:
    """Say how the parts below another begin: their first line, and those after it."""
    if len(below) < 2 or len(rest) >= 2 * _DEEPEST:
        return [(one, rest, rest) for one in below]
    *others, last = below
    return [
        *((one, f"{rest}├ ", f"{rest}│ ") for one in others),
        (last, f"{rest}└ ", f"{rest}  "),
    ]


def _in_order(waits: Mapping[str, Sequence[str]]) -> list[str]:
    """Order the parts so that each comes after those it waits for, as far as there is an order."""
    sorter: TopologicalSorter[str] = TopologicalSorter({one: [] for one in waits})
    for one, others in waits.items():
        sorter.add(one, *(other for other in others if other in waits))
    try:
        return list(sorter.static_order())
    except CycleError:
        return list(waits)


def _places(waits: Mapping[str, Sequence[str]]) -> dict[str, str | None]:
    """Say below which other each part stands: the deepest of those that it waits for."""
    depth: dict[str, int] = {}
    above: dict[str, str | None] = {}
    for one in _in_order(waits):
        # In a circle some are not placed yet, and count as not there.
        known = [other for other in reversed(waits[one]) if other in depth]
        above[one] = max(known, key=depth.__getitem__, default=None)
        depth[one] = 1 + max((depth[other] for other in known), default=0)
    return above
