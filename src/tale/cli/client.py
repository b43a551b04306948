"""Calling a tool of one of our MCP servers, one POST a call.

Importing the official SDK's client takes 1.3 s, longer than the calls of a whole `tale submit`.
Revision 2026-07-28 needs little of it: no session and no handshake, every POST stands alone and
carries the revision, the method and the tool's name both in its body and in its headers, and is
answered with JSON, or with an event stream once the tool reports progress. What the SDK checks
(`mcp.shared.inbound.classify_inbound_request`) is what is sent here; a test runs this against it.
Above: `connection`. Below: `transport`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from tale import __version__
from tale.cli.record import JsonObject, JsonValue, Record
from tale.cli.transport import SILENCE_SECONDS, Broken, exchange, sse_data
from tale.errors import TaleError, WireError, error_from_code

__all__ = ["REVISION", "McpClient", "OnProgress"]

REVISION = "2026-07-28"
_ID = (
    1  # each POST is a conversation of its own, so one id serves all; it is the progress token too
)
_META = "io.modelcontextprotocol/"

OnProgress = Callable[[Record], None]


class McpClient:
    """Calls the tools of one server."""

    def __init__(self, url: str, token: str, *, silence: float = SILENCE_SECONDS) -> None:
        """Keep the address; nothing is sent.

        Args:
            url: Scheme, host and port.
            token: The daemon's bearer token.
            silence: Longest wait for the next byte, in seconds.
        """
        self._url = f"{url}/mcp"
        self._token = token
        self._silence = silence

    def call(
        self,
        tool: str,
        arguments: Mapping[str, JsonValue],
        on_progress: OnProgress | None = None,
    ) -> Record:
        """Call a tool and wait for its result. An exception in between ends the call at the server.

        Args:
            tool: Its name.
            arguments: Its arguments.
            on_progress: Gets what the tool reports meanwhile, in order.

        Raises:
            NotSent: Nobody listens there.
            Broken: The connection ended before the result came.
            TaleError: What the tool or the server reported.
        """
        with exchange(
            "POST",
            self._url,
            token=self._token,
            body=_request(tool, arguments),
            headers={
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": REVISION,
                "Mcp-Method": "tools/call",
                "Mcp-Name": tool,
            },
            silence=self._silence,
        ) as response:
            streamed = response.headers.get_content_type() == "text/event-stream"
            texts = sse_data(response) if streamed else iter([response.read().decode()])
            for message in _messages(texts, self._url):
                if message.text("method") == "notifications/progress":
                    if on_progress is not None:
                        on_progress(_decoded(message.record("params").text("message")))
                elif "result" in message or "error" in message:
                    return _result(message, tool)
        raise Broken(f"{self._url} ended its answer to {tool!r} before the result.")


def _request(tool: str, arguments: Mapping[str, JsonValue]) -> bytes:
    meta: JsonObject = {
        f"{_META}protocolVersion": REVISION,
        f"{_META}clientInfo": {"name": "tale-cli", "version": __version__},
        f"{_META}clientCapabilities": {},
        "progressToken": _ID,
    }
    params: JsonObject = {"name": tool, "arguments": dict(arguments), "_meta": meta}
    message: JsonObject = {
        "jsonrpc": "2.0", "id": _ID, "method": "tools/call", "params": params,
    }  # fmt: skip
    return json.dumps(message).encode()


def _messages(texts: Iterator[str], url: str) -> Iterator[Record]:
    for text in texts:
        try:
            yield Record.parse(text)
        except ValueError as error:
            raise WireError(f"{url} answered with something that is not JSON.") from error


def _decoded(text: str) -> Record:
    """Read a progress message; what isn't JSON came from a server that isn't ours."""
    try:
        return Record.parse(text)
    except ValueError:
        return Record()


def _result(message: Record, tool: str) -> Record:
    if "error" in message:
        error = message.record("error")
        raise WireError(
            f"The call of {tool!r} was refused: {error.text('message')} ({error.integer('code')})."
        )
    result = message.record("result")
    structured = result.record("structuredContent")
    if result.flag("isError"):
        raise _failure(structured.record("error"), result, tool)
    return structured


def _failure(error: Record, result: Record, tool: str) -> TaleError:
    said = " ".join(part.text("text") for part in result.records("content"))
    return error_from_code(
        error.text("code", "wire_error"),
        error.text("message") or said or f"The tool {tool!r} failed and did not say why.",
        error.text("hint"),
    )
