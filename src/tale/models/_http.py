"""The HTTP client that everything which talks to a model shares.

One place opens sessions, and one place turns aiohttp's errors into tale's. Above: the backends
and `client`. Not a retry layer: who calls decides what is tried again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import anyio
import orjson
from aiohttp import (
    ClientConnectionError,
    ClientError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    InvalidURL,
    TCPConnector,
)

from tale.errors import BackendBroke, BackendFailed, BackendUnavailable, TaleError

__all__ = ["BROKEN", "fetch", "open_reply", "open_session", "read_body", "send", "transport_fault"]

_CONNECT_SECONDS = 3.0
_MAX_BODY = 4 << 20
BROKEN = (ClientError, ConnectionError, TimeoutError)


def open_session() -> ClientSession:
    """Open a session for requests to models: no limit on how long an answer takes.

    How long silence may last is for the pool's watchdog and the callers' deadlines. Call it inside
    a running event loop; the caller closes it.

    Each request has its own connection. llama.cpp announces keep-alive and drops the connection
    after a stream all the same; a request that is just being sent on it is lost, and a POST can't
    be repeated blindly. On loopback a new connection costs a fraction of a millisecond, and to a
    hosted service a handshake, which is little beside a generation.
    """
    return ClientSession(
        connector=TCPConnector(limit=0, force_close=True),
        timeout=ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
    )


def transport_fault(
    error: Exception,
    whose: str,
    *,
    generated: bool = False,
    gone: type[TaleError] = BackendUnavailable,
) -> TaleError:
    """Say in tale's terms why a connection failed.

    Args:
        error: What aiohttp raised.
        whose: Which server, for the message.
        generated: Whether part of an answer had come: then only who asked can ask again.
        gone: What a server that isn't there is raised as.
    """
    why = str(error) or type(error).__name__
    if isinstance(error, ClientSSLError):
        return BackendFailed(
            f"{whose} has a certificate that can't be trusted: {why}.",
            hint="Check the URL, or install the certificate's authority on this machine.",
        )
    if isinstance(error, InvalidURL):
        return BackendFailed(
            f"{whose} has an address that is no URL: {why}.",
            hint="Set url to something like http://127.0.0.1:8000/v1.",
        )
    if isinstance(error, ClientResponseError):
        return BackendFailed(
            f"{whose} does not speak HTTP: {why}.", hint="Check which program has that port."
        )
    if generated:
        return BackendBroke(
            f"{whose} broke off in the middle of an answer: {why}.", hint="Ask again."
        )
    if isinstance(error, ClientConnectionError | ConnectionError | TimeoutError):
        return gone(
            f"{whose} is not reachable: {why}.",
            hint="Check that it runs and that its URL is right.",
        )
    return gone(f"{whose} broke off before it answered: {why}.")


async def send(
    session: ClientSession,
    method: str,
    url: str,
    *,
    whose: str,
    headers: Mapping[str, str] | None = None,
    body: object = None,
    gone: type[TaleError] = BackendUnavailable,
) -> ClientResponse:
    """Send a request and give the response once its headers are here; the caller closes it.

    Closing it before the body's end closes the connection, by which a server knows to stop.

    Raises:
        TaleError: See `transport_fault`.
    """
    sent = {"Content-Type": "application/json", **(headers or {})} if body is not None else headers
    data = orjson.dumps(body) if body is not None else None
    try:
        return await session.request(method, url, data=data, headers=sent)
    except BROKEN as error:
        raise transport_fault(error, whose, gone=gone) from error


@asynccontextmanager
async def open_reply(
    session: ClientSession,
    method: str,
    url: str,
    *,
    whose: str,
    headers: Mapping[str, str] | None = None,
    body: object = None,
) -> AsyncGenerator[ClientResponse, None]:
    """Send a request and close the response at the end of the block; see `send`."""
    response = await send(session, method, url, whose=whose, headers=headers, body=body)
    try:
        yield response
    finally:
        response.close()


async def fetch(
    session: ClientSession,
    method: str,
    url: str,
    *,
    whose: str,
    headers: Mapping[str, str] | None = None,
    body: object = None,
    seconds: float | None = None,
) -> tuple[int, bytes]:
    """Send a request and give the status and the whole (small) body.

    Args:
        session: See `open_session`.
        method: HTTP method.
        url: Where.
        whose: Which server, for messages.
        headers: Request headers.
        body: What to send as JSON.
        seconds: How long it may take; None is for ever.

    Raises:
        TaleError: See `transport_fault`; silence beyond `seconds` is `BackendUnavailable`.
    """
    try:
        with anyio.fail_after(seconds):
            async with open_reply(
                session, method, url, whose=whose, headers=headers, body=body
            ) as response:
                try:
                    content = await read_body(response)
                except BROKEN as error:
                    raise transport_fault(error, whose) from error
                return response.status, content
    except TimeoutError as error:
        raise BackendUnavailable(f"{whose} did not answer within {seconds} s.") from error


async def read_body(response: ClientResponse) -> bytes:
    """Read a body to its end; at most about 4 MiB of it."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > _MAX_BODY:
            break
    return b"".join(pieces)
