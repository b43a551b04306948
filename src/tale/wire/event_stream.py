"""Server-sent events, as the bytes come: pure, no I/O. Above: `post`."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["EventStream"]


class EventStream:
    """Cuts a stream of bytes into the data of its events; comments and other fields are skipped."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes, and give the data of each event that they complete."""
        # A \r at the end may be half of a \r\n, so the last line always waits for what follows.
        *lines, self._rest = (self._rest + data).split(b"\n")
        for raw in lines:
            line = raw.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._lines.append(line[5:].removeprefix(b" "))
            elif not line and self._lines:
                yield b"\n".join(self._lines)
                self._lines.clear()
