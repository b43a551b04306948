"""What memory finds of long conversations, beside plain BM25 in the same run, and how soon.

The conversations of `memory/locomo` in `TALE_BENCH_DATA` are recorded as turns, one database each,
and every question is asked; the turns that hold its answer are known. Recall at k is the part of
these among the first k, the mean over all questions; of conversations alike, in the order in which
their first turn is found. Plain BM25 has the same texts with the names of the speakers, k1 = 1.2,
b = 0.75, in lower case without stop words.

What each share of the score brings is printed: the recall without it, and the recall where the
weights are chosen anew on four conversations and the fifth is asked. A sixth of the questions is
asked once more where the same was asked days before in a conversation of its own, and not answered:
beside the recall without what only asking takes off.
"""

from __future__ import annotations

import itertools
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert

from benchmarks.long_talks import LongTalk, LongTurn, Order, Question, long_talks, plain_bm25
from benchmarks.report import Figure, Report
from benchmarks.small_window import FOUND, in_window, tell
from tale.config import Settings
from tale.memory.finding import Found
from tale.memory.index import take_in
from tale.memory.meaning import shipped
from tale.memory.relevance import Place, Shares
from tale.memory.retrieval import Retrieval
from tale.paths import Paths
from tale.storage.database import Database
from tale.storage.schema import sessions, turns

__all__ = ["measure"]

_FIRST: Final = (5, 10, 20)
_FIRST_SESSIONS: Final = {5: 92.0, 10: 96.0}
_POINTS: Final = 10
_READ: Final = 200
_SIZES: Final = {10_000: 20.0, 100_000: 60.0}
_QUESTIONS: Final = 200
_ASKED_AGAIN: Final = 6
_BATCH: Final = 2000
_SESSION: Final = 40
_SEED: Final = 7
_SHARES: Final = tuple(field.name for field in fields(Shares))
_FACTORS: Final = (0.0, 0.5, 1.5, 2.0)
_CHOSEN_BY: Final = "turns 10"


Recalls = dict[str, float]


def measure(report: Report) -> None:
    try:
        talks = long_talks()
    except FileNotFoundError as missing:
        report.console.print(f"  skipped: {missing.filename} isn't here (set TALE_BENCH_DATA)")
        return
    anyio.run(_measure, report, talks)


async def _measure(report: Report, talks: Sequence[LongTalk]) -> None:
    asked = [await _ask(talk) for talk in talks]
    found = [one for one, _ in asked]
    many = sum(len(talk.questions) for talk in talks)
    ours = _mean(talks, [[_order(one) for one in asked_of] for asked_of in found])
    plain = _mean(talks, [plain_bm25(talk) for talk in talks])
    for first in _FIRST:
        value, beside = ours[f"turns {first}"], plain[f"turns {first}"]
        report.add(
            Figure(
                f"recall of evidence turns at {first}",
                value,
                "%",
                f"≥ plain BM25 + {_POINTS}",
                value >= beside + _POINTS,
                "plain BM25",
                beside,
                many,
            )
        )
    for first, reach in _FIRST_SESSIONS.items():
        name = f"sessions {first}"
        report.add(
            Figure(
                f"recall of evidence sessions at {first}",
                ours[name],
                "%",
                f"≥ {reach:g} %",
                ours[name] >= reach,
                "plain BM25",
                plain[name],
                many,
            )
        )
    tell(report, talks, [windows for _, windows in asked])
    _what_each_brings(report, talks, found)
    await _asked_again(report, talks)
    for size, reach in _SIZES.items():
        await _how_soon(report, talks, size, reach)


@asynccontextmanager
async def _database() -> AsyncGenerator[Database]:
    with tempfile.TemporaryDirectory(prefix="tale-bench-") as home:
        paths = Paths.from_environment({"TALE_HOME": home})
        async with Database.open(paths, Settings()) as database:
            yield database


async def _record(database: Database, said: Sequence[LongTurn]) -> None:
    of_session = Counter(turn.session for turn in said)
    begun = {turn.session: turn.at for turn in reversed(said)}

    def work(connection: Connection) -> None:
        connection.execute(
            insert(sessions),
            [
                {"id": name, "title": name, "turns": many, "created": at, "updated": at}
                for name, many in of_session.items()
                for at in [begun[name]]
            ],
        )
        connection.execute(
            insert(turns),
            [
                {
                    "session": turn.session,
                    "seq": turn.seq,
                    "speaker": turn.speaker,
                    "text": turn.text,
                    "at": turn.at,
                    "interrupted": False,
                }
                for turn in said
            ],
        )

    await database.write(work)
    meaning = shipped()
    while (await database.write(lambda connection: take_in(connection, meaning, _BATCH))).turns:
        pass


async def _ask(talk: LongTalk) -> tuple[list[Sequence[Found]], list[frozenset[Place]]]:
    """Give what is found for each question, and which turns then stand in a small window."""
    now = max(turn.at for turn in talk.turns) + timedelta(days=1)
    async with _database() as database:
        await _record(database, talk.turns)
        retrieval = Retrieval(database)
        found = [
            await retrieval.find(question.text, limit=_READ, now=now) for question in talk.questions
        ]
        windows = [
            in_window(talk, one, await retrieval.find(one.text, limit=FOUND, now=now, around=1))
            for one in talk.questions
        ]
        return found, windows


def _order(found: Sequence[Found]) -> Order:
    return [one.place for one in found if one.place]


def _recalls(question: Question, order: Order) -> Iterator[tuple[str, float]]:
    evidence = question.evidence
    for first in _FIRST:
        yield f"turns {first}", len(evidence & {*order[:first]}) / len(evidence)
    of = {session for session, _ in evidence}
    in_order = list(dict.fromkeys(session for session, _ in order))
    for first in _FIRST_SESSIONS:
        yield f"sessions {first}", len(of & {*in_order[:first]}) / len(of)


def _mean(talks: Sequence[LongTalk], orders: Sequence[Sequence[Order]]) -> Recalls:
    every: defaultdict[str, list[float]] = defaultdict(list)
    for talk, of_talk in zip(talks, orders, strict=True):
        for question, order in zip(talk.questions, of_talk, strict=True):
            for name, value in _recalls(question, order):
                every[name].append(100 * value)
    return {name: statistics.mean(values) for name, values in every.items()}


@dataclass(frozen=True, slots=True)
class _Weighed:
    """What was found for a question, to be put in order anew: a row of shares for each find."""

    question: Question
    places: Order
    shares: NDArray[np.float64]

    def recalls(self, factors: Mapping[str, float]) -> Recalls:
        """Give the recalls where each share is multiplied so."""
        totals = self.shares @ np.array([factors.get(name, 0.0) for name in _SHARES])
        order = np.argsort(-totals, kind="stable")
        return dict(_recalls(self.question, [self.places[int(at)] for at in order]))


def _weighed(talk: LongTalk, found: Sequence[Sequence[Found]]) -> list[_Weighed]:
    return [
        _Weighed(
            question,
            _order(one),
            np.array([[each.shares.get(name, 0.0) for name in _SHARES] for each in one]),
        )
        for question, one in zip(talk.questions, found, strict=True)
        if one
    ]


async def _asked_again(report: Report, talks: Sequence[LongTalk]) -> None:
    """Ask questions of which each was asked before."""
    weighed: list[_Weighed] = []
    for talk in talks:
        asked = talk.questions[::_ASKED_AGAIN]
        when = max(turn.at for turn in talk.turns) + timedelta(days=3)
        before = [
            LongTurn("asked", 2 * at + number, speaker, text, when + timedelta(minutes=at))
            for at, question in enumerate(asked)
            for number, speaker, text in (
                (1, "user", question.text),
                (2, "assistant", "You told me some time ago."),
            )
        ]
        again = replace(talk, turns=[*talk.turns, *before], questions=asked)
        found, _ = await _ask(again)
        weighed += _weighed(again, found)
    shares = dict.fromkeys(_SHARES, 1.0)
    ours, beside = (
        100 * statistics.mean(one.recalls(factors)["turns 5"] for one in weighed)
        for factors in (shares, {**shares, "asking": 0.0})
    )
    report.add(
        Figure(
            "recall at 5 of a question that was asked before",
            ours,
            "%",
            "above",
            ours > beside,
            "with what only asks as good as what tells",
            beside,
            len(weighed),
        )
    )


def _what_each_brings(
    report: Report, talks: Sequence[LongTalk], found: Sequence[Sequence[Sequence[Found]]]
) -> None:
    """Print the recall without each share, and with weights that were chosen on other talks."""
    weighed = [_weighed(talk, of_talk) for talk, of_talk in zip(talks, found, strict=True)]

    def recalls(factors: Mapping[str, float], at: Iterable[int]) -> Recalls:
        every = [one.recalls(factors) for each in at for one in weighed[each]]
        return {name: 100 * statistics.mean(one[name] for one in every) for name in every[0]}

    def told(what: str, values: Recalls) -> None:
        numbers = " · ".join(f"{value:.1f}" for value in values.values())
        report.console.print(f"  {what:42} {numbers}")

    all_talks = range(len(talks))
    as_set = dict.fromkeys(_SHARES, 1.0)
    told("all shares", recalls(as_set, all_talks))
    for name in _SHARES:
        told(f"without {name}", recalls({**as_set, name: 0.0}, all_talks))
    for name in ("words", "meaning"):
        told(f"{name} alone", recalls({name: 1.0}, all_talks))
    left_out: list[Recalls] = []
    for one in all_talks:
        others = [each for each in all_talks if each != one]
        factors, best = as_set, recalls(as_set, others)[_CHOSEN_BY]
        for name, factor in itertools.product(_SHARES[1:], _FACTORS):
            tried = {**factors, name: factor}
            if (value := recalls(tried, others)[_CHOSEN_BY]) > best:
                factors, best = tried, value
        left_out += [each.recalls(factors) for each in weighed[one]]
    chosen = {name: 100 * statistics.mean(one[name] for one in left_out) for name in left_out[0]}
    told("weights chosen on the other conversations", chosen)


async def _how_soon(report: Report, talks: Sequence[LongTalk], size: int, reach: float) -> None:
    """Time questions to a memory of so many turns, each spliced from two that were said."""
    chance = random.Random(_SEED)
    known = [turn for talk in talks for turn in talk.turns]
    begun = datetime(2024, 1, 1, tzinfo=UTC)
    said: list[LongTurn] = []
    for at in range(size):
        first, second = chance.choice(known), chance.choice(known)
        cut = len(first.text) // 2, len(second.text) // 2
        text = f"{first.text[: cut[0]]} {second.text[cut[1] :]} {chance.randrange(size)}"
        session = f"s-{at // _SESSION}"
        when = begun + timedelta(minutes=5 * at)
        said.append(LongTurn(session, at % _SESSION + 1, first.speaker, text, when))
    questions = [question.text for talk in talks for question in talk.questions]
    chosen = chance.sample(questions, _QUESTIONS)
    async with _database() as database:
        started = time.perf_counter()
        await _record(database, said)
        taken = time.perf_counter() - started
        retrieval = Retrieval(database)
        now = said[-1].at + timedelta(days=1)
        started = time.perf_counter()
        await retrieval.find(chosen[0], limit=20, now=now)
        first_took = time.perf_counter() - started
        took: list[float] = []
        for question in chosen:
            started = time.perf_counter()
            await retrieval.find(question, limit=20, now=now)
            took.append(1000 * (time.perf_counter() - started))
    p95 = statistics.quantiles(took, n=20)[-1]
    report.console.print(
        f"  {size:,} turns: taken in at {1000 * taken / size:.2f} ms a turn, first question after"
        f" a start {1000 * first_took:.0f} ms, median {statistics.median(took):.1f} ms"
    )
    report.add(
        Figure(
            f"retrieval at {size:,} turns, p95",
            p95,
            "ms",
            f"< {reach:g} ms",
            p95 < reach,
            "median",
            statistics.median(took),
            len(took),
            (min(took), max(took)),
        )
    )
