"""How well requests are told apart: hard from easy, talk from work, and how soon.

The difficulty is measured on what two models really got right (RouteLLM's labels): prompts are
sorted by the score, and the more of them go to the strong model, the more is answered right. APGR
is the area under that curve: 0.5 for chance. Each prompt is scored by heads that were trained
without it, with the features that ship, beside two baselines in the same folds.
"""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar, cast

import anyio
import numpy as np
from numpy.typing import NDArray
from training.assess import SETS, Prompt, fit_hard, prompts, rows_of
from training.linear import Array, Rows, fit_logistic
from training.requests import with_typo

from benchmarks.report import Figure, Report
from tale.models.assess import BANDS, KINDS, assess
from tale.models.estimates import Estimates, Outcome
from tale.models.features import matter
from tale.models.memory_backend import InMemoryBackend
from tale.models.model_pool import ModelPool
from tale.models.preferences import Preferences
from tale.models.router import RouteRequest
from tale.servers.routing import Routing

_FOLDS = 5
_LABELLED = Path(__file__).parents[1] / "tests" / "data" / "talk_or_work.jsonl"
_TYPO_SEEDS = 3
_RUNS = 3
_OUTCOMES = 2000
_WORD = re.compile(r"\w\w+")

_Item = TypeVar("_Item")
Split = tuple[NDArray[np.int64], NDArray[np.int64]]


def measure(report: Report) -> None:
    texts: list[str] = []
    for name in SETS:
        try:
            known = prompts(name)
        except FileNotFoundError as missing:
            report.console.print(f"  skipped: {missing.filename} isn't here (TALE_BENCH_DATA)")
            continue
        texts += [prompt.text for prompt in known]
        _hard_from_easy(report, f"APGR {name}", known, _folds(len(known)))
        subjects = sorted({prompt.subject for prompt in known})
        if len(subjects) > 1:
            _hard_from_easy(
                report, f"APGR {name}, unseen subjects", known, _halves(known, subjects)
            )
    if _LABELLED.exists():
        texts += _talk_from_work(report)
    else:
        report.console.print(f"  skipped: {_LABELLED} isn't here")
    if texts:
        _how_soon(report, texts)


def apgr(scores: Sequence[float] | Array, known: Sequence[Prompt]) -> float:
    """Give the area under PGR(c): the share of the strong model's gain at each share c of prompts.

    Prompts of the same score count as if in any order.
    """
    gains: dict[float, list[int]] = {}
    for score, prompt in zip(scores, known, strict=True):
        gains.setdefault(float(score), []).append(prompt.strong - prompt.weak)
    curve = [0.0]
    for score in sorted(gains, reverse=True):
        mean = sum(gains[score]) / len(gains[score])
        for _ in gains[score]:
            curve.append(curve[-1] + mean)
    area = sum((a + b) / 2 for a, b in pairwise(curve))
    return area / (len(known) * curve[-1])


def _folds(count: int) -> list[Split]:
    order = np.random.default_rng(0).permutation(count)
    tests = [np.sort(order[fold::_FOLDS]) for fold in range(_FOLDS)]
    return [(np.setdiff1d(order, test), test) for test in tests]


def _halves(known: Sequence[Prompt], subjects: list[str]) -> list[Split]:
    """Train on half of the subjects and test on the other, both ways round."""
    random.Random(0).shuffle(subjects)
    half = set(subjects[::2])
    here = np.array([prompt.subject in half for prompt in known])
    one, other = np.flatnonzero(here), np.flatnonzero(~here)
    return [(one, other), (other, one)]


def _hard_from_easy(
    report: Report, what: str, known: Sequence[Prompt], splits: Sequence[Split]
) -> None:
    ours = _scores(known, splits)
    tf_idf = _tf_idf_scores(known, splits)
    length = [float(len(prompt.text.split())) for prompt in known]
    shipped, learned, floor = (_mean_apgr(each, known, splits) for each in (ours, tf_idf, length))
    best = max(learned, floor)
    report.add(
        Figure(
            what,
            shipped,
            "",
            f"above TF-IDF ({learned:.3f}) and length ({floor:.3f})",
            shipped > best,
            "TF-IDF + logistic regression" if learned >= floor else "length in words",
            best,
            len(known),
        )
    )


def _mean_apgr(scores: Sequence[float], known: Sequence[Prompt], splits: Sequence[Split]) -> float:
    """Score all prompts at once where each was tested once by one procedure."""
    if len(splits) == _FOLDS:
        return apgr(scores, known)
    parts = [apgr(_pick(scores, test), _pick(known, test)) for _, test in splits]
    return sum(parts) / len(parts)


def _pick(items: Sequence[_Item], places: NDArray[np.int64]) -> list[_Item]:
    return [items[at] for at in cast("list[int]", places.tolist())]


def _scores(known: Sequence[Prompt], splits: Sequence[Split]) -> list[float]:
    rows = rows_of([matter(prompt.text) for prompt in known])
    scores = np.zeros(len(known))
    for train, test in splits:
        head = fit_hard(rows.take(train), _pick(known, train))
        scores[test] = rows.take(test).dot(head)
    return [float(score) for score in scores]


def _tf_idf_scores(known: Sequence[Prompt], splits: Sequence[Split]) -> list[float]:
    """Score by the usual baseline: words, weighed by how rare they are, rows of length 1."""
    words: list[list[str]] = [_WORD.findall(prompt.text.lower()) for prompt in known]
    counts = [Counter(each) for each in words]
    labels = np.array([prompt.strong and not prompt.weak for prompt in known], dtype=float)
    scores = np.zeros(len(known))
    for train, test in splits:
        seen: Counter[str] = Counter()
        for each in _pick(words, train):
            seen.update(each)
        column = {word: at for at, word in enumerate(seen)}
        idf = {word: math.log((1 + len(train)) / (1 + n)) + 1 for word, n in seen.items()}
        rows: list[dict[int, float]] = []
        for each in counts:
            row = {column[word]: n * idf[word] for word, n in each.items() if word in idf}
            length = math.sqrt(sum(value * value for value in row.values())) or 1.0
            rows.append({at: value / length for at, value in row.items()})
        table = Rows.of(rows, len(column))
        head = fit_logistic(table.take(train), labels[train], penalty=1.0)
        scores[test] = table.take(test).dot(head)
    return [float(score) for score in scores]


def _talk_from_work(report: Report) -> list[str]:
    rows = [json.loads(line) for line in _LABELLED.read_text(encoding="utf-8").splitlines()]
    texts: list[str] = [row["text"] for row in rows]
    judged = [assess(text) for text in texts]
    right = [each.work == row["work"] for each, row in zip(judged, rows, strict=True)]
    share = 100 * sum(right) / len(right)
    report.add(Figure("talk told from work", share, "%", ">= 97 %", share >= 97, runs=len(rows)))
    same = tried = 0
    for seed in range(_TYPO_SEEDS):
        draw = random.Random(seed)
        for text, first in zip(texts, judged, strict=True):
            other = with_typo(text, draw)
            if draw.random() < 0.5:
                other = with_typo(other, draw)
            if other != text:
                tried += 1
                same += assess(other).work == first.work
    share = 100 * same / tried
    report.add(Figure("unchanged by 1-2 typos", share, "%", ">= 97 %", share >= 97, runs=tried))
    return texts


def _how_soon(report: Report, texts: Sequence[str]) -> None:
    """Time the judging alone, and the whole decision as the models server makes it.

    Of each text the quickest of three: what it takes, and not what else the machine did.
    """
    _add_p99(report, "assess, p99", assess, texts)
    anyio.run(_decide_each, report, texts)


async def _decide_each(report: Report, texts: Sequence[str]) -> None:
    """Decide with the pair up, two remote endpoints that help out, and a week's experience."""
    pool = ModelPool(
        {"ux": InMemoryBackend("small"), "task": InMemoryBackend("large")},
        slots={"ux": 2},
        remotes={name: InMemoryBackend(name, context=131_072) for name in ("hosted", "spare")},
    )
    preferences = Preferences(fallback={"ux": ("task",), "task": ("ux", "hosted", "spare")})
    async with pool:
        await pool.ensure_ready("ux")
        await pool.ensure_ready("task")
        routing = Routing(pool, preferences)
        _learn_a_week(routing.estimates)
        _add_p99(
            report,
            "decision (assess and route), p99",
            lambda text: routing.decide(_asked(text)),
            texts,
        )


def _add_p99(
    report: Report, what: str, decide: Callable[[str], object], texts: Sequence[str]
) -> None:
    decide(texts[0])  # Reads the weights.
    # Pass by pass, so that no text finds its own words in the cache because it was just judged.
    passes = [[_timed(decide, text) for text in texts] for _ in range(_RUNS)]
    took = sorted(map(min, zip(*passes, strict=True)))
    p99 = took[int(len(took) * 0.99)]
    spread = (took[0], took[-1])
    report.add(Figure(what, p99, "ms", "< 1 ms", p99 < 1, runs=len(took), spread=spread))


def _timed(decide: Callable[[str], object], text: str) -> float:
    began = time.perf_counter()
    decide(text)
    return 1000 * (time.perf_counter() - began)


def _asked(text: str) -> RouteRequest:
    """Ask as a conversation does, whose next turn has a few hundred tokens before it."""
    return RouteRequest(text, model="auto", prompt_tokens=400 + len(text) // 3, checkable=True)


def _learn_a_week(estimates: Estimates) -> None:
    draw = random.Random(0)
    for at in range(_OUTCOMES):
        completion = draw.randint(5, 800)
        estimates.learn(
            Outcome(
                at=60.0 * at,
                model=draw.choice(("small", "large", "hosted")),
                kind=draw.choice(KINDS),
                band=draw.choice(BANDS),
                ok=draw.random() < 0.8,
                prompt=400,
                completion=completion,
                cached=200,
                first_token=0.4,
                seconds=0.4 + completion / 30,
                finish="stop",
                estimated=450,
            )
        )
