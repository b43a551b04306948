"""An MCP server on standard input and output whose tools are the gateway's.

Most desktop assistants and editors start a program and speak MCP over its pipes. This is that
program: the SDK serves the client in whichever era of the protocol it speaks, and each call goes to
the gateway over a connection of its own, so that a daemon that is restarted is simply found again.
Progress, cancellation and questions to the user pass through. Above: `mcp`. Below: the SDK.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.session import ClientRequestContext, ElicitationFnT
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tale import __version__, trace
from tale.errors import TaleError
from tale.prompts import GATEWAY_TOOLS

__all__ = ["Address", "Find", "bridge_server"]

_REVISION: Final = "2026-07-28"
"""Spoken with the gateway: each request stands alone there, whatever the client speaks here."""
_SILENCE_SECONDS: Final = 60.0
"""Longest wait for a byte of the gateway's; it sends a comment every 15 s while it works."""

_Context = ServerRequestContext[Any]


@dataclass(frozen=True, slots=True)
class Address:
    """Where the gateway is now, and what lets one in."""

    url: str
    token: str


Find = Callable[[], Awaitable[Address]]
"""Finds the gateway, starting the daemon where it isn't running; raises `TaleError`."""


def bridge_server(find: Find) -> Server[Any]:
    """Make the server; `Server.run` serves one client with it."""

    async def list_tools(
        context: _Context, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        del context, params
        async with _gateway(find) as client:
            return await client.list_tools()

    async def call_tool(
        context: _Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        try:
            return await _call(find, context, params)
        except TaleError as error:
            said = " ".join(filter(None, (error.message, error.hint)))
            return types.CallToolResult(
                content=[types.TextContent(type="text", text=said)], is_error=True
            )

    return Server(
        "tale",
        version=__version__,
        title="tale",
        instructions=GATEWAY_TOOLS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _call(
    find: Find, context: _Context, params: types.CallToolRequestParams
) -> types.CallToolResult | types.InputRequiredResult:
    async def report(progress: float, total: float | None, message: str | None) -> None:
        await context.session.report_progress(progress, total, message)

    async with _gateway(find, context) as client:
        if context.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            # What the gateway asks is asked on the way, through `_asking`.
            return await client.call_tool(params.name, params.arguments, progress_callback=report)
        return await client.session.call_tool(
            params.name,
            params.arguments,
            progress_callback=report,
            input_responses=params.input_responses,
            request_state=params.request_state,
            allow_input_required=True,
        )


@asynccontextmanager
async def _gateway(find: Find, context: _Context | None = None) -> AsyncGenerator[Client]:
    """Connect to the gateway for one request."""
    address = await find()
    headers = {"Authorization": f"Bearer {address.token}", trace.TRACEPARENT: trace.outgoing()}
    timeout = httpx2.Timeout(10, read=_SILENCE_SECONDS)
    try:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=timeout) as http,
            Client(
                streamable_http_client(f"{address.url}/mcp", http_client=http),
                mode=_REVISION,
                elicitation_callback=_asking(context) if context and _may_ask(context) else None,
            ) as client,
        ):
            yield client
    except* httpx2.HTTPError as broken:
        raise MCPError(
            types.INTERNAL_ERROR, f"tale's gateway does not answer: {broken.exceptions[0]}."
        ) from broken


def _may_ask(context: _Context) -> bool:
    declared = context.session.client_capabilities
    return declared is not None and declared.elicitation is not None


def _asking(outer: _Context) -> ElicitationFnT:
    """Hand the gateway's question to the client's user, and the answer back."""

    async def ask(
        context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        del context
        if not isinstance(params, types.ElicitRequestFormParams):
            return types.ElicitResult(action="cancel")
        return await outer.session.elicit_form(
            params.message, params.requested_schema, outer.request_id
        )

    return ask
