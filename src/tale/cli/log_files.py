"""Reading log files from their end, those that were put aside included.

Beside: `log_tail`, for what comes next. Above: `logs`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from pathlib import Path

from tale.orchestration.logfile import previous
from tale.paths import Paths

__all__ = ["Entry", "last_entries"]

_BLOCK = 64 * 1024
_STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a server's log."""

    server: str
    text: str


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
    for path in (file, *previous(file)):
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
