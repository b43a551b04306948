"""What is found in the memory for a question. Values and a seam; pure.

Above: `retrieval` (finds turns), `searching` (finds notes, too), `recalling` and
`servers.memory_tools` (ask). Below: `turns` (values).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from tale.memory.turns import Turn

__all__ = ["Finder", "Found"]


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
        task: Of a note, the task that it is the result of.
        around: Of a turn, those before and after it, in order, where they were asked for.
    """

    session: str | None
    seq: int | None
    speaker: Literal["user", "assistant", "note"]
    text: str
    at: datetime
    score: float = 0.0
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    note: str = ""
    around: tuple[Turn, ...] = ()
    task: str = ""

    @property
    def place(self) -> tuple[str, int]:
        """Its conversation, and the number of its turn there; a note from none stands by itself."""
        if self.session is None or self.seq is None:
            return (self.note, 0)
        return (self.session, self.seq)


class Finder(Protocol):
    """Finds what the memory holds about a question."""

    async def find(
        self, question: str, *, limit: int, now: datetime, around: int = 0
    ) -> Sequence[Found]:
        """Give what fits best, the best first.

        Args:
            question: Any text; nothing in it is syntax.
            limit: At most so many.
            now: The present time, in the zone of whoever asks, for what "last Tuesday" is.
            around: Turns on either side that come along with each that is found.

        Raises:
            StorageError: The database can't be read.
        """
        ...
