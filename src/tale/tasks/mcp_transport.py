"""A session with an external MCP server, through the SDK: over pipes to a program, or over HTTP.

Imported when the first such server is used: the SDK takes more than a second. Foreign errors become
tale's own here. Above: `mcp_tools`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Final, TextIO

import anyio
import httpx2
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters
from mcp.client._transport import TransportStreams
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage

from tale import __version__
from tale.config_tasks import McpServerSettings
from tale.errors import InvalidRequest, ServiceUnavailable
from tale.tasks.mcp_session import Answer, ExternalTool, McpSession
from tale.tasks.redaction import redact
from tale.telemetry import get_logger

__all__ = ["connect"]

log = get_logger(__name__)

_MAX_PAGES: Final = 20
_MOST_LOGGED: Final = 2_000
"""Bytes of one line of a program's complaints."""
_CLOSED: Final = types.CONNECTION_CLOSED
# A server answers when the tool is done, which may take as long as the call is given.
_HTTP_TIMEOUT: Final = httpx2.Timeout(30.0, read=None)


@asynccontextmanager
async def connect(name: str, settings: McpServerSettings) -> AsyncGenerator[McpSession]:
    """Open a session; the program of a server is ended with it.

    Raises:
        OSError: The program can't be started.
        MCPError: The server doesn't speak the protocol.
    """
    gone = anyio.Event()
    async with Client(
        _watched(_transport(name, settings), gone),
        client_info=types.Implementation(name="tale", version=__version__),
        cache=None,
    ) as client:
        yield _Session(client, await _tools(name, client), gone)


class _Session:
    def __init__(self, client: Client, tools: tuple[ExternalTool, ...], gone: anyio.Event) -> None:
        self._client = client
        self._gone = gone
        self.tools = tools

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Answer:
        """Call a tool."""
        try:
            result = await self._client.call_tool(tool, dict(arguments))
        except MCPError as error:
            if error.code == _CLOSED or self._gone.is_set():
                raise ServiceUnavailable(error.message) from error
            raise InvalidRequest(error.message) from error
        except (httpx2.HTTPError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise ServiceUnavailable(str(error) or type(error).__name__) from error
        return Answer(not result.is_error, _text(result))

    async def closed(self) -> None:
        """Wait until the server is gone."""
        await self._gone.wait()


@asynccontextmanager
async def _transport(
    name: str,
    settings: McpServerSettings,
) -> AsyncGenerator[TransportStreams]:
    if settings.command:
        # The environment is the SDK's list of harmless variables, and what the user adds.
        parameters = StdioServerParameters(
            command=settings.command,
            args=list(settings.args),
            env={name: value.get_secret_value() for name, value in settings.env.items()},
            cwd=settings.cwd or None,
        )
        with _complaints(name, settings) as errlog:
            async with stdio_client(parameters, errlog=errlog) as streams:
                yield streams
        return
    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=_HTTP_TIMEOUT) as http,
        streamable_http_client(settings.url, http_client=http) as streams,
    ):
        yield streams


@contextmanager
def _complaints(name: str, settings: McpServerSettings) -> Generator[TextIO]:
    """Give what takes a program's stderr: lines of the log, bounded, without its secrets."""
    reading, writing = os.pipe()
    secrets = settings.secrets()

    def pump() -> None:
        with os.fdopen(reading, "rb") as said:
            while line := said.readline(_MOST_LOGGED):
                if text := line.decode(errors="replace").strip():
                    log.info("mcp.said", server=name, text=redact(text, secrets))

    # Its end is that of the last process that has the pipe, which may outlive the session.
    threading.Thread(target=pump, name=f"mcp-{name}-stderr", daemon=True).start()
    with os.fdopen(writing, "w") as errlog:
        yield errlog


@asynccontextmanager
async def _watched(
    transport: AbstractAsyncContextManager[TransportStreams], gone: anyio.Event
) -> AsyncGenerator[TransportStreams]:
    """Pass messages on, and tell when no more will come: the server has ended.

    Without this, only a call would find out, and could not tell whether it was still done.
    """
    async with transport as (read, write):
        send, receive = anyio.create_memory_object_stream[SessionMessage | Exception](0)

        async def pump() -> None:
            async with send:
                async for message in read:
                    await send.send(message)
            gone.set()

        async with receive, anyio.create_task_group() as group:
            group.start_soon(pump)
            try:
                yield receive, write
            finally:
                group.cancel_scope.cancel()


async def _tools(server: str, client: Client) -> tuple[ExternalTool, ...]:
    found: list[ExternalTool] = []
    cursor: str | None = None
    for _ in range(_MAX_PAGES):  # a list without end must not hang a task
        page = await client.list_tools(cursor=cursor)
        found += [_tool(server, tool) for tool in page.tools]
        cursor = page.next_cursor
        if not cursor:
            break
    return tuple(found)


def _tool(server: str, tool: types.Tool) -> ExternalTool:
    hints = tool.annotations or types.ToolAnnotations()
    read_only = bool(hints.read_only_hint)
    return ExternalTool(
        server,
        tool.name,
        tool.description or "",
        tool.input_schema,
        read_only=read_only,
        repeatable=read_only or bool(hints.idempotent_hint),
    )


def _text(result: types.CallToolResult) -> str:
    """Put what came back in words; what is no text is named."""
    parts = [_block(block) for block in result.content]
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    return "\n".join(parts)


def _block(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent() | types.AudioContent():
            return f"[{block.type}, {block.mime_type}, {len(block.data) * 3 // 4:,} bytes]"
        case types.ResourceLink():
            return f"[link to {block.uri}]"
        case types.EmbeddedResource():
            resource = block.resource
            if isinstance(resource, types.TextResourceContents):
                return resource.text
            return f"[{resource.uri}, {len(resource.blob) * 3 // 4:,} bytes]"
