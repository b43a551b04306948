"""The supervisor's end of a leash, for tests that start one real server process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from tale.wire.leash import (
    Call,
    Failed,
    Hello,
    Peer,
    Peers,
    Ready,
    Reply,
    SupervisorMessage,
    decode_child,
    encode,
)

TOKEN = "token-of-the-test"


class LeashEnd:
    """Talks to one child as the supervisor would."""

    def __init__(self, stream: anyio.abc.SocketStream, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._stream = stream
        self._lines = BufferedByteReceiveStream(stream)

    async def send(self, message: SupervisorMessage) -> None:
        await self._stream.send(encode(message))

    async def peers(self, *peers: Peer) -> None:
        await self.send(Peers(peers=peers))

    async def receive(self) -> Ready | Failed | Call:
        return decode_child(await self._lines.receive_until(b"\n", 1 << 20))

    async def ready(self, seconds: float = 30) -> str:
        """Wait until the child serves; gives its URL."""
        with anyio.fail_after(seconds):
            message = await self.receive()
        assert isinstance(message, Ready), message
        return message.url

    async def reply(self, call: Call, result: None = None) -> None:
        await self.send(Reply(id=call.id, result=result))

    async def hang_up(self) -> None:
        """Close the line, as the death of the supervisor does."""
        await self._stream.aclose()

    async def exit_code(self, seconds: float = 15) -> int:
        with anyio.fail_after(seconds):
            return await anyio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)


@asynccontextmanager
async def leashed(
    arguments: Sequence[str],
    *,
    name: str = "child",
    home: Path,
    environment: Mapping[str, str] | None = None,
) -> AsyncGenerator[LeashEnd]:
    """Start `python ARGUMENTS` on a leash; whatever happens, it is dead afterwards."""
    near, far = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=far.fileno(),
        env={**os.environ, "TALE_HOME": str(home), **(environment or {})},
        start_new_session=True,
    )
    far.close()
    try:
        async with await anyio.abc.SocketStream.from_socket(near) as stream:
            end = LeashEnd(stream, process)
            await end.send(Hello(name=name, token=TOKEN))
            yield end
    finally:
        process.kill()
        process.wait()
