"""What conversations recall from: turns, and the notes that were made of them.

Where a note is found, the turn that it came from says the same at greater length, and is left out.
Above: `recalling`, whose `Memory` it is. Below: `retrieval` (turns), `note_search`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tale.memory.note_search import FoundNote, NoteSearch
from tale.memory.recall import CLEAR, Found
from tale.memory.retrieval import Retrieval

__all__ = ["Recollection", "together"]

_NOTES: Final = 8
"""Notes that are looked at; a window of two thousand tokens has room for as many."""


@dataclass(frozen=True, slots=True)
class _Noted:
    """A note, in the place of the turn that it came from; of one from none, under its own id."""

    session: str
    seq: int
    speaker: str
    text: str
    at: datetime
    score: float


class Recollection:
    """Finds what was said and what was noted.

    Args:
        turns: Who finds turns.
        notes: Who finds notes.
    """

    def __init__(self, turns: Retrieval, notes: NoteSearch) -> None:
        self._turns = turns
        self._notes = notes

    async def find(self, question: str, *, limit: int, now: datetime) -> Sequence[Found]:
        """See `recall.Memory`.

        Raises:
            StorageError: The database can't be read.
        """
        said = await self._turns.find(question, limit=limit, now=now)
        noted = await self._notes.find(question, limit=_NOTES)
        return together(said, noted)


def together(
    said: Iterable[Found], noted: Iterable[FoundNote], least: float = CLEAR
) -> list[Found]:
    """Put turns and notes in one order, the best first; pure.

    Args:
        said: Turns.
        noted: Notes; those that score less than `least` are left to their turns.
        least: Score from which on a find is clearly about the question.
    """
    notes = [one for one in noted if one.score >= least]
    spoken_for = {(one.note.session, turn) for one in notes for turn in one.note.turns}
    found: list[Found] = [one for one in said if (one.session, one.seq) not in spoken_for]
    found += map(_placed, notes)
    return sorted(found, key=lambda one: (one.score, one.at), reverse=True)


def _placed(found: FoundNote) -> _Noted:
    note = found.note
    session, seq = (note.session, note.turns[-1]) if note.session and note.turns else (note.id, 0)
    speaker = "task" if note.source == "task" else "user"
    return _Noted(session, seq, speaker, note.text, note.said, found.score)
