"""How relevant what was said is to a question, share by share. Pure.

| share | what it counts |
| --- | --- |
| words | BM25 of the turn, and of the four on either side, each further one half as much |
| place | how much of the question's words its conversation has in all |
| meaning | the cosine of its vector and the question's |
| speaker | the question names who said it |
| date | it was said when the question says, or soon after |
| telling | it tells something, rather than thanks |
| asking | it only asks, which takes something off: an earlier question is like the new one |
| recency | it was said lately |

Words and place are parts of what a turn could have at best, which makes scores of different
questions comparable. What each counts was set by hand, in tenths, and holds on conversations left
out (`benchmarks memory`). Above: `retrieval`. Below: `index` finds what is weighed here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from math import log2
from typing import Final

from tale.memory.dates import Span

__all__ = ["Hit", "Place", "Shares", "Spread", "recent", "said_then", "spread", "telling"]

Place = tuple[str, int]
"""A conversation and the number of a turn in it."""

REACH: Final = 4
"""Turns on either side that a hit reaches: the fifth would get a thirtieth of it."""
_OF_A_PLACE: Final = 5
"""Hits by which a conversation counts, so that long ones don't by their length."""
_HALF_LIFE: Final = timedelta(days=30)
_AFTERWARDS: Final = timedelta(days=7)
"""What happened is told of in the days after it."""
_ASKS: Final = re.compile(r"\?\W*$")
_ONESELF: Final = re.compile(r"\b(?:i|i'm|i've|me|my|we|our|us)\b", re.IGNORECASE)
_WHEN: Final = re.compile(
    r"\b(?:yesterday|today|tomorrow|ago|last|next|week|weekend|month|year|recently|just|since"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b|\d",
    re.IGNORECASE,
)
_READ: Final = 1000
_TELLING_WORDS: Final = 6
"""As a power of two: from 63 words on a turn isn't taken to tell more."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A turn that has words of a question; `score` is its BM25, as a part of the best possible."""

    session: str
    seq: int
    score: float


@dataclass(frozen=True, slots=True)
class Shares:
    """What makes up a score; each is what it adds."""

    words: float = 0.0
    place: float = 0.0
    meaning: float = 0.0
    speaker: float = 0.0
    date: float = 0.0
    telling: float = 0.0
    asking: float = 0.0
    recency: float = 0.0

    @property
    def total(self) -> float:
        """The score; written out, as it is asked for hundreds of times a question."""
        said = self.speaker + self.date + self.telling + self.asking + self.recency
        return self.words + self.place + self.meaning + said

    def by_name(self) -> dict[str, float]:
        """Give those that add anything."""
        named = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: value for name, value in named if value}


@dataclass(frozen=True, slots=True)
class Spread:
    """What hits make of the turns around them and of their conversations.

    Attributes:
        turns: By place, the hits there and near it together.
        places: By conversation, its best hits together.
    """

    turns: Mapping[Place, float]
    places: Mapping[str, float]

    def best(self, count: int) -> list[Place]:
        """Give the best turns."""
        return sorted(self.turns, key=self.turns.__getitem__, reverse=True)[:count]


def spread(hits: Sequence[Hit]) -> Spread:
    """Let each hit count for the turns around it too, as an answer stands beside its question."""
    turns: defaultdict[Place, float] = defaultdict(float)
    of_place: defaultdict[str, list[float]] = defaultdict(list)
    for hit in hits:
        for distance in range(-REACH, REACH + 1):
            if hit.seq + distance > 0:
                turns[hit.session, hit.seq + distance] += hit.score * 0.5 ** abs(distance)
        of_place[hit.session].append(hit.score)
    places = {
        session: sum(sorted(scores, reverse=True)[:_OF_A_PLACE])
        for session, scores in of_place.items()
    }
    return Spread(turns, places)


def telling(text: str) -> float:
    """Say from 0 to 1 how much a turn seems to tell."""
    seen = text[:_READ]
    length = min(1.0, log2(1 + len(seen.split())) / _TELLING_WORDS)
    signs = (not _ASKS.search(seen), bool(_ONESELF.search(seen)), bool(_WHEN.search(seen)))
    return (length + sum(signs)) / (1 + len(signs))


def said_then(at: datetime, spans: Iterable[Span]) -> float:
    """Say from 0 to 1 whether something was said when a question says, or in the days after."""
    best = 0.0
    for span in spans:
        if at in span:
            return 1.0
        if span.end <= at < span.end + _AFTERWARDS:
            best = max(best, 1 - (at - span.end) / _AFTERWARDS)
    return best


def recent(at: datetime, now: datetime) -> float:
    """Say from 0 to 1 how lately something was said: half a month ago is worth more than two."""
    return 0.5 ** (max(timedelta(0), now - at) / _HALF_LIFE)
