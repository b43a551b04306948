"""The notes that every conversation knows: those that are pinned.

Above: `windows`. Below: `notes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tale.memory.notes import NoteStore

__all__ = ["NotePins"]

_MOST: Final = 50
"""More than any window has room for."""


class NotePins:
    """Gives pinned notes as lines."""

    def __init__(self, notes: NoteStore) -> None:
        self._notes = notes

    async def facts(self, session: str) -> Sequence[str]:
        """See `windows.Pinned`; the same for every conversation."""
        del session
        return [" ".join(one.text.split()) for one in await self._notes.pinned(_MOST)]
