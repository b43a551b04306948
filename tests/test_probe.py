"""Probes over real sockets, against servers that answer badly or not at all."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import pytest

from tale.orchestration.probe import Probe, ask

pytestmark = pytest.mark.anyio

QUICK = Probe("/healthz", timeout=0.05)
PATIENT = Probe("/healthz", timeout=20)


@asynccontextmanager
async def answering(*pieces: bytes, heard: list[bytes] | None = None) -> AsyncGenerator[str]:
    """Serve a port where every request gets these pieces, and then the end."""

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            request = await stream.receive()
            if heard is not None:
                heard.append(request)
            for piece in pieces:
                await stream.send(piece)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield f"http://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "404 Not Found", "302 Found"])
async def test_any_answer_below_500_is_life(status: str) -> None:
    heard: list[bytes] = []
    async with answering(b"HT", f"TP/1.1 {status}\r\n\r\n".encode(), heard=heard) as url:
        assert await ask(url, PATIENT) == ""
    host = url.removeprefix("http://")
    assert heard[0].startswith(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n".encode())


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ((b"HTTP/1.1 503 Service Unavailable\r\n\r\n",), "answered 503"),
        ((b"\x00\xffgarbage of some length\r\n",), "answered in no HTTP"),
        ((b"HTT",), "answered in no HTTP"),
        ((), "closed without a word"),
    ],
)
async def test_what_is_no_answer_is_told_in_words(pieces: tuple[bytes, ...], words: str) -> None:
    async with answering(*pieces) as url:
        assert words in await ask(url, PATIENT)


async def test_a_server_that_accepts_and_never_answers_is_silent() -> None:
    # As a stopped process looks: its kernel goes on to accept connections for it.
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        said = await ask(f"http://127.0.0.1:{deaf.getsockname()[1]}", QUICK)
    assert said == "/healthz gave no answer within 0.05 s"


async def test_a_server_that_is_not_there_cannot_be_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert "can't be asked" in await ask(f"http://127.0.0.1:{port}", PATIENT)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://[", "nonsense", ""])
async def test_nonsense_for_an_address_is_no_life_and_no_crash(url: str) -> None:
    assert await ask(url, QUICK)
