"""What routes share: reading a body, heeding that its sender goes, errors in OpenAI's shape.

Above: `openai_api`, `chat_completions`, `embeddings`, `usage_api`, and the gateway's `web_api`.
Below: `openai_sse` for the error body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio
import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from tale.errors import InvalidRequest, TaleError
from tale.servers.openai_sse import error_body
from tale.telemetry import get_logger

__all__ = [
    "GONE",
    "MAX_BODY",
    "Disconnected",
    "answering",
    "body_of",
    "cancel_when_gone",
    "http_error",
    "json_reply",
    "read_body",
    "while_there",
]

log = get_logger(__name__)

ResultT = TypeVar("ResultT")

MAX_BODY: Final = 8 << 20
"""Largest request body in bytes; a prompt that fills a window of a million tokens is smaller."""
GONE: Final = 499
"""Status of an answer that nobody reads any more; nginx's word for it in logs."""


class _TooLarge(InvalidRequest):
    """The body is over the limit."""

    status = 413


class _NotFound(InvalidRequest):
    """Nothing is served there, or not with this method."""

    status = 404


class Disconnected(Exception):
    """The client is gone."""


async def http_error(request: Request, error: Exception) -> Response:
    """Give Starlette's own errors (no such path, wrong method) OpenAI's shape."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    found = _NotFound(
        f"{request.method} {request.url.path} is not served here.",
        hint="POST /v1/chat/completions, GET /v1/models, GET /pool.",
    )
    return Response(error_body(found, status), status, media_type="application/json")


def answering(
    handler: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Turn what a handler raises into an error body."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except TaleError as error:
            headers = {"x-should-retry": "false"}
            body = error_body(error)
            return Response(body, error.status, headers, media_type="application/json")
        except Disconnected:
            return Response(status_code=GONE)

    return answer


async def body_of(request: Request) -> bytes:
    """Read the whole body of a request; raises as `read_body` does."""
    return await read_body(request.receive, request.headers.get("content-length"))


async def read_body(receive: Receive, announced: str | None, most: int = MAX_BODY) -> bytes:
    """Read a whole body.

    Args:
        receive: Where it comes from.
        announced: The header `Content-Length`, if there is one.
        most: Its largest size, in bytes.

    Raises:
        InvalidRequest: It is larger (413).
        Disconnected: Its sender went away.
    """
    if announced and announced.isdigit() and int(announced) > most:
        raise _too_large(most)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > most:
            raise _too_large(most)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


async def while_there(request: Request, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Do what is of no use to anybody once the client is gone.

    Args:
        request: The client's, whose body has been read.
        work: Is cancelled when it goes.

    Raises:
        Disconnected: It went before the work was done.
        TaleError: What the work raised.
    """
    done: list[ResultT] = []
    failure: TaleError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancel_when_gone, request.receive, tasks.cancel_scope)
        try:
            done.append(await work())
        except TaleError as error:
            failure = error
        tasks.cancel_scope.cancel()
    if failure:
        raise failure
    if not done:
        raise Disconnected
    return done[0]


async def cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancel a scope once the sender of a body that has been read goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    log.debug("client.gone")
    scope.cancel()


def json_reply(value: object) -> Response:
    """Give a value, or a dataclass, as JSON."""
    return Response(orjson.dumps(value), media_type="application/json")


def _too_large(most: int) -> _TooLarge:
    return _TooLarge(
        f"The body is larger than {most >> 20} MiB.", hint="Send the part that matters."
    )
