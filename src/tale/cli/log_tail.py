"""Following a log file across rotation, with no line lost and none given twice.

A log is put aside (`gateway.log` → `gateway.log.1`) by renaming when its process starts, and by
copying while it runs; the copy takes its place before the log is emptied. Either way `.1` is then
another file, and what was still unread of the log stands in it at the same offset. So what was read
counts only if `.1` is afterwards the one it was before. Above: `logs`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tale.orchestration.logfile import place, previous

__all__ = ["LogTail"]

_BLOCK: Final = 64 * 1024
_SAMPLE: Final = 200


class LogTail:
    """What is written to a log from now on."""

    def __init__(self, file: Path, *, from_start: bool = False) -> None:
        """Look where the log ends now.

        Args:
            file: The log; it need not exist.
            from_start: Give what is in it already.
        """
        self._file = file
        self._put_aside = _Opened(previous(file)[0])
        with _Opened(file) as log:
            self._inode = log.inode
            self._at = 0 if from_start else log.size()
        self._partial = b""

    def new_lines(self) -> Iterator[str]:
        """Give the lines that were completed since the last look."""
        yield from self._read_log()
        aside = self._newly_put_aside()
        # While its copy is there but the log not yet emptied, it would be read twice.
        if aside and not self._is_yet_to_be_emptied(aside[-1]):
            for opened in aside:
                yield from self._read_put_aside(opened)
            aside = [self._put_aside, *aside]
            self._put_aside = aside.pop()
            yield from self._read_log()
        for opened in aside:
            opened.close()

    def _read_log(self) -> Iterator[str]:
        """Read on in the log for as long as nothing is put aside."""
        while True:
            with _Opened(self._file) as log:
                data, size = log.read(self._at), log.size()
            if not log.inode or _inode(previous(self._file)[0]) != self._put_aside.inode:
                return
            if log.inode != self._inode or size < self._at:  # somebody else's doing
                moved, self._at = self._at > 0, 0
                self._inode, self._partial = log.inode, b""
                if moved:
                    continue
            if not data:
                return
            yield from self._lines(data)

    def _newly_put_aside(self) -> list[_Opened]:
        """Open what was put aside since the last look, oldest first."""
        found: list[_Opened] = []
        for path in previous(self._file):
            opened = _Opened(path)
            if opened.inode in (0, self._put_aside.inode):
                opened.close()
                break
            found.append(opened)
        return found[::-1]

    def _is_yet_to_be_emptied(self, copy: _Opened) -> bool:
        """Whether the log has been copied and still has in it what the copy ends with."""
        with _Opened(self._file) as log:
            if log.inode != self._inode or log.inode == copy.inode:
                return False
            shift = log.size() - place(copy.head(), log.size())
            end = max(0, copy.size() - _SAMPLE)
            return copy.read(end) == log.read(end + shift, copy.size() - end)

    def _read_put_aside(self, opened: _Opened) -> Iterator[str]:
        """Read to its end what was put aside; what follows is read from its start."""
        before, self._at = self._at, place(opened.head(), self._at)
        if before and not self._at:
            yield from self._last_line()  # the rest of that line was dropped
        while data := opened.read(self._at):
            yield from self._lines(data)
        if opened.inode == self._inode:  # renamed: whoever wrote it is gone
            yield from self._last_line()
        self._at = 0

    def _lines(self, data: bytes) -> Iterator[str]:
        self._at += len(data)
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")

    def _last_line(self) -> Iterator[str]:
        """Give a line that nobody will complete."""
        if self._partial:
            yield self._partial.decode(errors="replace")
        self._partial = b""


class _Opened:
    """A file, or none; for as long as it is open its inode's number can't be another file's."""

    def __init__(self, path: Path) -> None:
        self.inode = 0
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        self.inode = os.fstat(self._descriptor).st_ino

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def head(self) -> bytes:
        return self.read(0, _SAMPLE)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size if self.inode else 0

    def read(self, at: int, size: int = _BLOCK) -> bytes:
        return os.pread(self._descriptor, size, at) if self.inode else b""

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _inode(path: Path) -> int:
    with _Opened(path) as opened:
        return opened.inode
