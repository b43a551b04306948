"""The end of a log file, and what was added to it since; bounded, and across rotation.

Above: `web_api`. Beside: `cli.log_tail`, which loses no line either; here the end is enough.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["LogEnd", "log_end"]

_BYTES: Final = 48 << 10
_MOST_LINES: Final = 300
_LONGEST: Final = 1_000
"""Characters of a line."""


@dataclass(frozen=True, slots=True)
class LogEnd:
    """A piece of a log.

    Attributes:
        lines: Its lines, oldest first.
        place: Names where it ends, for the next look.
        cut: Whether lines are missing before it: it is the first look, or much was added.
    """

    lines: tuple[str, ...]
    place: str
    cut: bool


def log_end(file: Path, after: str = "") -> LogEnd:
    """Read the lines at the end of a log.

    Args:
        file: The log; one that isn't there reads as empty.
        after: The `place` of the look before; empty for none.
    """
    try:
        with file.open("rb") as stream:
            facts = os.fstat(stream.fileno())
            start = _place(after, facts.st_ino, facts.st_size)
            begin = max(start or 0, facts.st_size - _BYTES)
            stream.seek(begin)
            data = stream.read(facts.st_size - begin)
    except OSError:
        return LogEnd((), "", cut=True)
    # What has no line's end yet comes whole the next time.
    whole = data[: data.rfind(b"\n") + 1]
    cut = start is None or begin > start
    lines = whole.splitlines()[int(cut and begin > 0) :]
    cut = cut or len(lines) > _MOST_LINES
    shown = tuple(line.decode(errors="replace")[:_LONGEST] for line in lines[-_MOST_LINES:])
    return LogEnd(shown, f"{facts.st_ino}-{begin + len(whole)}", cut)


def _place(text: str, inode: int, size: int) -> int | None:
    """Read where the look before ended; None where that was another file, or it was emptied."""
    name, _, at = text.partition("-")
    if name != str(inode) or not at.isdecimal():
        return None
    return int(at) if int(at) <= size else None
