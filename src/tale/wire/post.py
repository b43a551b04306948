"""One tool call as one POST: the client side of MCP, revision 2026-07-28.

That revision has no session and no handshake: a request stands alone, carries the revision, the
method and the tool's name both in its body and in its headers, and is answered with JSON, or with
an event stream once the tool reports progress. The SDK's `Client` sends the same, but through a
session with streams, tasks and several validations of every message, which takes three quarters of
a call's time; its server judges what is sent here in every test. Closing the response cancels the
work behind it. Above: `instance`. Below: aiohttp. Beside: `cli.client`, the same over the standard
library.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)
from yarl import URL

from tale import __version__, trace
from tale.errors import Unauthorized, WireError
from tale.wire.event_stream import EventStream
from tale.wire.loose import as_object, read_object
from tale.wire.tool import DEADLINE_META

__all__ = ["REVISION", "Answer", "Broken", "Channel", "Garbled", "NotSent", "OnProgress"]

REVISION: Final = "2026-07-28"

OnProgress = Callable[[Mapping[str, Any]], Awaitable[None]]

_ID: Final = 1
"""Each POST is a conversation of its own, so one id serves all; it is the progress token too."""
_CONNECT_SECONDS: Final = 2.0
KEEP_ALIVE_SECONDS: Final = 60.0
"""How long a connection is kept unused. Servers keep theirs for longer, else one could close it at
the moment in which a call is sent."""
_CLIENT: Final = {
    PROTOCOL_VERSION_META_KEY: REVISION,
    CLIENT_INFO_META_KEY: {"name": "tale", "version": __version__},
    CLIENT_CAPABILITIES_META_KEY: {},
}
_HEADERS: Final = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "Mcp-Protocol-Version": REVISION,
    "Mcp-Method": "tools/call",
}


class NotSent(Exception):
    """The request was not taken: making it again is always safe."""


class Broken(Exception):
    """The connection ended after the request was sent and before the whole answer was there."""


class Garbled(WireError):
    """The answer is none that MCP knows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A tool's result.

    Attributes:
        content: The structured content.
        failed: Whether it says how the tool failed.
    """

    content: Mapping[str, Any]
    failed: bool


class Channel:
    """Kept connections to one process. Made inside of an event loop; `aclose` it at the end."""

    def __init__(self, url: str, token: str, name: str) -> None:
        """Connect to nothing yet.

        Args:
            url: Scheme, host and port.
            token: The bearer token.
            name: What errors call the process.
        """
        self._mcp = URL(f"{url}/mcp")
        self._health = URL(f"{url}/healthz")
        self._name = name
        self._session = aiohttp.ClientSession(
            # Callers bound what is under way; a second bound here would only hide the queue.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            headers={**_HEADERS, "Authorization": f"Bearer {token}"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )

    async def aclose(self) -> None:
        """Close every connection; a call in flight breaks."""
        await self._session.close()

    async def ping(self) -> None:
        """See whether the process answers at all; also makes a connection ahead of the first call.

        Raises:
            OSError: It does not; a process that hangs lets this wait for ever.
        """
        try:
            async with self._session.get(self._health) as response:
                await response.read()
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error

    async def call(
        self,
        tool: str,
        arguments: bytes,
        *,
        seconds: float,
        on_progress: OnProgress | None = None,
        on_life: Callable[[], None] = lambda: None,
    ) -> Answer:
        """Call a tool. Cancelling ends the work on the server.

        Args:
            tool: Its name.
            arguments: Its arguments, as a JSON object.
            seconds: What the caller's time is, for the server to keep to.
            on_progress: Gets each progress message, in order, before the answer.
            on_life: Is called whenever something arrives.

        Raises:
            NotSent: The process did not take it.
            Broken: The connection broke afterwards.
            WireError: It was refused, or the answer can't be understood.
        """
        body = _request(tool, arguments, seconds, progress=on_progress is not None)
        headers = {"Mcp-Name": tool, trace.TRACEPARENT: body.traceparent}
        try:
            response = await self._session.post(self._mcp, data=body.data, headers=headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(str(error)) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Broken(str(error) or type(error).__name__) from error
        on_life()
        try:
            async for text in _messages(response, on_life):
                message = self._parsed(text, response.status, tool)
                if message.get("method") == "notifications/progress":
                    if on_progress is not None:
                        await on_progress(_progress(message))
                elif "result" in message or "error" in message:
                    return self._answer(message, tool)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Broken(str(error) or type(error).__name__) from error
        finally:
            # Read to its end, the connection is kept; else it is closed, which cancels the work.
            response.release() if response.content.at_eof() else response.close()
        raise Broken("the answer ended before its result")

    def _parsed(self, text: bytes, status: int, tool: str) -> Mapping[str, Any]:
        message = read_object(text)
        if status == 503:
            # The server says that it did not take the request: it is full, or not there yet.
            raise NotSent(f"HTTP {status}")
        if status in (401, 403):
            raise Unauthorized(
                f"{self._name} refused the token: {_said(message) or f'HTTP {status}'}",
                hint="Was the token's file replaced? `tale stop`, and start it again.",
            )
        if status >= 500:
            # Our applications answer errors as JSON-RPC: this is uvicorn, cut off as it drained.
            raise Broken(f"HTTP {status}")
        if message is None or (status != 200 and "error" not in message):
            begin = text[:40].decode(errors="replace")
            raise Garbled(
                f"{self._name} answered {tool} with HTTP {status} and {begin!r}, which is not MCP.",
                hint="Is it a server of tale's? `tale status` shows whose address that is.",
            )
        return message

    def _answer(self, message: Mapping[str, Any], tool: str) -> Answer:
        if "error" in message:
            raise WireError(f"{self._name} refused {tool}: {_said(message)}")
        result = as_object(message["result"])
        if "structuredContent" not in result:
            raise Garbled(f"{self._name} answered {tool} with a result that has no content.")
        return Answer(as_object(result["structuredContent"]), bool(result.get("isError")))


@dataclass(frozen=True, slots=True)
class _Body:
    data: bytes
    traceparent: str


def _request(tool: str, arguments: bytes, seconds: float, *, progress: bool) -> _Body:
    traceparent = trace.outgoing()
    meta: dict[str, object] = {
        **_CLIENT,
        DEADLINE_META: round(seconds, 3),
        trace.TRACEPARENT: traceparent,
    }
    if progress:
        meta["progressToken"] = _ID
    params = {"name": tool, "arguments": orjson.Fragment(arguments), "_meta": meta}
    message = {"jsonrpc": "2.0", "id": _ID, "method": "tools/call", "params": params}
    return _Body(orjson.dumps(message), traceparent)


async def _messages(
    response: aiohttp.ClientResponse, on_life: Callable[[], None]
) -> AsyncGenerator[bytes]:
    """Give the JSON texts of an answer: one, or those of its events."""
    if response.content_type != "text/event-stream":
        yield await response.read()
        return
    stream = EventStream()
    async for piece in response.content.iter_any():
        on_life()
        for text in stream.feed(piece):
            yield text


def _progress(message: Mapping[str, Any]) -> Mapping[str, Any]:
    # What isn't an object came from a server that isn't ours.
    return read_object(str(as_object(message.get("params")).get("message"))) or {}


def _said(message: Mapping[str, Any] | None) -> str:
    return str(as_object((message or {}).get("error")).get("message", ""))
