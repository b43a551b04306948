"""The child's end of the leash.

A server process takes its leash from standard input, learns its name and the token, says when it
serves, hears who else does, and leaves when the supervisor is gone. Messages: `wire.leash`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import JsonValue

from tale.errors import ServiceUnavailable, TaleError, WireError
from tale.telemetry import get_logger
from tale.wire.leash import (
    Call,
    Failed,
    Fault,
    Hello,
    Peers,
    Ready,
    Reply,
    decode_supervisor,
    encode,
)

__all__ = ["Leash", "die_with_parent"]

log = get_logger(__name__)

_MAX_LINE = 1 << 20
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies, so that even a hung child goes.

    Linux only; elsewhere the end-of-file on the leash has to do.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Process 1 inherits orphans: the supervisor died before the kernel was asked, unless it is 1.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class Leash:
    """One process's line to its supervisor.

    `run` must be running in a task group for anything to arrive.
    """

    def __init__(self, stream: anyio.abc.SocketStream, hello: Hello) -> None:
        self._stream = stream
        self._lines = BufferedByteReceiveStream(stream)
        self._sending = anyio.Lock()
        self._calls: dict[int, _Pending] = {}
        self._last_call = 0
        self._changed = anyio.Event()
        self.name = hello.name
        self.token = hello.token
        self.grace = hello.grace
        self.peers = Peers()

    @classmethod
    async def connect(cls, fd: int = 0) -> Leash:
        """Take the leash from a file descriptor and read the supervisor's hello.

        Standard input is replaced by the null device, so that no grandchild holds the line.

        Raises:
            WireError: The descriptor is not a leash.
        """
        try:
            sock = socket.socket(fileno=os.dup(fd))
        except OSError as error:
            raise WireError(
                f"file descriptor {fd} is not the supervisor's line: {error}.",
                hint="Servers are started by `tale serve`, not by hand.",
            ) from error
        if fd == 0:
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)
        stream = await anyio.abc.SocketStream.from_socket(sock)
        reader = BufferedByteReceiveStream(stream)
        message = decode_supervisor(await reader.receive_until(b"\n", _MAX_LINE))
        if not isinstance(message, Hello):
            raise WireError(f"the supervisor began with {message.kind!r} instead of a hello.")
        leash = cls(stream, message)
        leash._lines = reader
        return leash

    async def run(self, on_gone: Callable[[], None] = lambda: None) -> None:
        """Take in messages until the supervisor is gone; then call `on_gone` and return."""
        try:
            while True:
                self._take(decode_supervisor(await self._lines.receive_until(b"\n", _MAX_LINE)))
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            log.info("leash.supervisor_gone")
        finally:
            await self.aclose()
        for pending in self._calls.values():
            pending.arrived.set()
        on_gone()

    async def aclose(self) -> None:
        """Let go of the line."""
        with anyio.CancelScope(shield=True):
            await self._stream.aclose()

    async def ready(self, url: str) -> None:
        """Tell the supervisor that this process serves at `url`."""
        await self._send(Ready(url=url))

    async def failed(self, error: TaleError) -> None:
        """Tell the supervisor why this process can't serve and is about to leave."""
        await self._send(Failed(fault=Fault.of(error)))

    async def call(self, operation: str, **arguments: JsonValue) -> JsonValue:
        """Have the supervisor do something; its operations are in `orchestration.leashes`.

        Raises:
            TaleError: What the supervisor answered, or `ServiceUnavailable` if it is gone.
        """
        self._last_call += 1
        number = self._last_call
        pending = self._calls[number] = _Pending()
        try:
            await self._send(Call(id=number, operation=operation, arguments=arguments))
            await pending.arrived.wait()
        finally:
            del self._calls[number]
        if pending.reply is None:
            raise ServiceUnavailable(f"the supervisor went away during {operation}.")
        if fault := pending.reply.error:
            raise fault.error()
        return pending.reply.result

    async def wait_change(self) -> Peers:
        """Wait until who serves where changes, and give the new picture."""
        await self._changed.wait()
        return self.peers

    def _take(self, message: Hello | Peers | Reply) -> None:
        if isinstance(message, Peers):
            self.peers = message
            changed, self._changed = self._changed, anyio.Event()
            changed.set()
        elif isinstance(message, Reply) and (pending := self._calls.get(message.id)):
            pending.reply = message
            pending.arrived.set()

    async def _send(self, message: Ready | Failed | Call) -> None:
        async with self._sending:
            try:
                await self._stream.send(encode(message))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise ServiceUnavailable("the supervisor is gone.") from error


class _Pending:
    """A call that waits for its reply."""

    def __init__(self) -> None:
        self.arrived = anyio.Event()
        self.reply: Reply | None = None
