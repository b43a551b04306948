"""Finds what was said: by its words, its meaning, its place and its time, and says why.

Candidates come from the index, from the vectors and from the days that a question names; what each
is worth is decided by `relevance`. Scores of different questions can be compared, since no share is
a part of the best find's. Reads only, but for `keep_up` and `make_anew`. Above: `recalling`,
`searching`. Below: `index`, `without_index`, `vectors`, `relevance`, `dates`, `terms`, `meaning`,
`words`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tale.memory import index
from tale.memory.dates import spans
from tale.memory.finding import Found
from tale.memory.index import Row, Taken
from tale.memory.meaning import Meaning, shipped
from tale.memory.relevance import Hit, Place, Shares, recent, said_then, spread, telling
from tale.memory.terms import asked
from tale.memory.vectors import Closeness, Vectors
from tale.memory.without_index import hits_without_index, is_of_index
from tale.memory.words import only_asks
from tale.storage.database import Database
from tale.telemetry import get_logger

__all__ = ["Retrieval"]

log = get_logger(__name__)

_HITS: Final = 300
_CANDIDATES: Final = 120
_NEAREST: Final = 50
_THEN: Final = 60
"""Turns that are weighed: by words, the question's or near them; by meaning; by date. Each takes
some 30 µs, and most of what makes one relevant is known by then."""
_AT_ONCE: Final = 64
"""Turns taken in by one transaction: some 40 ms, in which nobody else writes."""

_PLACE: Final = 0.1
_SPEAKER: Final = 0.1
_DATE: Final = 0.3
_TELLING: Final = 0.24
_ASKING: Final = 0.8
"""Asked again in the same words, a question has all words and all meaning: with half a point taken
off it still stood before what answers it a time in three (`benchmarks memory`)."""
_RECENCY: Final = 0.05
_OF_QUESTIONS: Final = frozenset({"ask", "asked", "asking", "question", "questions"})
"""Who looks for a question names it so."""


class _DamagedIndex(Exception):
    """Rolls back what was being written when the index turned out to be damaged."""


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
        self.damaged = False
        """Whether the index was found to be damaged: somebody should `make_anew`."""

    async def find(
        self, question: str, *, limit: int, now: datetime, around: int = 0
    ) -> Sequence[Found]:
        """See `finding.Finder`.

        Where only the index can't be read, words are looked up in the newest turns instead, and
        `damaged` says so.
        """

        def work(connection: Connection) -> Sequence[Found]:
            return self._find(connection, question, limit, now, around)

        return await self._database.read(work)

    async def get_ready(self) -> None:
        """Load what a search needs: some tenths of a second, which no question has to wait for.

        Raises:
            StorageError: The database can't be read.
        """
        await self._database.read(lambda connection: self._closeness(connection, "ready"))

    async def keep_up(self) -> Taken:
        """Take in some turns that aren't in the index yet; call it until it took none.

        Raises:
            StorageError: The database can't be written. Where only the index can't, nothing is
                taken in, and `damaged` says so.
        """

        def work(connection: Connection) -> Taken:
            try:
                return index.take_in(connection, self._meaning, _AT_ONCE)
            except DBAPIError as error:
                if not is_of_index(error):
                    raise
                raise _DamagedIndex from error

        if self.damaged:
            return Taken(0, 0)
        try:
            return await self._database.write(work)
        except _DamagedIndex:
            self._found_damaged()
            return Taken(0, 0)

    async def make_anew(self, progress: Callable[[Taken], None] = lambda _: None) -> None:
        """Throw the index away and make it anew; what is in it again is found meanwhile.

        Args:
            progress: Told after each step how far it is.
        """
        await self._database.write(index.begin_anew)
        with self._loading:
            self._vectors = None
        self.damaged = False
        while (taken := await self.keep_up()).turns:
            progress(taken)

    @property
    def _meaning(self) -> Meaning:
        return self._given or shipped()

    def _find(
        self, connection: Connection, question: str, limit: int, now: datetime, around: int
    ) -> Sequence[Found]:
        words = asked(question)
        hits = self._hits(connection, words)
        near = spread(hits)
        then = spans(question, now)
        closeness, nearest = self._nearest(connection, question)
        places: set[Place] = {*near.best(_CANDIDATES), *nearest}
        places.update(index.said_between(connection, then, _THEN))
        rows = index.rows_at(connection, places)
        close = closeness.of(row.id for row in rows) if closeness else {}
        named = {word.casefold() for word in words}
        asking = 0.0 if named & _OF_QUESTIONS else _ASKING
        scored = [
            (
                Shares(
                    words=near.turns.get((row.session, row.seq), 0.0),
                    place=_PLACE * near.places.get(row.session, 0.0),
                    meaning=max(close.get(row.id, 0.0), 0.0),
                    speaker=_SPEAKER * (row.speaker.casefold() in named),
                    date=_DATE * said_then(row.at, then),
                    telling=_TELLING * telling(row.text),
                    asking=-asking if only_asks(row.text) else 0.0,
                    recency=_RECENCY * recent(row.at, now),
                ),
                row,
            )
            for row in rows
        ]
        scored.sort(key=lambda one: (-one[0].total, -one[1].id))
        return _with_texts(connection, scored[:limit], around)

    def _hits(self, connection: Connection, words: Sequence[str]) -> list[Hit]:
        if not self.damaged:
            try:
                return index.hits(connection, words, _HITS)
            except DBAPIError as error:
                if not is_of_index(error):
                    raise
                self._found_damaged()
        return hits_without_index(connection, words, _HITS)

    def _found_damaged(self) -> None:
        if not self.damaged:
            log.warning("memory.index_damaged")
        self.damaged = True

    def _nearest(
        self, connection: Connection, question: str
    ) -> tuple[Closeness | None, Sequence[Place]]:
        """Give how close each turn is to a question, and where the closest stand."""
        closeness = self._closeness(connection, question)
        best = closeness.best(_NEAREST) if closeness else []
        places = index.places_of(connection, best)
        if len(places) < len(best):
            # What was forgotten would stand in the place of what is there as long as it is loaded.
            closeness = self._closeness(connection, question, afresh=True)
            places = index.places_of(connection, closeness.best(_NEAREST) if closeness else [])
        return closeness, places

    def _closeness(
        self, connection: Connection, question: str, *, afresh: bool = False
    ) -> Closeness | None:
        vector = self._meaning.of(question)
        if vector is None:
            return None
        with self._loading:
            if self._vectors is None or afresh:
                self._vectors = Vectors(self._meaning.dimensions)
            self._vectors.add(index.vectors_after(connection, self._vectors.last))
            return self._vectors.closeness(vector)


def _with_texts(
    connection: Connection, scored: Sequence[tuple[Shares, Row]], around: int
) -> list[Found]:
    """Read the whole of what was found, and what stands around it."""
    distances = range(-around, around + 1)
    wanted = {(row.session, row.seq + each) for _, row in scored for each in distances}
    there = index.turns_at(connection, wanted)
    found: list[Found] = []
    for shares, row in scored:
        turn = there[row.session, row.seq]
        beside = (there.get((row.session, row.seq + each)) for each in distances if each)
        found.append(
            Found(
                turn.session,
                turn.seq,
                turn.speaker,
                turn.text,
                turn.at,
                shares.total,
                shares.by_name(),
                around=tuple(filter(None, beside)),
            )
        )
    return found
