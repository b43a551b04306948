"""The output of a program that may print without end: beginning and end, bounded in memory.

From where it grows too long, all of it goes to a file as well, up to a size. Above:
`sandbox_process`.
"""

from __future__ import annotations

import os
import re
import secrets
from collections import deque
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tale.telemetry import get_logger

__all__ = ["Output", "printable"]

log = get_logger(__name__)

# CSI, OSC (to BEL or ST, or cut off) and two-character sequences of ECMA-48.
_ESCAPE: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Output:
    """Takes what a program prints. Enter it before use; leaving closes its file."""

    def __init__(self, keep: int, limit: int, spill: Path | None) -> None:
        """Describe it.

        Args:
            keep: Bytes kept in memory, half of them of the beginning.
            limit: Bytes that are taken in all.
            spill: Folder of the file with all of it; None keeps no file, nor does a full disk.
        """
        self._half = max(keep // 2, 1)
        self._limit = limit
        self._spill = spill
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._in_tail = 0
        self._file: FileIO | None = None
        self.total = 0
        self.path: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def feed(self, chunk: bytes) -> bool:
        """Take a piece; tells whether more will be taken."""
        chunk = chunk[: self._limit - self.total]
        self.total += len(chunk)
        if self.total > 2 * self._half and self._file is None and self._spill is not None:
            self._open(self._spill)
        if self._file is not None:
            self._write(chunk)
        room = self._half - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if chunk:
            self._tail.append(chunk)
            self._in_tail += len(chunk)
            while self._in_tail - len(self._tail[0]) >= self._half:
                self._in_tail -= len(self._tail.popleft())
        return self.total < self._limit

    @property
    def left_out(self) -> int:
        """Bytes that are not in `text`."""
        return max(0, self.total - len(self._head) - self._half)

    def text(self) -> str:
        """Give what is kept, with a line where something is missing."""
        head, tail = bytes(self._head), b"".join(self._tail)
        if not self.left_out:
            return printable((head + tail).decode(errors="replace"))
        end = tail[-self._half :].decode(errors="replace")
        begin = head.decode(errors="replace")
        gap = f"\n[... {self.left_out:,} bytes left out ...]\n"
        return printable(begin) + gap + printable(end)

    def _open(self, folder: Path) -> None:
        path = folder / f"output-{secrets.token_hex(6)}.txt"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            self._drop(error)
            return
        # Unbuffered, so that a full disk shows at the write and not when it is closed.
        self._file, self.path = os.fdopen(descriptor, "wb", buffering=0), path
        # Nothing has left the tail yet: the file is opened at the first byte too many.
        self._write(bytes(self._head) + b"".join(self._tail))

    def _write(self, data: bytes) -> None:
        if self._file is None:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Do without the file: the disk is full, but the program goes on, what is kept is kept."""
        log.warning("output.not_spilled", why=str(error))
        if self._file is not None:
            self._file.close()
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink()
        self._file = self.path = self._spill = None


def printable(text: str) -> str:
    """Take out what would move the cursor, set the clipboard or hide text, were it shown.

    A line that was overwritten, as progress bars do, is what it was at last.
    """
    plain = _ESCAPE.sub("", text).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in plain.split("\n"))
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", "\n".join(lines))
