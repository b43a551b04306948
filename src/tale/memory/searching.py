"""Finds turns and notes for a question, on one scale.

Turns are found by `retrieval`. Notes are few: each that holds a word of the question is weighed by
the share of the question's words that it has, and by its meaning. Above: `servers.memory_tools`.
Below: `notes`, `meaning`, a `Finder` of turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from tale.memory.finding import Finder, Found
from tale.memory.meaning import closeness, shipped
from tale.memory.notes import Note, note_of
from tale.memory.words import content_words, words
from tale.storage.database import Database
from tale.storage.schema import notes

__all__ = ["MemoryFinder"]

_MOST_WORDS: Final = 12
_CANDIDATES: Final = 2000
"""Notes that are weighed, the newest: some 50 ms."""
_IMPORTANT: Final = 0.1
"""What importance adds at most: as much as that a turn's speaker was named."""
_SHORT: Final = 0.2
"""A note says in one line what its turn says among other things."""


class MemoryFinder:
    """Searches turns and notes.

    Args:
        database: Where they are.
        turns: Who finds turns.
    """

    def __init__(self, database: Database, turns: Finder) -> None:
        self._database = database
        self._turns = turns

    async def find(
        self, question: str, *, limit: int, now: datetime, around: int = 0
    ) -> Sequence[Found]:
        """See `finding.Finder`."""
        said = await self._turns.find(question, limit=limit, now=now, around=around)
        found = [*said, *await self._notes(question)]
        found.sort(key=lambda one: (one.score, one.at), reverse=True)
        return found[:limit]

    async def _notes(self, question: str) -> list[Found]:
        wanted = sorted(content_words(question))[:_MOST_WORDS]
        if not wanted:
            return []
        query = select(notes).where(notes.c.superseded_at.is_(None)).order_by(notes.c.said.desc())

        def work(connection: Connection) -> list[Note]:
            rows = connection.execute(query.limit(_CANDIDATES)).mappings()
            return [note_of(row) for row in rows]

        noted = await self._database.read(work)
        return [
            _weighed(one, question, wanted)
            for one in noted
            if not set(wanted).isdisjoint(words(one.text))
        ]


def _weighed(note: Note, question: str, wanted: Sequence[str]) -> Found:
    there = set(words(note.text))
    asked, noted = shipped().of(question), shipped().of(note.text)
    shares = {
        "words": sum(word in there for word in wanted) / len(wanted),
        "meaning": max(closeness(asked, noted), 0.0) if asked and noted else 0.0,
        "note": _SHORT,
        "importance": _IMPORTANT * note.importance,
    }
    seq = note.turns[-1] if note.turns else None
    score = sum(shares.values())
    return Found(note.session, seq, "note", note.text, note.said, score, shares, note.id)
