"""The log file of one process: opened for appending, rotated when it starts and while it runs.

`gateway.log` is the current one, `gateway.log.1` … `.3` the ones before. When a process starts, a
large file is renamed. While one runs, which holds the file open, it is copied and emptied in place
(logrotate's `copytruncate`); what is opened for appending goes on at the new end.

Standard library only: the command line reads logs too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

__all__ = ["SUPERVISOR", "last_lines", "open_log", "place", "previous", "rotate"]

SUPERVISOR = "daemon"
"""Whose log is the supervisor's own, where it runs in the background."""
_LIMIT = 4 << 20  # bytes at which a file is put aside: some 40,000 lines
_KEEP = 3
_BLOCK = 64 << 10
_CUT = re.compile(rb"\[(\d+) bytes before this were dropped: the log grew too fast\]\n")


def open_log(file: Path, *, limit: int = _LIMIT) -> int:
    """Open a log for appending and give its descriptor; one past `limit` bytes is put aside first.

    The file is readable by its owner alone: prompts may stand in it.

    Raises:
        OSError: The folder can't be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and file.stat().st_size > limit:
        _shift(file)
        file.replace(previous(file)[0])
    return os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def rotate(file: Path, *, limit: int = _LIMIT) -> bool:
    """Put a log aside and empty it, should it be past `limit` bytes; say whether it was.

    Costs one look at the file's size, or the copying of twice `limit` at most: of a log that has
    grown past that meanwhile, the last `limit` bytes are kept, behind a line that says so. What is
    written between the last read and the emptying is lost: microseconds' worth.

    Args:
        file: The log, which a process may have open for appending; it need not exist.
        limit: Bytes at which it is put aside.

    Raises:
        OSError: The folder can't be written, or is full; the log stays as it is.
    """
    try:
        if file.stat().st_size <= limit:
            return False
        source = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    copy = file.with_name(f"{file.name}.new")
    try:
        _copy_end(source, copy, limit)
        _shift(file)
        # In this order: a reader that sees the log emptied finds what was in it (`place`).
        copy.replace(previous(file)[0])
        os.ftruncate(source, 0)
    finally:
        os.close(source)
        copy.unlink(missing_ok=True)
    return True


def place(head: bytes, offset: int) -> int:
    """Find in a put-aside file what stood at an offset of the log; 0 if that was dropped.

    Args:
        head: What the put-aside file begins with, 100 bytes at least.
        offset: Where it stood in the log.
    """
    cut = _CUT.match(head)
    if cut is None:
        return offset
    dropped = int(cut[1])
    return offset - dropped + cut.end() if offset >= dropped else 0


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


def _shift(file: Path) -> None:
    """Make room for another put-aside file: the oldest goes."""
    for older, newer in pairwise(reversed(previous(file))):
        if newer.exists():
            newer.replace(older)


def _copy_end(source: int, copy: Path, limit: int) -> None:
    """Copy a log, or what it ends with from the beginning of a line."""
    size = os.fstat(source).st_size
    at = 0 if size <= 2 * limit else size - limit
    target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(target, "wb") as stream:  # noqa: PTH123  it is a descriptor
        if at:
            # From the byte before: a line that begins just there is whole. One without end is cut.
            at += max(0, os.pread(source, min(_BLOCK, limit // 2), at - 1).find(b"\n"))
            stream.write(b"[%d bytes before this were dropped: the log grew too fast]\n" % at)
        end = at + 2 * limit  # a flood is not followed for ever
        while at < end and (data := os.pread(source, _BLOCK, at)):
            stream.write(data)
            at += len(data)
