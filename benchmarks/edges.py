"""Which steps wait for which, found by the model and the judge of words, beside the model alone.

The goal and the steps of plans are given, and the edges are asked for: 60 of `planning/asynchow`
and 60 of `planning/worfbench`, drawn by a fixed seed, of which nothing near was trained on. The
model is the embedded task model in llama.cpp alone, decoded greedily. The plain prompt asks it for
all edges in JSON; it is given the better of its edges as they are and without what follows from
others. The planner asks for each step what must be done before, and `training.edge_judge` takes
that as evidence. The sequential chain has each step after the one before.

F1 is the mean over plans; over all edges together it is printed beside. `TALE_BENCH_PLANS`, a slice
such as `:20`, takes some of the plans. `TALE_BENCH_EDGE_WEIGHTS=1` measures instead what a proposal
should weigh, on 60 other plans of each set and with a judge that was trained on neither.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from graphlib import CycleError, TopologicalSorter
from itertools import product
from typing import Any, Final, cast
from urllib.request import Request, urlopen

from training.edge_judge import (
    PROPOSED_WEIGHTS,
    Edge,
    chances,
    choose,
    find_edges,
    reduced,
    weighed,
)
from training.edges import fit, known
from training.planning import SAMPLED, SETS, Plan, edge_f1, kin, measured

from benchmarks.installation import bare_server
from benchmarks.report import Figure, Report

__all__ = ["measure"]

_CONTEXT: Final = 8192
_SLOTS: Final = 4
_ANSWER_TOKENS: Final = 512
_SILENCE_SECONDS: Final = 1800.0
_PLAIN_SYSTEM: Final = "You are a helpful assistant."
# Characters of a request that the model is given: worfbench's have descriptions of tools behind.
_REQUEST: Final = 2000
_POINTS: Final = {"asynchow": 10, "worfbench": 0}
_FOR: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
_AGAINST: Final = (0.0, -0.15, -0.3, -0.5, -1.0)
_SEED: Final = 7

Edges = frozenset[Edge]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question to the model: the text, and the schema of the answer."""

    text: str
    schema: Mapping[str, object]
    read: Callable[[Any], list[Edge]]


def measure(report: Report) -> None:
    """Find the edges of each set's sampled plans, or measure what a proposal should weigh."""
    try:
        sampled = {name: measured(name) for name in SETS}
    except FileNotFoundError as missing:
        report.console.print(f"  skipped: {missing.filename} isn't here (set TALE_BENCH_DATA)")
        return
    with bare_server("task", _CONTEXT, slots=_SLOTS) as (url, _):
        if os.environ.get("TALE_BENCH_EDGE_WEIGHTS"):
            _measure_weights(report, url)
            return
        for name, plans in sampled.items():
            _measure_set(report, url, name, plans[_part()])


def _part() -> slice:
    part = os.environ.get("TALE_BENCH_PLANS", "")
    bounds = (part if ":" in part else f":{part}").split(":")
    return slice(*(int(each) if each else None for each in bounds))


def _measure_set(report: Report, url: str, name: str, plans: Sequence[Plan]) -> None:
    begun = time.perf_counter()
    answered = _ask_all(url, [_plain(plan) for plan in plans])
    plain = [_edges(answer) for answer in answered]
    proposed = [_edges(answer) for answer in _ask_all(url, [_by_step(plan) for plan in plans])]
    report.console.print(f"  {name}: {len(plans)} plans, {time.perf_counter() - begun:.0f} s")
    both = list(zip(plans, proposed, strict=True))
    found = [find_edges(plan.goal, plan.steps, edges) for plan, edges in both]
    ways = {
        "model and words": found,
        "words alone": [find_edges(plan.goal, plan.steps) for plan in plans],
        "the planner's question alone": proposed,
        "plain prompt": plain,
        "plain prompt, reduced": list(map(_reduced_where_it_can_be, plain)),
        "chain": [plan.chain for plan in plans],
    }
    means: dict[str, float] = {}
    for way, edges in ways.items():
        means[way] = _mean(plans, edges)
        valid = sum(map(_is_dag, edges))
        report.console.print(
            f"  {name}: {way}: F1 {100 * means[way]:.1f} a plan, {100 * _pooled(plans, edges):.1f}"
            f" over all edges; {valid} of {len(plans)} are DAGs"
        )
    asked = max(means["plain prompt"], means["plain prompt, reduced"])
    for baseline, value in (("plain prompt", asked), ("sequential chain", means["chain"])):
        report.add(_compared(name, means["model and words"], baseline, value, len(plans)))
    valid = 100 * sum(map(_is_dag, found)) / len(plans)
    report.add(Figure(f"{name}: valid DAGs", valid, "%", "100 %", valid == 100, runs=len(plans)))


def _compared(name: str, ours: float, baseline: str, value: float, number: int) -> Figure:
    points = _POINTS[name]
    reach = f"≥ {points} points above the {baseline}" if points else f"above the {baseline}"
    gain = 100 * (ours - value)
    reached = gain >= points if points else gain > 0
    what = f"{name}: edge F1, beside the {baseline}"
    return Figure(what, 100 * ours, "%", reach, reached, baseline, 100 * value, number)


def _measure_weights(report: Report, url: str) -> None:
    """Say which weights of a proposal would have been best, on plans that are not measured."""
    plans = known()
    family = kin(plans)
    chosen: list[int] = []
    for name in SETS:
        having = [at for at, plan in enumerate(plans) if plan.source.startswith(name)]
        chosen += random.Random(_SEED).sample(having, SAMPLED)
    left_out = {family[at] for at in chosen}
    judge = fit([plan for plan, of in zip(plans, family, strict=True) if of not in left_out])
    tried = [plans[at] for at in chosen]
    words = [chances(plan.goal, plan.steps, judge) for plan in tried]
    proposed = [_edges(answer) for answer in _ask_all(url, [_by_step(plan) for plan in tried])]
    results: list[tuple[float, tuple[float, float], list[float]]] = []
    for weights in product(_FOR, _AGAINST):
        found = [
            choose(len(plan.steps), weighed(chance, edges, weights))
            for plan, chance, edges in zip(tried, words, proposed, strict=True)
        ]
        means = [
            _mean(tried[part], found[part]) for part in (slice(None, SAMPLED), slice(SAMPLED, None))
        ]
        results.append((sum(means) / len(means), weights, means))
    for mean, weights, means in sorted(results, reverse=True):
        mark = "  ← as it is set" if weights == PROPOSED_WEIGHTS else ""
        of_each = ", ".join(f"{name} {100 * f1:.1f}" for name, f1 in zip(SETS, means, strict=True))
        report.console.print(f"  {weights}: F1 {100 * mean:.1f} ({of_each}){mark}")


def _plain(plan: Plan) -> _Asked:
    many = len(plan.steps)
    number = {"type": "integer", "minimum": 1, "maximum": many}
    pair = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
    edges = {"type": "array", "items": pair, "maxItems": many * many}
    return _Asked(
        f"{_told(plan)}\n\nWhich steps must be done before which others? Name direct dependencies "
        'only. Answer in JSON: {"edges": [[1, 2], …]} means that step 1 must be done before step '
        "2.",
        {"type": "object", "properties": {"edges": edges}, "required": ["edges"]},
        lambda answer: [(first - 1, second - 1) for first, second in answer["edges"]],
    )


def _by_step(plan: Plan) -> _Asked:
    numbers = [str(at + 1) for at in range(len(plan.steps))]
    needs = {
        step: {
            "type": "array",
            "items": {"enum": [int(other) for other in numbers if other != step] or [0]},
            "maxItems": len(numbers) - 1,
        }
        for step in numbers
    }
    return _Asked(
        f"{_told(plan)}\n\nSteps that don't need each other can be done at the same time. For each "
        "step, name the steps whose results it needs directly, so that they must be done before. "
        'Answer in JSON: {"1": [], "2": [1], …} means that step 2 needs step 1.',
        {"type": "object", "properties": needs, "required": numbers},
        lambda answer: [(one - 1, int(step) - 1) for step, all_ in answer.items() for one in all_],
    )


def _told(plan: Plan) -> str:
    steps = "\n".join(f"{at}. {step}" for at, step in enumerate(plan.steps, 1))
    return f"Goal: {plan.goal[:_REQUEST]}\n\nSteps:\n{steps}"


def _ask_all(url: str, asked: Sequence[_Asked]) -> list[list[Edge]]:
    with ThreadPoolExecutor(_SLOTS) as pool:
        return list(pool.map(partial(_ask, url), asked))


def _ask(url: str, asked: _Asked) -> list[Edge]:
    body = {
        "messages": [
            {"role": "system", "content": _PLAIN_SYSTEM},
            {"role": "user", "content": asked.text},
        ],
        "max_tokens": _ANSWER_TOKENS,
        "temperature": 0,
        "response_format": {"type": "json_schema", "json_schema": {"schema": asked.schema}},
    }
    headers = {"Content-Type": "application/json"}
    request = Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urlopen(request, timeout=_SILENCE_SECONDS) as answer:
        given: Any = json.load(answer)
    text = cast("str", given["choices"][0]["message"]["content"])
    try:
        return asked.read(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):
        # It was cut off, which counts as if nothing had been answered.
        return []


def _edges(answer: Sequence[Edge]) -> Edges:
    return frozenset((first, second) for first, second in answer if first != second)


def _is_dag(edges: Edges) -> bool:
    before: dict[int, list[int]] = {}
    for first, second in edges:
        before.setdefault(second, []).append(first)
    try:
        TopologicalSorter(before).prepare()
    except CycleError:
        return False
    return True


def _reduced_where_it_can_be(edges: Edges) -> Edges:
    return reduced(edges) if _is_dag(edges) else edges


def _mean(plans: Sequence[Plan], found: Sequence[Edges]) -> float:
    pairs = zip(plans, found, strict=True)
    return sum(edge_f1(edges, plan.edges) for plan, edges in pairs) / len(plans)


def _pooled(plans: Sequence[Plan], found: Sequence[Edges]) -> float:
    pairs = [(edges, plan.edges) for plan, edges in zip(plans, found, strict=True)]
    right = sum(len(edges & marked) for edges, marked in pairs)
    return 2 * right / (sum(len(edges) + len(marked) for edges, marked in pairs) or 1)
