"""Finds turns and notes for a question, on one scale.

Above: `servers.memory_tools`. Below: `retrieval` (turns), `note_search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

from tale.memory import retrieval
from tale.memory.finding import Found
from tale.memory.note_search import FoundNote, NoteSearch
from tale.memory.relevance import Shares
from tale.memory.retrieval import Retrieval

__all__ = ["MemoryFinder"]


class MemoryFinder:
    """Searches turns and notes.

    Args:
        turns: Who finds turns.
        notes: Who finds notes.
    """

    def __init__(self, turns: Retrieval, notes: NoteSearch) -> None:
        self._turns = turns
        self._notes = notes

    async def find(self, question: str, *, limit: int, now: datetime) -> Sequence[Found]:
        """See `finding.Finder`.

        Raises:
            StorageError: The database can't be read.
        """
        said = await self._turns.find(question, limit=limit, now=now)
        noted = await self._notes.find(question, limit=limit)
        found = [*map(_turn, said), *map(_note, noted)]
        found.sort(key=lambda one: (one.score, one.at), reverse=True)
        return found[:limit]


def _turn(found: retrieval.Found) -> Found:
    shares = {
        each.name: value for each in fields(Shares) if (value := getattr(found.shares, each.name))
    }
    speaker = "assistant" if found.speaker == "assistant" else "user"
    return Found(found.session, found.seq, speaker, found.text, found.at, found.score, shares)


def _note(found: FoundNote) -> Found:
    note = found.note
    seq = note.turns[-1] if note.turns else None
    return Found(
        note.session,
        seq,
        "note",
        note.text,
        note.said,
        found.score,
        found.shares,
        note.id,
        note.task or "",
    )
