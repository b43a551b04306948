"""How the reply to one chat completion goes out: whole, as an error, or piece by piece.

Raw ASGI, one message a piece. Above: `chat_completions`. What is in the pieces: `openai_sse`.
"""

from __future__ import annotations

from starlette.types import Send

from tale.errors import ServiceUnavailable, TaleError
from tale.models.headers import REQUEST_HEADER
from tale.servers.openai_sse import error_body

__all__ = ["ChatReply", "Headers"]

Headers = list[tuple[bytes, bytes]]


class ChatReply:
    """What goes back to the caller of one chat completion; every reply names the request."""

    def __init__(self, send: Send, request_id: str = "") -> None:
        self._send = send
        self._id: Headers = [(REQUEST_HEADER.encode(), request_id.encode())] if request_id else []

    async def whole(self, status: int, body: bytes, headers: Headers) -> None:
        """Send everything at once."""
        sizes = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self._begin(status, headers + sizes)
        await self.piece(body, more=False)

    async def error(self, error: TaleError) -> None:
        """Send what went wrong."""
        headers = [(b"x-should-retry", b"false")]  # the pool has tried whoever could answer
        if isinstance(error, ServiceUnavailable):
            headers = [(b"retry-after", b"1")]
        await self.whole(error.status, error_body(error), headers)

    async def begin_stream(self, headers: Headers) -> None:
        """Say that an answer comes piece by piece."""
        kind = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await self._begin(
            200, headers + kind + [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        )

    async def piece(self, body: bytes, *, more: bool = True) -> None:
        """Send a piece."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _begin(self, status: int, headers: Headers) -> None:
        await self._send(
            {"type": "http.response.start", "status": status, "headers": headers + self._id}
        )
