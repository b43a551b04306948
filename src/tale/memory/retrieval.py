"""Finds what was said: by its words, its meaning, its place and its time, and says why.

Candidates come from the index, from the vectors and from the days that a question names; what each
is worth is decided by `relevance`. Reads only, but for `keep_up`. Above: `recalling`, and the
servers' search. Below: `index`, `vectors`, `relevance`, `dates`, `terms`, `meaning`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from tale.memory import index
from tale.memory.dates import spans
from tale.memory.index import Row, Taken
from tale.memory.meaning import Meaning, shipped
from tale.memory.relevance import Place, Shares, recent, said_then, spread, telling
from tale.memory.terms import asked
from tale.memory.vectors import Closeness, Vectors
from tale.storage.database import Database

__all__ = ["Found", "Retrieval"]

_HITS: Final = 300
_NEAREST: Final = 100
_THEN: Final = 100
_CANDIDATES: Final = 300
"""Turns with words of the question, or near them, that are weighed."""
_AT_ONCE: Final = 64
"""Turns taken in by one transaction: some 40 ms, in which nobody else writes."""

_PLACE: Final = 0.1
_SPEAKER: Final = 0.1
_DATE: Final = 0.3
_TELLING: Final = 0.24
_RECENCY: Final = 0.05


@dataclass(frozen=True, slots=True)
class Found:
    """Something that was said, and what makes it relevant.

    Attributes:
        shares: What the score is made of.
        around: The turns before and after it, in order.
    """

    session: str
    seq: int
    speaker: str
    text: str
    at: datetime
    shares: Shares
    around: tuple[Row, ...] = ()

    @property
    def score(self) -> float:
        """How relevant it is: of 1 and more it surely has to do with the question."""
        return self.shares.total


class Retrieval:
    """Searches the memory of one database.

    Args:
        database: Where the turns are.
        meaning: Vectors of words; those that ship with the package where none are given.
    """

    def __init__(self, database: Database, meaning: Meaning | None = None) -> None:
        self._database = database
        self._given = meaning
        self._vectors: Vectors | None = None
        self._loading = threading.Lock()

    async def find(
        self, question: str, *, limit: int, now: datetime, around: int = 0
    ) -> Sequence[Found]:
        """Find what has to do with a question, the best first.

        Args:
            question: Any text; nothing in it is syntax.
            limit: Finds at most.
            now: The present time, in the zone of whoever asks.
            around: Neighbours on either side that come along with each.

        Raises:
            StorageError: The database can't be read, or the index is damaged (`begin_anew`).
        """

        def work(connection: Connection) -> Sequence[Found]:
            return self._find(connection, question, limit, now, around)

        return await self._database.read(work)

    async def keep_up(self) -> Taken:
        """Take in some turns that aren't in the index yet; call it until none waits."""
        return await self._database.write(
            lambda connection: index.take_in(connection, self._meaning, _AT_ONCE)
        )

    async def make_anew(self, progress: Callable[[Taken], None] = lambda _: None) -> None:
        """Throw the index away and make it anew; what is in it again is found meanwhile.

        Args:
            progress: Told after each step how far it is.
        """
        await self._database.write(index.begin_anew)
        with self._loading:
            self._vectors = None
        while (taken := await self.keep_up()).turns:
            progress(taken)

    @property
    def _meaning(self) -> Meaning:
        return self._given or shipped()

    def _find(
        self, connection: Connection, question: str, limit: int, now: datetime, around: int
    ) -> Sequence[Found]:
        words = asked(question)
        hits = index.hits(connection, words, _HITS)
        near = spread(hits)
        then = spans(question, now)
        closeness = self._closeness(connection, question)
        places: set[Place] = {(hit.session, hit.seq) for hit in hits[:_CANDIDATES]}
        places.update(near.best(_CANDIDATES))
        places.update(index.said_between(connection, then, _THEN))
        if closeness:
            places.update(index.places_of(connection, closeness.best(_NEAREST)))
        rows = index.rows_at(connection, places, whole=False)
        close = closeness.of(row.id for row in rows) if closeness else {}
        named = {word.casefold() for word in words}
        scored = [
            (
                Shares(
                    words=near.turns.get((row.session, row.seq), 0.0),
                    place=_PLACE * near.places.get(row.session, 0.0),
                    meaning=max(close.get(row.id, 0.0), 0.0),
                    speaker=_SPEAKER * (row.speaker.casefold() in named),
                    date=_DATE * said_then(row.at, then),
                    telling=_TELLING * telling(row.text),
                    recency=_RECENCY * recent(row.at, now),
                ),
                row,
            )
            for row in rows
        ]
        scored.sort(key=lambda one: (-one[0].total, -one[1].id))
        return _with_texts(connection, scored[:limit], around)

    def _closeness(self, connection: Connection, question: str) -> Closeness | None:
        vector = self._meaning.of(question)
        if vector is None:
            return None
        with self._loading:
            if self._vectors is None:
                self._vectors = Vectors(self._meaning.dimensions)
            self._vectors.add(index.vectors_after(connection, self._vectors.last))
            return self._vectors.closeness(vector)


def _with_texts(
    connection: Connection, scored: Sequence[tuple[Shares, Row]], around: int
) -> list[Found]:
    """Read the whole of what was found, and what stands around it."""
    wanted = {
        (row.session, row.seq + distance)
        for _, row in scored
        for distance in range(-around, around + 1)
    }
    there = {(row.session, row.seq): row for row in index.rows_at(connection, wanted, whole=True)}
    found: list[Found] = []
    for shares, row in scored:
        beside = (
            there.get((row.session, row.seq + distance))
            for distance in range(-around, around + 1)
            if distance
        )
        whole = there[row.session, row.seq]
        neighbours = tuple(each for each in beside if each)
        found.append(
            Found(row.session, row.seq, row.speaker, whole.text, row.at, shares, neighbours)
        )
    return found
