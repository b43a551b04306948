"""A checkpoint as the gateway tells it.

Above: `checkpoints` and the dashboard. Below: `record`, `views` (times).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tale.cli.record import Record
from tale.cli.views import read_time

__all__ = ["Checkpoint"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved state of a task's files."""

    number: int
    at: datetime | None
    why: str
    files: int
    size: int
    changes: int
    pinned: bool
    omissions: int = 0
    left_out: tuple[Record, ...] = ()

    @classmethod
    def read(cls, record: Record) -> Checkpoint:
        """Read it from the gateway's reply."""
        return cls(
            record.integer("number"),
            read_time(record, "at"),
            record.text("why"),
            record.integer("files"),
            record.integer("size"),
            record.integer("changes"),
            record.flag("pinned"),
            record.integer("omissions"),
            tuple(record.records("left_out")),
        )
