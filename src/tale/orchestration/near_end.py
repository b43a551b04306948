"""The supervisor's end of one leash (`wire.leash`): a socket that never makes the supervisor wait.

A child that hangs doesn't read. So `send` writes what the kernel takes now and keeps the rest for
`pump`; of several pictures of the peers that wait, only the latest is kept. Above: `spawn`,
`server_manager`.
"""

from __future__ import annotations

import socket

import anyio

from tale.telemetry import get_logger
from tale.wire.leash import Call, Failed, Hello, Peers, Ready, Reply, decode_child, encode

__all__ = ["NearEnd"]

log = get_logger(__name__)

_MAX_LINE = 1 << 20
_RECEIVE = 64 << 10
_SHOWN = 200
_MAX_NONSENSE = 100


class NearEnd:
    """One leash, seen from the supervisor."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over the socket.

        Args:
            sock: Connected; it is closed by `close`.
        """
        sock.setblocking(False)
        self._sock = sock
        self._received = bytearray()
        self._unsent = bytearray()
        self._peers = b""
        self._blocked = anyio.Event()
        self._nonsense = 0

    def send(self, message: Hello | Peers | Reply) -> None:
        """Send without waiting; a process that is gone misses it."""
        if isinstance(message, Peers):
            self._peers = encode(message)
        elif len(self._unsent) < _MAX_LINE:
            self._unsent += encode(message)
        else:  # it asks and asks and never reads an answer
            log.warning("leash.reply_dropped")
        self._flush()

    async def pump(self) -> None:
        """Send, for as long as it runs, what the child was not quick enough to take."""
        while True:
            await self._blocked.wait()
            await anyio.wait_writable(self._sock)
            self._blocked = anyio.Event()
            self._flush()

    async def receive(self) -> Ready | Failed | Call | None:
        """Wait for the child's next message; None once it has let go of the line.

        Lines that are no message are logged and left out; one without end, or too many of them,
        count as letting go.
        """
        while (message := self._message()) is None:
            if self._nonsense >= _MAX_NONSENSE:
                return None
            if len(self._received) > _MAX_LINE:
                log.warning("leash.line_too_long", line=bytes(self._received[:_SHOWN]))
                return None
            await anyio.wait_readable(self._sock)
            if not self._take():
                return None
        return message

    def rest(self) -> list[Ready | Failed | Call]:
        """Give what a child that is gone had said, as far as nobody has received it."""
        while len(self._received) <= _MAX_LINE and self._take():
            pass
        messages: list[Ready | Failed | Call] = []
        while message := self._message():
            messages.append(message)
        return messages

    def close(self) -> None:
        """Let go of the line: the child, if it lives, leaves."""
        self._sock.close()

    def _message(self) -> Ready | Failed | Call | None:
        """Take the next message out of what was received."""
        while self._nonsense < _MAX_NONSENSE:
            line, newline, rest = self._received.partition(b"\n")
            if not newline:
                return None
            self._received = rest
            try:
                return decode_child(bytes(line))
            except ValueError:
                self._nonsense += 1
                log.warning("leash.not_understood", line=bytes(line[:_SHOWN]))
        return None

    def _take(self) -> bool:
        """Take in what has arrived; false if nothing has, or the child let go."""
        try:
            data = self._sock.recv(_RECEIVE)
        except OSError:
            return False
        self._received += data
        return bool(data)

    def _flush(self) -> None:
        while self._unsent or self._peers:
            if not self._unsent:
                self._unsent += self._peers
                self._peers = b""
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                self._blocked.set()
                return
            except OSError:
                self._unsent.clear()
                self._peers = b""
                return
            del self._unsent[:sent]
