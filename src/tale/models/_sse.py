"""Bytes in pieces of any size → lines, and server-sent events.

Pure: no sockets, no JSON. Above: `_chat_stream` (OpenAI's event stream) and `ollama` (JSON lines).
"""

from __future__ import annotations

__all__ = ["MAX_LINE", "EventParser", "LineParser", "LineTooLong"]

# No token, tool call or log line of a model is near this; a peer that sends more in one line isn't
# a model server, and must not fill our memory.
MAX_LINE = 16 << 20


class LineTooLong(ValueError):
    """The peer sent more than `MAX_LINE` bytes without a line end."""


class LineParser:
    """Cuts a byte stream into lines, whatever pieces it comes in; LF and CRLF both end a line."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take in the next piece and give the lines that are complete, without their ends.

        Raises:
            LineTooLong: The unfinished line has outgrown `MAX_LINE`.
        """
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE:
            raise LineTooLong(f"more than {MAX_LINE} bytes without a line end")
        return [line[:-1] if line.endswith(b"\r") else line for line in lines]

    def finish(self) -> bytes:
        """Give what came after the last line end."""
        rest, self._rest = self._rest, b""
        return rest


class EventParser:
    """Cuts a byte stream into the data of server-sent events.

    Follows the WHATWG text for `data:` and comments; other fields (`event`, `id`, `retry`) say
    nothing in a completion stream and are passed over, and so is a lone CR as a line end.
    """

    __slots__ = ("_data", "_lines")

    def __init__(self) -> None:
        self._lines = LineParser()
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Take in the next piece and give the data of each event that is complete."""
        events: list[bytes] = []
        for line in self._lines.feed(data):
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data.clear()
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        return events

    def finish(self) -> list[bytes]:
        """Give the event that the end of the stream cut off from its blank line, if there is one.

        The standard would drop it; servers that forget the last blank line are common.
        """
        return self.feed(self._lines.finish() + b"\n\n")
