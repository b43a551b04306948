"""`python -m training.edges`: train the judge of edges that ships, and write it to the package.

`python -m training.edges --validate` says instead how well it finds edges in plans that were not
trained on: by folds, with near copies in the same fold. What is changed is chosen by that.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from zlib import crc32

import numpy as np

from training.edge_judge import WEIGHTS_FILE, Edge, Judge, choose, pack
from training.linear import Array, Rows, fit_logistic, sigmoid
from training.planning import SETS, Plan, edge_f1, kin, trained, written
from training.step_cues import CUE_BUCKETS, look

__all__ = ["fit", "known"]

_FOLDS = 5
# Of 3, 5, 10 and 20, by folds.
_PENALTY = 10.0
# The few plans for software, which no set has, so that they count beside the many others.
_WRITTEN_COUNTS = 3.0


def _rows_of(plans: Sequence[Plan]) -> tuple[Rows, Array, Array, list[slice]]:
    rows: list[dict[int, float]] = []
    labels: list[bool] = []
    counts: list[float] = []
    parts: list[slice] = []
    for plan in plans:
        seen = look(plan.goal, plan.steps)
        begin = len(rows)
        rows += [_row(seen.of(*edge)) for edge in seen.both]
        labels += [edge in plan.edges for edge in seen.both]
        counts += [_WRITTEN_COUNTS if plan.source == "written" else 1.0] * len(seen.both)
        parts.append(slice(begin, len(rows)))
    return Rows.of(rows, CUE_BUCKETS), np.array(labels, dtype=float), np.array(counts), parts


def known() -> list[Plan]:
    """Give the plans that may be trained on.

    Raises:
        FileNotFoundError: The data isn't here.
    """
    return [*(plan for name in SETS for plan in trained(name)), *written()]


def fit(plans: Sequence[Plan]) -> Judge:
    """Train a judge."""
    rows, labels, counts, _ = _rows_of(plans)
    head = fit_logistic(rows, labels, penalty=_PENALTY, weights=counts)
    return float(head[-1]), list(map(float, head[:-1]))


def _row(cues: Sequence[int]) -> dict[int, float]:
    return {at: float(times) for at, times in Counter(cues).items()}


def _validate(plans: Sequence[Plan]) -> None:
    rows, labels, counts, parts = _rows_of(plans)
    fold_of = [crc32(str(family).encode()) % _FOLDS for family in kin(plans)]
    fold = np.concatenate(
        [np.full(part.stop - part.start, held) for part, held in zip(parts, fold_of, strict=True)]
    )
    chance = np.zeros(len(labels))
    for held in range(_FOLDS):
        kept, tested = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        head = fit_logistic(rows.take(kept), labels[kept], penalty=_PENALTY, weights=counts[kept])
        chance[tested] = sigmoid(rows.take(tested).dot(head))
    found: list[frozenset[Edge]] = []
    for plan, part in zip(plans, parts, strict=True):
        edges = look(plan.goal, plan.steps).both
        found.append(choose(len(plan.steps), dict(zip(edges, chance[part].tolist(), strict=True))))
    for name in (*SETS, *sorted({plan.source for plan in plans})):
        if chosen := [at for at, plan in enumerate(plans) if plan.source.startswith(name)]:
            mine = [plans[at] for at in chosen]
            _tell(name, mine, [found[at] for at in chosen])
            _tell("  beside the chain", mine, [plan.chain for plan in mine])


def _tell(name: str, plans: Sequence[Plan], found: Sequence[frozenset[Edge]]) -> None:
    pairs = list(zip(found, [plan.edges for plan in plans], strict=True))
    right = sum(len(edges & marked) for edges, marked in pairs)
    named, there = sum(map(len, found)), sum(len(plan.edges) for plan in plans)
    mean = sum(edge_f1(edges, marked) for edges, marked in pairs) / len(pairs)
    print(
        f"{name:24} {len(plans):5} plans: F1 {mean:.3f} a plan, {2 * right / (named + there):.3f}"
        f" over all edges; precision {right / (named or 1):.3f}, recall {right / (there or 1):.3f}"
    )


def main(arguments: list[str]) -> int:
    """Train on all that may be trained on."""
    try:
        plans = known()
    except FileNotFoundError as missing:
        print(f"{missing.filename} isn't here; see training/README.md", file=sys.stderr)
        return 1
    if "--validate" in arguments:
        _validate(plans)
        return 0
    content = pack(*fit(plans))
    WEIGHTS_FILE.write_bytes(content)
    print(f"{WEIGHTS_FILE}: {len(content)} bytes, of {len(plans)} plans")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
