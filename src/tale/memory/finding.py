"""What is found in the memory for a question: the seam, and a plain twin that only compares words.

`PlainFinder` ranks by BM25 over the turns and notes that hold a word of the question, looked up
without an index. Above: `searching`, `servers.memory_tools`. Below: `same_subject` (words),
`storage.database`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, Protocol

from sqlalchemy import Connection, func, or_, select

from tale.memory.same_subject import content_words, words
from tale.storage.database import Database
from tale.storage.schema import notes, turns

__all__ = ["Finder", "Found", "PlainFinder", "noted_with", "ranked"]

_CANDIDATES: Final = 500
"""Texts that are compared, the newest that hold a word of the question."""
_MOST_WORDS: Final = 12
_K1, _B = 1.2, 0.75  # the usual ones of BM25
_NOTE_BONUS: Final = 1.2
"""A note says the same as its turn in fewer words."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that was found.

    Attributes:
        session: The conversation; None for a note that came up in none.
        seq: The turn; for a note, the last one that it came from.
        speaker: Who said it; `note` for a note.
        score: How much it has to do with the question; only to be compared.
        shares: What the score is made of, by name.
        note: The note's id; empty for a turn.
    """

    session: str | None
    seq: int | None
    speaker: Literal["user", "assistant", "note"]
    text: str
    at: datetime
    score: float = 0.0
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    note: str = ""


class Finder(Protocol):
    """Finds what the memory holds about a question."""

    async def find(self, question: str, *, limit: int, now: datetime) -> Sequence[Found]:
        """Give what fits best, the best first.

        Args:
            question: Any text.
            limit: At most so many.
            now: The present time, in the zone of whoever asks, for what "last Tuesday" is.
        """
        ...


class PlainFinder:
    """Finds by words alone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, question: str, *, limit: int, now: datetime) -> Sequence[Found]:
        """See `Finder`."""
        del now
        wanted = sorted(content_words(question))[:_MOST_WORDS]
        if not wanted:
            return ()
        found = await self._database.read(lambda connection: _candidates(connection, wanted))
        return ranked(wanted, found)[:limit]


def ranked(wanted: Sequence[str], found: Sequence[Found]) -> list[Found]:
    """Rank texts by BM25, the later of two equal ones first; those without a word are left out."""
    told = [(one, words(one.text)) for one in found]
    mean = sum(len(said) for _, said in told) / len(told) if told else 0.0
    frequency = {word: sum(word in said for _, said in told) for word in wanted}
    scored: list[Found] = []
    for one, said in told:
        total = 0.0
        for word in wanted:
            if count := said.count(word):
                rare = math.log(1 + (len(told) - frequency[word] + 0.5) / (frequency[word] + 0.5))
                length = _K1 * (1 - _B + _B * len(said) / mean)
                total += rare * count * (_K1 + 1) / (count + length)
        if total > 0:
            shares = {"words": total}
            if one.note:
                shares["note"] = total * (_NOTE_BONUS - 1)
            scored.append(
                Found(
                    one.session,
                    one.seq,
                    one.speaker,
                    one.text,
                    one.at,
                    sum(shares.values()),
                    shares,
                    one.note,
                )
            )
    return sorted(scored, key=lambda one: (one.score, one.at), reverse=True)


def _candidates(connection: Connection, wanted: Sequence[str]) -> list[Found]:
    said = func.lower(turns.c.text)
    query = select(turns.c.session, turns.c.seq, turns.c.speaker, turns.c.text, turns.c.at)
    query = query.where(or_(*(said.contains(word, autoescape=True) for word in wanted)))
    found = [
        Found(session, seq, speaker, text, at)
        for session, seq, speaker, text, at in connection.execute(
            query.order_by(turns.c.at.desc()).limit(_CANDIDATES)
        )
    ]
    return found + [note for note, _ in noted_with(connection, wanted)]


def noted_with(connection: Connection, wanted: Sequence[str]) -> list[tuple[Found, float]]:
    """Give the notes that hold and have one of these words, with how important each is."""
    noted = func.lower(notes.c.text)
    about = select(
        notes.c.id,
        notes.c.session,
        notes.c.turns,
        notes.c.text,
        notes.c.said,
        notes.c.importance,
    )
    about = about.where(
        notes.c.superseded_at.is_(None),
        or_(*(noted.contains(word, autoescape=True) for word in wanted)),
    )
    rows = connection.execute(about.order_by(notes.c.said.desc()).limit(_CANDIDATES))
    return [
        (Found(session, of[-1] if of else None, "note", text, at, note=identity), importance)
        for identity, session, of, text, at, importance in rows
    ]
