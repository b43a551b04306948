"""Reading log files from their end, and following them across rotation.

A server's log is put aside (`gateway.log` → `gateway.log.1`) when a new process of it starts.
Above: `logs`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from pathlib import Path

from tale.paths import Paths

__all__ = ["Entry", "LogTail", "last_entries", "log_names"]

_BLOCK = 64 * 1024
_STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_PUT_ASIDE = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a server's log."""

    server: str
    text: str


def log_names(folder: Path) -> list[str]:
    """Name the servers that have a log."""
    return sorted(file.stem for file in folder.glob("*.log"))


def last_entries(paths: Paths, servers: Sequence[str], count: int) -> list[Entry]:
    """Give the last lines of several logs together, oldest first.

    A line without a time stamp (a traceback, what llama.cpp writes) stays behind the one before it.
    """
    stamped = [_stamped(paths.log_of(server), server, count) for server in servers]
    merged = list(merge(*stamped, key=lambda pair: pair[0]))
    return [entry for _, entry in merged[max(0, len(merged) - count) :]]


def _stamped(file: Path, server: str, count: int) -> list[tuple[str, Entry]]:
    """Give a log's last lines, each with its own time or that of the line it belongs to."""
    lines = list(islice(_backwards(file), count))[::-1]
    found: list[tuple[str, Entry]] = []
    stamp = ""
    for line in lines:
        stamp = line.split(" ", 1)[0] if _STAMPED.match(line) else stamp
        found.append((stamp, Entry(server, line)))
    return found


def _backwards(file: Path) -> Iterator[str]:
    """Give a log's lines from the newest to the oldest, those of put-aside files included."""
    for path in (file, *(file.with_name(f"{file.name}.{n}") for n in range(1, _PUT_ASIDE + 1))):
        yield from _lines_backwards(path)


def _lines_backwards(path: Path) -> Iterator[str]:
    try:
        stream = path.open("rb")
    except OSError:
        return
    with stream:
        at = stream.seek(0, os.SEEK_END)
        head = b""
        while at:
            size = min(_BLOCK, at)
            at = stream.seek(at - size)
            head, *lines = (stream.read(size) + head).split(b"\n")
            for line in reversed(lines):
                if line:
                    yield line.decode(errors="replace")
        if head:
            yield head.decode(errors="replace")


class LogTail:
    """What is written to a log from now on; notices when the file was put aside for a new one."""

    def __init__(self, file: Path, *, from_start: bool = False) -> None:
        self._file = file
        self._descriptor: int | None = None
        self._partial = b""
        self._open()
        if self._descriptor is not None and not from_start:
            os.lseek(self._descriptor, 0, os.SEEK_END)

    def new_lines(self) -> Iterator[str]:
        """Give the lines that were completed since the last look."""
        yield from self._read()
        if self._was_replaced():
            yield from self._read()  # what came between the last read and the rotation
            self._close()
            self._open()
            yield from self._read()

    def _open(self) -> None:
        try:
            self._descriptor = os.open(self._file, os.O_RDONLY)
        except OSError:
            self._descriptor = None

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._partial = b""

    def _was_replaced(self) -> bool:
        if self._descriptor is None:
            return self._file.exists()
        ours = os.fstat(self._descriptor)
        try:
            there = self._file.stat()
        except OSError:
            return False
        if there.st_ino == ours.st_ino and there.st_size < os.lseek(
            self._descriptor, 0, os.SEEK_CUR
        ):
            os.lseek(self._descriptor, 0, os.SEEK_SET)  # emptied in place
        return there.st_ino != ours.st_ino

    def _read(self) -> Iterator[str]:
        while self._descriptor is not None and (data := os.read(self._descriptor, _BLOCK)):
            *lines, self._partial = (self._partial + data).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")
