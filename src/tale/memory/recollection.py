"""What conversations recall from: turns, and the notes that were made of them.

Where a note is found, the turn that it came from says the same at greater length, and is left out.
Above: `recalling`. Below: a `Finder` of turns, `note_search`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from tale.memory.finding import Finder, Found
from tale.memory.note_search import FoundNote, NoteSearch

__all__ = ["CLEAR_NOTE", "Recollection", "together"]

CLEAR_NOTE: Final = 1.35
"""Score from which on a note surely has to do with the question. More than of a turn: a note is so
short that one word in common ("how high are the Alps?" and the hiking there) gives up to 1.31."""
_NOTES: Final = 8
"""Notes that are looked at; a window of two thousand tokens has room for as many."""


class Recollection:
    """Finds what was said and what was noted.

    Args:
        turns: Who finds turns.
        notes: Who finds notes.
    """

    def __init__(self, turns: Finder, notes: NoteSearch) -> None:
        self._turns = turns
        self._notes = notes

    async def find(
        self, question: str, *, limit: int, now: datetime, around: int = 0
    ) -> Sequence[Found]:
        """See `finding.Finder`."""
        said = await self._turns.find(question, limit=limit, now=now, around=around)
        noted = await self._notes.find(question, limit=_NOTES)
        return together(said, noted)


def together(
    said: Iterable[Found], noted: Iterable[FoundNote], least: float = CLEAR_NOTE
) -> list[Found]:
    """Put turns and notes in one order, the best first; pure.

    Args:
        said: Turns.
        noted: Notes; those that score less than `least` are left to their turns.
        least: Score from which on a find is clearly about the question.
    """
    notes = [one for one in noted if one.score >= least]
    spoken_for = {(one.note.session, turn) for one in notes for turn in one.note.turns}
    found = [one for one in said if one.place not in spoken_for]
    found += [one.found for one in notes]
    return sorted(found, key=lambda one: (one.score, one.at), reverse=True)
