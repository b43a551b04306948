"""A TCP server that answers HTTP with exactly the bytes it was given, then goes as told."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import anyio
import anyio.abc
import anyio.lowlevel
import orjson
from anyio.streams.buffered import BufferedByteReceiveStream

End = Literal["close", "reset", "hold", "keep"]


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes to send, piece by piece, and what to do with the connection afterwards."""

    pieces: Sequence[bytes] = ()
    end: End = "close"


@dataclass(slots=True)
class Request:
    """What a client sent."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        return orjson.loads(self.body)


@dataclass(slots=True)
class RawServer:
    """Replies in order, one a request; the last is repeated."""

    url: str
    replies: list[Reply]
    requests: list[Request] = field(default_factory=list[Request])
    connections: int = 0
    client_left: anyio.Event = field(default_factory=anyio.Event)

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        reader = BufferedByteReceiveStream(stream)
        async with stream:
            try:
                while await self._answer(reader, stream):
                    pass
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                self.client_left.set()

    async def _answer(
        self, reader: BufferedByteReceiveStream, stream: anyio.abc.SocketStream
    ) -> bool:
        self.requests.append(await _read_request(reader))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        for piece in reply.pieces:
            await stream.send(piece)
            await anyio.lowlevel.checkpoint()
        if reply.end == "hold":
            await stream.receive()
        if reply.end == "reset":
            raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - not Django
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return reply.end == "keep"


async def _read_request(reader: BufferedByteReceiveStream) -> Request:
    head = (await reader.receive_until(b"\r\n\r\n", 1 << 16)).decode()
    line, *rest = head.split("\r\n")
    headers: dict[str, str] = {}
    for row in rest:
        name, _, value = row.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.receive_exactly(int(headers.get("content-length", "0")))
    return Request(line, headers, body)


@asynccontextmanager
async def raw_server(*replies: Reply) -> AsyncGenerator[RawServer, None]:
    """Serve on a free loopback port for as long as the block lasts."""
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - not Django
        server = RawServer(f"http://127.0.0.1:{port}", list(replies))
        tasks.start_soon(listener.serve, server.serve)
        yield server
        tasks.cancel_scope.cancel()


def answer(status: str, body: object, *headers: str) -> Reply:
    """A whole response with a JSON body (or these bytes)."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    rows = (f"HTTP/1.1 {status}", "Connection: close", *headers)
    return Reply([_head(*rows, f"Content-Length: {len(content)}"), content])


def stream(
    *pieces: bytes, end: End = "close", whole: bool = True, headers: Sequence[str] = ()
) -> Reply:
    """A chunked response; not `whole` leaves out the last chunk, as a process that died does."""
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    last = [b"0\r\n\r\n"] if whole else []
    head = _head("HTTP/1.1 200 OK", *headers, "Transfer-Encoding: chunked")
    return Reply([head, *chunks, *last], end)


def event(value: object) -> bytes:
    """One server-sent event."""
    return b"data: %b\n\n" % (value if isinstance(value, bytes) else orjson.dumps(value))


def delta(text: str) -> bytes:
    """The event that brings this text."""
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


def finish(reason: str = "stop") -> bytes:
    """The event that ends an answer."""
    return event({"choices": [{"index": 0, "delta": {"content": None}, "finish_reason": reason}]})


DONE = event(b"[DONE]")


def unused_url() -> str:
    """A loopback address where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


def _head(*rows: str) -> bytes:
    return ("\r\n".join(rows) + "\r\n\r\n").encode()
