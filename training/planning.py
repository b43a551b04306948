"""Plans whose edges are known: what the judge of edges is trained and measured on.

`SAMPLED` rows of each set, drawn by a fixed seed, are for `python -m benchmarks edges` alone:
nothing is trained on them, nor on what is nearly the same, nor chosen by them.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.assess import data_folder
from training.edge_judge import Edge
from training.validate import families

__all__ = ["SAMPLED", "SETS", "Plan", "edge_f1", "kin", "measured", "trained", "written"]

SETS: Final = ("asynchow", "worfbench")
SAMPLED: Final = 60
_SEED: Final = 6
_WRITTEN: Final = Path(__file__).with_name("plans.txt")


@dataclass(frozen=True, slots=True)
class Plan:
    """A goal, its steps, and which must wait for which.

    Attributes:
        source: Which set it is of.
        edges: Numbers of steps, from 0: the one that is waited for, and the one that waits.
    """

    source: str
    goal: str
    steps: tuple[str, ...]
    edges: frozenset[Edge]

    @property
    def chain(self) -> frozenset[Edge]:
        """Each step after the one before it."""
        return frozenset((at, at + 1) for at in range(len(self.steps) - 1))


def measured(name: str) -> list[Plan]:
    """Give the plans of a set that are only measured.

    Raises:
        FileNotFoundError: The data isn't here.
    """
    return _parted(name)[0]


def trained(name: str) -> list[Plan]:
    """Give the plans of a set that may be trained on.

    Raises:
        FileNotFoundError: The data isn't here.
    """
    sampled, others = _parted(name)
    every = [*sampled, *others]
    family = kin(every)
    taken = set(family[: len(sampled)])
    return [plan for plan, of in zip(every, family, strict=True) if of not in taken]


def written() -> list[Plan]:
    """Give the plans for software that were written for this."""
    plans: list[Plan] = []
    for block in _WRITTEN.read_text(encoding="utf-8").strip().split("\n\n"):
        goal, *lines, edges = block.splitlines()
        pairs = [pair.split(">") for pair in edges.split()[1:]]
        steps = tuple(line.partition(" ")[2] for line in lines)
        marked = frozenset((int(first) - 1, int(second) - 1) for first, second in pairs)
        plans.append(Plan("written", goal, steps, marked))
    return plans


def kin(plans: Sequence[Plan]) -> list[int]:
    """Number the family of each plan: those with nearly the same steps, or one goal, share one."""
    family = families([" ".join(plan.steps) for plan in plans])
    of_goal: dict[str, int] = {}
    for at, plan in enumerate(plans):
        known = of_goal.setdefault(" ".join(plan.goal.lower().split()).rstrip(" ."), at)
        if (mine := family[at]) != family[known]:
            family = [family[known] if one == mine else one for one in family]
    return family


def edge_f1(found: Collection[Edge], marked: Collection[Edge]) -> float:
    """Give F1 over the edges of one plan; 1 where there is none, and none was found."""
    if not found and not marked:
        return 1.0
    return 2 * len(set(found) & set(marked)) / (len(found) + len(marked))


def _parted(name: str) -> tuple[list[Plan], list[Plan]]:
    path = data_folder() / "planning" / f"{name}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        plans = [_plan(name, json.loads(line)) for line in lines]
    chosen = set(random.Random(_SEED).sample(range(len(plans)), SAMPLED))
    return (
        [plan for at, plan in enumerate(plans) if at in chosen],
        [plan for at, plan in enumerate(plans) if at not in chosen],
    )


def _plan(name: str, row: dict[str, dict[str, str]]) -> Plan:
    steps = row["steps"] if name == "asynchow" else row["nodes"]
    place = {step: at for at, step in enumerate(steps)}
    return Plan(
        name if name == "asynchow" else f"{name} {row['source']}",
        str(row["goal"] if name == "asynchow" else row["request"]),
        tuple(text.strip() for text in steps.values()),
        frozenset((place[first], place[second]) for first, second in row["edges"]),
    )
