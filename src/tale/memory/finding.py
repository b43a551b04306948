"""What is found in the memory for a question. Values and a seam; pure.

Above: `searching` (finds), `servers.memory_tools` (asks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

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
    """

    session: str | None
    seq: int | None
    speaker: Literal["user", "assistant", "note"]
    text: str
    at: datetime
    score: float = 0.0
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    note: str = ""
    task: str = ""


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
