"""Finds notes, among all that hold, by their words and what they are about.

They are few, and kept at hand: a search reads of the database only whether they have changed, and
then what is new. So it costs a first word nothing that one would notice. Scores are on the scale of
`retrieval`'s. Above: `searching`, `recollection`, `related`. Below: `notes`, `meaning`.
"""

from __future__ import annotations

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nlargest
from typing import Final

from sqlalchemy import Connection, func, select

from tale.errors import StorageError
from tale.memory.finding import Found
from tale.memory.meaning import closeness, shipped
from tale.memory.notes import Note, note_of
from tale.memory.words import content_words
from tale.storage.database import Database
from tale.storage.schema import notes
from tale.telemetry import get_logger

__all__ = ["FoundNote", "NoteSearch"]

log = get_logger(__name__)

_READ: Final = 4_000
"""Characters of a question in which its words are looked for."""
_CANDIDATES: Final = 32
"""Notes whose meaning is compared, those with most of the words: 50 µs each."""
_AT_ONCE: Final = 500
_ONESELF: Final = re.compile(r"\b(?:i|me|my|mine|we|us|our|ours|you|your|tasks?)\b", re.IGNORECASE)
_OF_ONESELF: Final = 0.4
"""What it adds that a question is about those who talk or what they did, as notes are: "how high
are the Alps" is not about a note's hiking there."""
_IMPORTANT: Final = 0.1
"""What importance adds at most: as much as that a turn's speaker was named."""


@dataclass(frozen=True, slots=True)
class FoundNote:
    """A note, and what makes it relevant; it may have been pinned or said again since."""

    note: Note
    shares: Mapping[str, float]

    @property
    def score(self) -> float:
        """How relevant it is."""
        return sum(self.shares.values())

    @property
    def found(self) -> Found:
        """The same as what was found in the memory."""
        note = self.note
        return Found(
            note.session,
            note.turns[-1] if note.turns else None,
            "note",
            note.text,
            note.said,
            self.score,
            self.shares,
            note.id,
            task=note.task or "",
        )


@dataclass(slots=True)
class _Known:
    note: Note
    words: frozenset[str]
    vector: bytes | None = None

    def close_to(self, asked: bytes) -> float:
        if self.vector is None:  # worked out where it is wanted: most never are
            self.vector = shipped().of(self.note.text) or b""
        return max(closeness(asked, self.vector), 0.0) if self.vector else 0.0


class NoteSearch:
    """Searches the notes of one database."""

    def __init__(self, database: Database) -> None:
        """`database` is where they are."""
        self._database = database
        self._known: dict[str, _Known] = {}
        self._having: defaultdict[str, set[str]] = defaultdict(set)
        self._state: object = None
        self._reading = threading.Lock()

    async def get_ready(self) -> None:
        """Read the notes, so that no question has to wait for it; what can't be read waits."""
        try:
            await self._database.read(self._catch_up)
        except StorageError as error:
            log.info("notes.not_read", reason=error.message)

    async def find(
        self, question: str, *, limit: int, told: bool = False, but: frozenset[str] = frozenset()
    ) -> list[FoundNote]:
        """Find what has to do with a question, the best first.

        Args:
            question: Any text.
            limit: At most so many.
            told: Whether it is enough that the question has the words of the note; for long texts,
                of which no note has many.
            but: Words that say nothing.

        Raises:
            StorageError: The database can't be read.
        """
        wanted = content_words(question[:_READ]) - but

        def work(connection: Connection) -> list[FoundNote]:
            with self._reading:
                self._catch_up_alone(connection)
                return self._find(question[:_READ], wanted, limit, told=told, but=but)

        return await self._database.read(work) if wanted else []

    def _find(
        self, question: str, wanted: frozenset[str], limit: int, *, told: bool, but: frozenset[str]
    ) -> list[FoundNote]:
        having = Counter(name for word in wanted for name in self._having.get(word, ()))
        shares = {name: count / len(wanted) for name, count in having.items()}
        if told:
            for name, count in having.items():
                there = len(self._known[name].words - but)
                shares[name] = max(shares[name], count / there)
        best = nlargest(_CANDIDATES, shares, key=lambda name: (shares[name], name))
        asked, oneself = shipped().of(question), bool(_ONESELF.search(question))
        found = [
            FoundNote(
                known.note,
                {
                    "words": shares[name],
                    "meaning": known.close_to(asked) if asked else 0.0,
                    "oneself": _OF_ONESELF * oneself,
                    "importance": _IMPORTANT * known.note.importance,
                },
            )
            for name in best
            for known in (self._known[name],)
        ]
        found.sort(key=lambda one: (one.score, one.note.said, one.note.id), reverse=True)
        return found[:limit]

    def _catch_up(self, connection: Connection) -> None:
        with self._reading:
            self._catch_up_alone(connection)

    def _catch_up_alone(self, connection: Connection) -> None:
        """Take in what has changed: a note's text never does."""
        counts = select(func.count(), func.max(notes.c.id), func.count(notes.c.superseded_at))
        state = tuple(connection.execute(counts.select_from(notes)).one())
        if state == self._state:
            return
        hold = set(connection.scalars(select(notes.c.id).where(notes.c.superseded_at.is_(None))))
        for name in self._known.keys() - hold:
            for word in self._known.pop(name).words:
                self._having[word].discard(name)
        new = sorted(hold - self._known.keys())
        for start in range(0, len(new), _AT_ONCE):
            query = select(notes).where(notes.c.id.in_(new[start : start + _AT_ONCE]))
            for row in connection.execute(query).mappings():
                note = note_of(row)
                self._known[note.id] = known = _Known(note, content_words(note.text))
                for word in known.words:
                    self._having[word].add(note.id)
        self._state = state
