"""The index of what was said, in tale's own database: looked up, kept up, made anew.

The database marks each turn as pending when it is recorded; here pending turns are taken in, a few
at a time, and nothing is ever done at start. SQLite has the words in an FTS5 table, which its
triggers clear of what is forgotten; PostgreSQL in an index of its text search, which keeps itself.
Functions of somebody's connection. Above: `retrieval`. Below: `relevance` (values),
`turns`, `storage.database`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import log
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    String,
    Subquery,
    and_,
    bindparam,
    cast,
    column,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from tale.memory.dates import Span
from tale.memory.meaning import Meaning
from tale.memory.relevance import Hit, Place
from tale.memory.terms import match_any, match_one
from tale.memory.turns import Turn, turn_of
from tale.storage.schema import remembered, turns

__all__ = [
    "Row",
    "Taken",
    "begin_anew",
    "hits",
    "places_of",
    "purge",
    "rows_at",
    "said_between",
    "take_in",
    "turns_at",
    "vectors_after",
]

_K1_PLUS_1: Final = 2.2
"""FTS5's BM25 has k1 = 1.2 (sqlite.org/fts5.html): a word adds at most its weight times k1 + 1."""
_LEAST_IDF: Final = 1e-6
_COMMON: Final = 0.1
_FEW: Final = 2000
"""A word that more than a tenth of as many turns have says little and costs the most time; it is
looked up only if all words are so common."""
_PIECE: Final = 1000
"""Characters of a turn that are read where it is only weighed."""
# As the migration has it, or PostgreSQL's planner doesn't see that it has an index of it.
_POSTGRESQL_WORDS: Final = "to_tsvector('english', speaker || ' ' || left(text, 100000))"


@dataclass(frozen=True, slots=True)
class Row:
    """A turn in the index, with how its text begins."""

    id: int
    session: str
    seq: int
    speaker: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken in: how many turns, and how many still wait."""

    turns: int
    waiting: int


def hits(connection: Connection, words: Sequence[str], limit: int) -> list[Hit]:
    """Find the turns that have most of some words, the best first; see `Hit`."""
    if not words:
        return []
    if connection.dialect.name == "postgresql":
        return _hits_of_postgresql(connection, words, limit)
    total = connection.scalar(select(func.max(remembered.c.id))) or 0
    counts = {word: _having(connection, word) for word in words}
    there = {word: count for word, count in counts.items() if count}
    rare = {word for word, count in there.items() if total < _FEW or count <= _COMMON * total}
    chosen = [word for word in there if word in rare] or list(there)
    if not chosen:
        return []
    # What can't be had at all counts in the best possible too: as if one turn had it.
    best = _K1_PLUS_1 * sum(_idf(max(counts[word], 1), total) for word in words)
    query = text(
        "SELECT session, seq, -found.rank AS score FROM (SELECT rowid, rank FROM remembered_words"
        " WHERE remembered_words MATCH :words ORDER BY rank LIMIT :limit) AS found"
        " JOIN remembered ON remembered.id = found.rowid ORDER BY found.rank"
    )
    found = connection.execute(query, {"words": match_any(chosen), "limit": limit})
    return [Hit(session, seq, score / best) for session, seq, score in found]


def _having(connection: Connection, word: str) -> int:
    query = text("SELECT count(*) FROM remembered_words WHERE remembered_words MATCH :word")
    return connection.scalar(query, {"word": match_one(word)}) or 0


def _idf(count: int, total: int) -> float:
    # As FTS5 has it, where a word in more than half of all turns counts next to nothing.
    return max(log((total - count + 0.5) / (count + 0.5)), _LEAST_IDF) if total > count else 1e-6


def _hits_of_postgresql(connection: Connection, words: Sequence[str], limit: int) -> list[Hit]:
    query = text(
        f"SELECT session, seq, ts_rank_cd({_POSTGRESQL_WORDS}, wanted, 1 | 32) AS score"  # nosec B608  # noqa: S608 - a constant
        f" FROM turns, to_tsquery('english', :words) AS wanted WHERE {_POSTGRESQL_WORDS} @@ wanted"
        " ORDER BY score DESC, turns.at DESC LIMIT :limit"
    )
    found = connection.execute(query, {"words": " | ".join(words), "limit": limit})
    return [Hit(session, seq, score) for session, seq, score in found]


def said_between(connection: Connection, spans: Sequence[Span], limit: int) -> list[Place]:
    """Find the turns of some times, the newest first."""
    if not spans:
        return []
    within = or_(*(and_(turns.c.at >= span.begin, turns.c.at < span.end) for span in spans))
    query = select(turns.c.session, turns.c.seq).where(within)
    found = connection.execute(query.order_by(turns.c.at.desc(), turns.c.seq.desc()).limit(limit))
    return [(session, seq) for session, seq in found]


def places_of(connection: Connection, ids: Collection[int]) -> list[Place]:
    """Say where the turns of some numbers stand."""
    query = select(remembered.c.session, remembered.c.seq).where(remembered.c.id.in_(list(ids)))
    return [(session, seq) for session, seq in connection.execute(query)]


def rows_at(connection: Connection, places: Collection[Place]) -> list[Row]:
    """Read the turns at some places, in no order; those that aren't there are left out."""
    said = func.substr(turns.c.text, 1, _PIECE)
    here = _table_of(connection, places)
    query = (
        select(remembered.c.id, turns.c.session, turns.c.seq, turns.c.speaker, said, turns.c.at)
        .join_from(here, turns, _stands_at(here))
        .join(
            remembered,
            and_(turns.c.session == remembered.c.session, turns.c.seq == remembered.c.seq),
        )
    )
    return [Row(*row) for row in connection.execute(query).all()]


def turns_at(connection: Connection, places: Collection[Place]) -> dict[Place, Turn]:
    """Read the whole turns at some places; those that aren't there are left out."""
    here = _table_of(connection, places)
    query = select(turns).join_from(here, turns, _stands_at(here))
    rows = connection.execute(query).mappings()
    return {(turn.session, turn.seq): turn for turn in map(turn_of, rows)}


def _table_of(connection: Connection, places: Collection[Place]) -> Subquery:
    """Give places as a table of `session` and `seq`, in which turns are looked up.

    For `(session, seq) IN (…)` SQLite reads all turns there are. It is told in one value, as a
    statement with hundreds takes longer to be put together than to be answered.
    """
    told = [list(place) for place in places]
    if connection.dialect.name == "postgresql":
        each = func.jsonb_array_elements(cast(told, JSONB)).table_valued(column("value", JSONB))
        session, seq = each.c.value.op("->>")(0), each.c.value.op("->>")(1)
    else:
        each = func.json_each(json.dumps(told)).table_valued("value")
        session, seq = (func.json_extract(each.c.value, f"$[{at}]") for at in (0, 1))
    return select(cast(session, String).label("session"), cast(seq, Integer).label("seq")).subquery(
        "wanted"
    )


def _stands_at(here: Subquery) -> ColumnElement[bool]:
    return and_(turns.c.session == here.c.session, turns.c.seq == here.c.seq)


def vectors_after(connection: Connection, last: int) -> list[tuple[int, bytes]]:
    """Read the vectors of the turns that were taken in after a number, in order."""
    query = select(remembered.c.id, remembered.c.vector).where(
        remembered.c.id > last, remembered.c.vector.is_not(None)
    )
    return [(at, vector) for at, vector in connection.execute(query.order_by(remembered.c.id))]


def take_in(connection: Connection, meaning: Meaning, limit: int) -> Taken:
    """Take pending turns into the index, the oldest first.

    A turn's vector is of it and of what was said before it, which it often answers.
    """
    before = turns.alias()
    query = (
        select(remembered.c.id, turns.c.speaker, turns.c.text, before.c.speaker, before.c.text)
        .select_from(remembered)
        .join(
            turns,
            and_(turns.c.session == remembered.c.session, turns.c.seq == remembered.c.seq),
        )
        .outerjoin(
            before, and_(before.c.session == turns.c.session, before.c.seq == turns.c.seq - 1)
        )
        .where(remembered.c.pending)
        .order_by(remembered.c.id)
        .limit(limit)
    )
    found = connection.execute(query).all()
    words = [{"id": at, "speaker": speaker, "said": said} for at, speaker, said, _, _ in found]
    vectors = [
        {"at": at, "vector": meaning.of(*(each for each in (asked, who, said) if each))}
        for at, who, said, _, asked in found
    ]
    if found:
        if connection.dialect.name == "sqlite":
            connection.execute(
                text(
                    "INSERT INTO remembered_words (rowid, speaker, text)"
                    " VALUES (:id, :speaker, :said)"
                ),
                words,
            )
        done = update(remembered).where(remembered.c.id == bindparam("at"))
        connection.execute(done.values(pending=False, vector=bindparam("vector")), vectors)
    left = select(func.count()).select_from(remembered).where(remembered.c.pending)
    return Taken(len(found), connection.scalar(left) or 0)


def purge(connection: Connection) -> None:
    """Take the words of what was forgotten out of the index for good; until then some lie in it.

    The triggers only mark them as gone. It writes the whole index: some seconds for a million
    turns.
    """
    if connection.dialect.name == "sqlite":
        connection.execute(
            text("INSERT INTO remembered_words (remembered_words) VALUES ('optimize')")
        )


def begin_anew(connection: Connection) -> None:
    """Throw the index away, damaged or not, and mark all turns as pending; `take_in` goes on."""
    if connection.dialect.name == "sqlite":
        made = connection.scalar(
            text("SELECT sql FROM sqlite_master WHERE name = 'remembered_words'")
        )
        connection.execute(text("DROP TABLE remembered_words"))
        connection.execute(text(str(made)))
    connection.execute(update(remembered).values(pending=True, vector=None))
