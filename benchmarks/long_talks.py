"""Long conversations with questions of which it is known where the answer stands, and plain BM25.

They are `memory/locomo` of `TALE_BENCH_DATA` (snap-research/LoCoMo, CC BY-NC 4.0: for measuring
only). Nothing is trained on them.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tale.memory.words import EMPTY, pieces

__all__ = ["LongTalk", "LongTurn", "Order", "Question", "long_talks", "plain_bm25"]

_K1, _B = 1.2, 0.75

Order = Sequence[tuple[str, int]]
"""Sessions and numbers of turns, the best first."""


@dataclass(frozen=True, slots=True)
class LongTurn:
    """What somebody said, and in which of their sessions."""

    session: str
    seq: int
    speaker: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Question:
    """`evidence` is where its answer stands."""

    text: str
    evidence: frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class LongTalk:
    """A long conversation, which has many sessions."""

    turns: Sequence[LongTurn]
    questions: Sequence[Question]


def long_talks() -> list[LongTalk]:
    """Read the conversations.

    Raises:
        FileNotFoundError: They aren't here.
    """
    folder = Path(os.environ.get("TALE_BENCH_DATA", "../shared/data"))
    with gzip.open(folder / "memory" / "locomo.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [_talk(json.loads(line)) for line in lines]


def plain_bm25(talk: LongTalk) -> list[Order]:
    """Rank all turns by BM25 alone."""
    documents = [_plain_words(f"{turn.speaker} {turn.text}") for turn in talk.turns]
    counted = [Counter(document) for document in documents]
    mean = statistics.mean(map(len, documents))
    having = Counter(word for count in counted for word in count)
    orders: list[Order] = []
    for question in talk.questions:
        scores = [0.0] * len(documents)
        for word in dict.fromkeys(_plain_words(question.text)):
            idf = math.log(1 + (len(documents) - having[word] + 0.5) / (having[word] + 0.5))
            for at, count in enumerate(counted):
                if count[word]:
                    norm = _K1 * (1 - _B + _B * len(documents[at]) / mean)
                    scores[at] += idf * count[word] * (_K1 + 1) / (count[word] + norm)
        ranked = sorted(range(len(documents)), key=lambda at: (-scores[at], at))
        orders.append([(talk.turns[at].session, talk.turns[at].seq) for at in ranked])
    return orders


def _plain_words(text: str) -> list[str]:
    return [word for word in pieces(text) if word not in EMPTY]


def _talk(row: Mapping[str, Any]) -> LongTalk:
    places: dict[str, tuple[str, int]] = {}
    counts: Counter[str] = Counter()
    said: list[LongTurn] = []
    for turn in row["turns"]:
        session = f"{row['id']}-{turn['session']}"
        counts[session] += 1
        begun = datetime.strptime(turn["when"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        at = begun + timedelta(seconds=counts[session])
        shown = f" [shows {turn['caption']}]" if turn["caption"] else ""
        said.append(
            LongTurn(session, counts[session], turn["speaker"], f"{turn['text']}{shown}", at)
        )
        places[turn["id"]] = (session, counts[session])
    questions = [
        Question(each["question"], frozenset(places[one] for one in each["evidence"]))
        for each in row["qa"]
    ]
    return LongTalk(said, questions)
