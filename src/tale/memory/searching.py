"""Finds turns and notes for a question, on one scale.

Above: `servers.memory_tools`. Below: a `Finder` of turns, `note_search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tale.memory.finding import Finder, Found
from tale.memory.note_search import NoteSearch

__all__ = ["MemoryFinder"]


class MemoryFinder:
    """Searches turns and notes.

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
        noted = await self._notes.find(question, limit=limit)
        found = [*said, *(one.found for one in noted)]
        found.sort(key=lambda one: (one.score, one.at), reverse=True)
        return found[:limit]
