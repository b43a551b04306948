"""Damaged files that were set aside, each with a note of what was done about it.

    tale.db.damaged-20260131-120000         the file as it was found
    tale.db.damaged-20260131-120000.json    the note; it counts as long as the file is there

Light: `tale status` and `tale doctor` read it. Above: `rescue`, `tasks.dbos_journal` (write),
`tasks.rebuilt`, the command line (read).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

__all__ = ["MARKED", "Rescue", "mark_handled", "record", "rescues"]

MARKED: Final = ".damaged-%Y%m%d-%H%M%S"
"""What is added to the name, as `time.strftime` takes it."""


@dataclass(frozen=True, slots=True)
class Rescue:
    """A damaged file, and what took its place.

    Attributes:
        file: The database.
        aside: Where the damaged file is now.
        at: When it was found.
        backup: When the backup was made that took its place; None where there was none, and a new
            database was begun.
        handled: Whether the gateway has seen to the tasks that were lost.
    """

    file: Path
    aside: Path
    at: datetime
    backup: datetime | None = None
    handled: bool = False

    @property
    def note(self) -> Path:
        """The file that says so."""
        return self.aside.with_name(f"{self.aside.name}.json")

    def __str__(self) -> str:
        """Say it in a sentence or two."""
        taken = (
            f"its backup of {self.backup.astimezone():%Y-%m-%d %H:%M} took its place"
            if self.backup
            else "there was no backup, so a new one was begun"
        )
        return (
            f"{self.file.name} was damaged, found {self.at.astimezone():%Y-%m-%d %H:%M}; {taken}."
        )


def record(rescue: Rescue) -> None:
    """Write the note; raises `OSError`."""
    said = {
        "file": rescue.file.name,
        "at": rescue.at.isoformat(),
        "backup": rescue.backup.isoformat() if rescue.backup else None,
        "handled": rescue.handled,
    }
    half = rescue.note.with_suffix(".half")
    half.write_text(json.dumps(said))
    half.replace(rescue.note)


def mark_handled(rescue: Rescue) -> None:
    """Note that the gateway has seen to the tasks that were lost."""
    record(replace(rescue, handled=True))


def rescues(folder: Path) -> tuple[Rescue, ...]:
    """Give what was set aside and not yet tidied away by the user, oldest first."""
    found: list[Rescue] = []
    for note in sorted(folder.glob("*.damaged-*.json")):
        aside = note.with_suffix("")
        try:
            said = json.loads(note.read_bytes())
            rescue = Rescue(
                folder / said["file"],
                aside,
                datetime.fromisoformat(said["at"]),
                datetime.fromisoformat(said["backup"]) if said["backup"] else None,
                said["handled"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue  # half a note says nothing
        if aside.exists():
            found.append(rescue)
    return tuple(found)
