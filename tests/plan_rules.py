"""Rules of plans that are enough for what the planner decides: twins of the real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from itertools import combinations

from tale.tasks.plan_answers import ancestors
from tale.tasks.planner import Rules
from tale.tasks.task import Subtask

__all__ = ["RULES", "faults", "settle"]


def faults(plan: Sequence[Subtask]) -> tuple[str, ...]:
    """Find ids that are twice there or unknown, circles, and files that two write at a time."""
    ids = Counter(one.id for one in plan)
    found = [f"Two subtasks have the id {one!r}." for one, count in ids.items() if count > 1]
    for one in plan:
        found += [
            f"{one.id!r} depends on {other!r}, which is not there."
            for other in one.depends_on
            if other not in ids
        ]
    try:
        TopologicalSorter({one.id: one.depends_on for one in plan}).prepare()
    except CycleError:
        return (*found, "Subtasks wait for each other.")
    for one, other in combinations([part for part in plan if part.state != "done"], 2):
        ordered = one.id in ancestors(plan, other.id) or other.id in ancestors(plan, one.id)
        if not ordered and (both := set(one.writes) & set(other.writes)):
            found.append(f"{one.id!r} and {other.id!r} may write {min(both)} at the same time.")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Change:
    part: str
    other: str
    added: bool
    reason: str


@dataclass(frozen=True, slots=True)
class _Settled:
    plan: tuple[Subtask, ...]
    changes: tuple[_Change, ...]


def settle(plan: Sequence[Subtask], present: Collection[str]) -> _Settled:
    """Have each part wait for those that write what it reads."""
    writers = {path: one.id for one in plan for path in one.writes}
    parts: list[Subtask] = []
    changes: list[_Change] = []
    for one in plan:
        needs = list(one.depends_on)
        for path in one.reads:
            writer = writers.get(path, one.id)
            if writer not in {one.id, *needs} and path not in present:
                needs.append(writer)
                changes.append(_Change(one.id, writer, True, f"that writes {path}"))
        parts.append(replace(one, depends_on=tuple(needs)))
    return _Settled(tuple(parts), tuple(changes))


RULES = Rules(faults, settle)
