"""The log file of one process: opened for appending, rotated when the process starts.

`gateway.log` is the current one, `gateway.log.1` … `.3` the ones before. Standard library only: the
command line reads logs too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

__all__ = ["last_lines", "open_log", "previous"]

_LIMIT = 4 << 20  # bytes at which a file is put aside: some 40,000 lines
_KEEP = 3
_BLOCK = 64 << 10


def open_log(file: Path, *, limit: int = _LIMIT) -> int:
    """Open a log for appending and give its descriptor; one past `limit` bytes is put aside first.

    The file is readable by its owner alone: prompts may stand in it.

    Raises:
        OSError: The folder can't be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and file.stat().st_size > limit:
        names = [*reversed(previous(file)), file]
        for older, newer in pairwise(names):
            if newer.exists():
                newer.replace(older)
    return os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def previous(file: Path) -> Sequence[Path]:
    """Name the files that were put aside, newest first; they need not exist."""
    return [file.with_name(f"{file.name}.{number}") for number in range(1, _KEEP + 1)]


def last_lines(file: Path, count: int) -> list[str]:
    """Read the last lines of a log; what isn't text is replaced, a missing file is empty."""
    try:
        with file.open("rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, end - _BLOCK))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return lines[-count:]
