"""Which step must wait for which, where only words tell: steps in, edges of a DAG out. Pure.

A linear judge gives each two steps the chance that the one must be done right before the other. The
edges that are taken are those with the best expected F1 together: from the likeliest on, without
circles, without those that follow from others. What a model proposes counts as evidence beside the
words. What ships doesn't use it: real plans name the files that their parts read and write, by
which `tale.tasks.dependencies` decides. Below: `step_cues` (what steps show), `edges.weights` (what
it tells, by `training.edges`).
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from math import exp, log, prod
from pathlib import Path
from typing import Final

from tale.errors import ModelFileDamaged
from training.step_cues import CUE_BUCKETS, CUES, WAYS, look, way

__all__ = [
    "MAX_STEPS",
    "PROPOSED_WEIGHTS",
    "WEIGHTS_FILE",
    "Edge",
    "Judge",
    "chances",
    "choose",
    "find_edges",
    "pack",
    "reduced",
    "unpack",
    "weighed",
]

Edge = tuple[int, int]
"""The number of a step, and of one that waits for it."""

Judge = tuple[float, Sequence[float]]
"""A constant, and the weight of each bucket of cues."""

MAX_STEPS: Final = 40
"""Steps that are judged: each two of them are, which takes 50 ms. What stands after these waits for
the one before it."""

PROPOSED_WEIGHTS: Final = (1.0, -0.3)
"""Log odds that an edge gains where a model proposes it, and where it proposes others. Simulated
proposals that are as good as words alone gained most by these, and worse ones lost little. To be
measured by `python -m benchmarks edges`, which tells what would have been best."""

WEIGHTS_FILE: Final = Path(__file__).with_name("edges.weights")

# Less likely edges have never been part of a best answer, and are most of all.
_LEAST: Final = 0.05
_HIGHEST: Final = 127
_TROUBLE: Final = (
    "The weights by which the order of steps is judged {}. Install tale again, or, if you work on "
    "it, run python -m training.edges."
)


def find_edges(
    goal: str, steps: Sequence[str], proposed: Collection[Edge] | None = None
) -> frozenset[Edge]:
    """Say which steps must wait for which. Total and deterministic.

    Args:
        goal: What the steps are for.
        steps: What is done in each, in the order in which they were thought of, which tells much.
        proposed: Edges that a model named; None where none was asked.

    Returns:
        The edges of a DAG without those that follow from others.
    """
    judged = steps[:MAX_STEPS]
    found = choose(len(judged), weighed(chances(goal, judged), proposed))
    return found | {(at - 1, at) for at in range(len(judged), len(steps))}


def chances(goal: str, steps: Sequence[str], judge: Judge | None = None) -> dict[Edge, float]:
    """Give the chance that the second step waits for the first and no step between, for each two.

    It takes time as the square of their number.

    Args:
        goal: What the steps are for.
        steps: What is done in each.
        judge: Other weights than those that ship.
    """
    constant, weights = judge or _shipped()
    seen = look(goal, steps)
    weigh = weights.__getitem__
    firsts = [{of: sum(map(weigh, said[of])) for of in WAYS} for said in seen.first]
    seconds = [{of: sum(map(weigh, said[of])) for of in WAYS} for said in seen.second]
    found: dict[Edge, float] = {}
    for (first, second), both in seen.both.items():
        of = way(first, second)
        told = sum(map(weigh, both)) + firsts[first][of] + seconds[second][of]
        found[first, second] = _chance(constant + told)
    return found


def weighed(
    chance: Mapping[Edge, float],
    proposed: Collection[Edge] | None,
    weights: tuple[float, float] = PROPOSED_WEIGHTS,
) -> Mapping[Edge, float]:
    """Give the chances as what a model proposes changes them.

    Args:
        chance: What words alone say.
        proposed: What a model says; None where none was asked.
        weights: As `PROPOSED_WEIGHTS`.
    """
    if proposed is None:
        return chance
    named = frozenset(proposed)
    for_it, against = weights
    return {
        edge: _chance(log(odds / (1 - odds)) + (for_it if edge in named else against))
        for edge, odds in chance.items()
    }


def choose(many: int, chance: Mapping[Edge, float]) -> frozenset[Edge]:
    """Choose edges that make a DAG, with the highest F1 that is to be expected of the chances.

    Of k edges, 2 · (the sum of their chances) ÷ (k + the sum of all chances) is expected, and of
    none at all the chance that there is none. Greedy, from the likeliest on: what would close a
    circle, follows from what is chosen, or would make a choice before it follow, is passed over.

    Args:
        many: How many steps there are.
        chance: Above 0 and below 1.
    """
    every = sum(chance.values())
    best, count = prod(1 - each for each in chance.values()), 0
    chosen: list[Edge] = []
    # As bits: what is reached from each step, itself included.
    reached = [1 << at for at in range(many)]
    right = 0.0
    for edge in sorted(chance, key=lambda edge: (-chance[edge], edge)):
        if chance[edge] < _LEAST:
            break
        first, second = edge
        if reached[second] >> first & 1 or reached[first] >> second & 1:
            continue
        if any(reached[a] >> first & 1 and reached[second] >> b & 1 for a, b in chosen):
            continue
        for at in range(many):
            if reached[at] >> first & 1:
                reached[at] |= reached[second]
        chosen.append(edge)
        right += chance[edge]
        expected = 2 * right / (len(chosen) + every)
        if expected > best:
            best, count = expected, len(chosen)
    return frozenset(chosen[:count])


def reduced(edges: Collection[Edge]) -> frozenset[Edge]:
    """Give the edges of a DAG without those that follow from others; of nothing else."""
    after: dict[int, set[int]] = {}
    for first, second in edges:
        after.setdefault(first, set()).add(second)

    @cache
    def reached(step: int) -> frozenset[int]:
        direct = after.get(step, set())
        return frozenset(direct).union(*map(reached, direct))

    return frozenset(
        (first, second)
        for first, second in edges
        if not any(second in reached(other) for other in after[first])
    )


def _chance(log_odds: float) -> float:
    # Past this it is 0 or 1 in any case, and neither has odds.
    return 1 / (1 + exp(-max(-30.0, min(30.0, log_odds))))


def pack(constant: float, weights: Sequence[float]) -> bytes:
    """Write weights down, one signed byte for each bucket."""
    step = max(map(abs, weights)) / _HIGHEST or 1.0
    about = {"cues": CUES, "step": step, "constant": constant}
    head = json.dumps(about).encode()
    body = array("b", [round(weight / step) for weight in weights])
    return struct.pack("<I", len(head)) + head + body.tobytes()


def unpack(content: bytes) -> Judge:
    """Read weights: the constant, and that of each bucket.

    Raises:
        ModelFileDamaged: They aren't weights, or were trained for other cues than these.
    """
    try:
        (length,) = struct.unpack_from("<I", content)
        about = json.loads(content[4 : 4 + length])
        version, step, constant = about["cues"], float(about["step"]), float(about["constant"])
    except (struct.error, ValueError, KeyError, TypeError) as damage:
        raise ModelFileDamaged(_TROUBLE.format("can't be read")) from damage
    if version != CUES:
        what = f"were trained for cues {version}, and these are {CUES}"
        raise ModelFileDamaged(_TROUBLE.format(what))
    body = content[4 + length :]
    if len(body) != CUE_BUCKETS:
        raise ModelFileDamaged(_TROUBLE.format("are cut off"))
    return constant, tuple(step * weight for weight in array("b", body))


@cache
def _shipped() -> Judge:
    """Give the weights that ship with the package; read at the first call."""
    return unpack(WEIGHTS_FILE.read_bytes())
