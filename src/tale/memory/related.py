"""What is remembered that may matter to a piece of work that is about to be planned.

What counts for any work comes first, then notes by how much they have to do with it, then what the
user said clearly about it that nobody has noted yet. All of it has to fit a few hundred tokens.
Above: `servers.memory_tools`. Below: `note_search`, `notes`, `retrieval`, `recall` (shortens).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import Connection

from tale.memory.finding import Finder, Found
from tale.memory.index import turns_at
from tale.memory.note_search import FoundNote, NoteSearch
from tale.memory.notes import Note, NoteStore
from tale.memory.recall import CLEAR, to_the_point
from tale.memory.referring import apart
from tale.memory.words import content_words, key_words
from tale.storage.database import Database

__all__ = ["Line", "Related", "chosen"]

_STANDING: Final = 3
"""Rules for all work: of more, the newest; each takes a second of a small model's prefill."""
_NOTES: Final = 12
_TURNS: Final = 8
_RESULTS: Final = 2
"""Of related tasks: a third tells hardly more, and they are long."""
_LEAST: Final = 0.7
"""Score from which on a note may matter to a request: a word or two of it stand there, and it is
about something near. Less than is recalled in a conversation, as a plan may leave it aside."""
_LINE: Final = 320
"""Bytes of one line."""
_SHORTEST: Final = 40
"""Bytes that a line needs to tell anything."""
_WORK: Final = frozenset(
    """
    add app application build change code complete create file fix full good implement large make
    new please program project run script set simple small task update use using work write
    """.split()  # noqa: SIM905 - as in `words`
)
"""Words that most requests have, and that say nothing of what they are about."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something that is remembered, in one line.

    Attributes:
        id: The note's, or `SESSION/NUMBER` of the turn.
        said: When it was said.
    """

    id: str
    kind: Literal["fact", "preference", "decision", "result", "said"]
    text: str
    said: datetime


class Related:
    """Looks up what may matter to work."""

    def __init__(self, database: Database, notes: NoteSearch, said: Finder) -> None:
        """Make one.

        Args:
            database: Where notes and turns are.
            notes: Who finds notes.
            said: Who finds turns.
        """
        self._database = database
        self._standing = NoteStore(database)
        self._notes = notes
        self._said = said

    async def to(self, text: str, *, limit: int, most: int, now: datetime) -> Sequence[Line]:
        """Give what may matter to a request, as lines.

        Args:
            text: The request.
            limit: Lines at most.
            most: Bytes of all of them.
            now: The present time, in the zone of whoever asks.

        Raises:
            StorageError: The database can't be read.
        """
        request = apart(text)[0]
        standing = await self._standing.standing(_STANDING)
        noted = await self._notes.find(request, limit=_NOTES, told=True, but=_WORK)
        found = await self._said.find(request, limit=_TURNS, now=now)
        said = [one for one in found if one.score >= CLEAR and _tells(one, request)]
        handed_over = await self._database.read(lambda connection: _handed_over(connection, said))
        said = [one for one in said if one.place not in handed_over]
        return chosen(request, standing, noted, said, limit=limit, most=most)


def chosen(
    request: str,
    standing: Iterable[Note],
    noted: Iterable[FoundNote],
    said: Iterable[Found],
    *,
    limit: int,
    most: int,
) -> tuple[Line, ...]:
    """Choose among what was found; pure.

    Args:
        request: The request.
        standing: What counts for all work.
        noted: Notes, the best first.
        said: Turns, the best first.
        limit: Lines at most.
        most: Bytes of all of them.
    """
    lines: list[Line] = []
    asked = content_words(request)
    there: set[frozenset[str]] = set()
    results = 0
    for line in _in_order(standing, noted, said):
        if len(lines) >= limit or most < _SHORTEST:
            break
        words = content_words(line.text)
        # What has only words of the request tells nothing more: it was noted of that itself.
        if words <= asked or words in there or (line.kind == "result" and results >= _RESULTS):
            continue
        text = to_the_point(request, line.text, min(_LINE, most))
        there.add(words)
        results += line.kind == "result"
        most -= len(text.encode(errors="replace"))
        lines.append(Line(line.id, line.kind, text, line.said))
    return tuple(lines)


def _in_order(
    standing: Iterable[Note], noted: Iterable[FoundNote], said: Iterable[Found]
) -> Iterator[Line]:
    notes = [*standing, *(one.note for one in noted if one.score >= _LEAST)]
    for note in notes:
        kind = "result" if note.source == "task" else note.kind
        yield Line(note.id, kind, note.text, note.said)
    spoken_for = {(note.session, turn) for note in notes for turn in note.turns}
    for one in said:
        if one.place not in spoken_for:
            session, seq = one.place
            yield Line(f"{session}/{seq}", "said", one.text, one.at)


def _tells(found: Found, request: str) -> bool:
    """Tell whether a turn says something of the user's about this, rather than asks, or for it.

    What is only near in meaning, and has no word of the request, is talk: a Saturday at the
    seaside stands near to a function that checks dates.
    """
    text = found.text.strip()
    about = key_words(text) & (key_words(request) - _WORK)
    says = not text.endswith("?") and text != request.strip()
    return found.speaker == "user" and says and bool(about)


def _handed_over(connection: Connection, said: Sequence[Found]) -> set[tuple[str, int]]:
    """Find those turns that became tasks: what is remembered of these are their results."""
    after = [(session, seq + 1) for session, seq in (one.place for one in said)]
    replies = turns_at(connection, after).values()
    return {(one.session, one.seq - 1) for one in replies if one.task is not None}
