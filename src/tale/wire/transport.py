"""The HTTP below the MCP client: aiohttp behind httpx2's transport interface.

The SDK brings httpx2, whose way of a POST takes most of a call's processor time; aiohttp's, half in
C, lets one client make 1.5 times the calls. And the SDK ends a whole client at any exception of its
transport, so that a failure to send is turned into an answer here: then only the call concerned
fails, and the client survives its server's restart. Above: `pool`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import aiohttp
import httpx2
import orjson

__all__ = ["CONNECTION_CLOSED", "NOT_SENT", "AiohttpTransport"]

NOT_SENT: Final = -32010
"""JSON-RPC code (of the range free for servers) for a request that never left this process."""
CONNECTION_CLOSED: Final = -32000
"""JSON-RPC code of the SDK for a request whose connection broke after it was sent."""

_CONNECT_SECONDS: Final = 2.0
# aiohttp decodes the body and frames it itself; these would be said twice, or wrongly.
_HOP_BY_HOP: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """One connection pool to one process, without a limit but the callers' own."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> AiohttpTransport:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )
        return self

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session:
            await self._session.close()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send, or answer 503 with a JSON-RPC error that says what happened."""
        if self._session is None:
            raise RuntimeError("the transport must be entered before it is used")
        headers = [(n, v) for n, v in request.headers.items() if n.lower() not in _HOP_BY_HOP]
        try:
            response = await self._session.request(
                request.method, str(request.url), headers=headers, data=await request.aread()
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return _as_answer(NOT_SENT, error)
        except (aiohttp.ClientError, TimeoutError) as error:
            return _as_answer(CONNECTION_CLOSED, error)
        if response.status >= 500:
            # Our applications answer errors as JSON-RPC: this is uvicorn, cut off while it drained.
            response.close()
            return _as_answer(CONNECTION_CLOSED, f"HTTP {response.status}")
        return httpx2.Response(
            response.status, headers=list(response.headers.items()), stream=_Body(response)
        )


class _Body(httpx2.AsyncByteStream):
    """A response's body, as it comes."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        try:
            async for data in self._response.content.iter_any():
                yield data
        except (aiohttp.ClientError, TimeoutError) as error:
            raise httpx2.ReadError(str(error)) from error

    async def aclose(self) -> None:
        # Read to its end, the connection is kept; else it is closed, which stops the server's work.
        self._response.close() if not self._response.content.at_eof() else self._response.release()


def _as_answer(code: int, error: object) -> httpx2.Response:
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": str(error)}}
    return httpx2.Response(
        503, headers={"content-type": "application/json"}, content=orjson.dumps(body)
    )
