"""The client that the suite starts: ours, the way `wire.pool` or `cli.client` connects.

Usage: `python -m tests.conformance.client pool|command-line URL`. Which scenario it is in, the
suite says in the environment; mostly it lists the tools and calls each once.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any, cast

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tale.cli.client import McpClient
from tale.errors import TaleError
from tale.wire.transport import AiohttpTransport

_TOKEN = "token-of-the-suite"
_MODERN = "2026-07-28"
_VALUES: dict[str, object] = {"number": 5, "integer": 3, "boolean": True, "object": {}, "array": []}
_SECONDS = 20


async def _pool(url: str) -> None:
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    revision = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", _MODERN)
    async with (
        httpx2.AsyncClient(
            transport=AiohttpTransport(),
            headers={"Authorization": f"Bearer {_TOKEN}"},
            timeout=None,
        ) as http,
        Client(
            streamable_http_client(url, http_client=http),
            mode=revision if revision >= _MODERN else "legacy",
            cache=None,
        ) as client,
    ):
        # Whether a refusal was right is the suite's to judge.
        with suppress(MCPError):
            for name, arguments in await _calls(client, scenario):
                await client.call_tool(name, arguments, read_timeout_seconds=_SECONDS)


async def _calls(client: Client, scenario: str) -> list[tuple[str, dict[str, Any]]]:
    tools = (await client.list_tools()).tools
    context = cast("dict[str, Any]", json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}"))
    if calls := cast("list[dict[str, Any]]", context.get("toolCalls", [])):
        return [(call["name"], call["arguments"]) for call in calls]
    if scenario == "json-schema-2020-12-preservation":
        return [("json_schema_echo", {"schema": tools[0].input_schema})]
    return [(tool.name, _arguments(tool.input_schema)) for tool in tools]


def _arguments(schema: dict[str, Any]) -> dict[str, Any]:
    fields = cast("dict[str, dict[str, Any]]", schema.get("properties", {}))
    return {name: _VALUES.get(field.get("type", ""), "text") for name, field in fields.items()}


def _command_line(url: str) -> None:
    # It calls tools that it knows, without listing them.
    with suppress(TaleError):
        McpClient(url.removesuffix("/mcp"), _TOKEN).call("add_numbers", {"a": 5, "b": 3})


if __name__ == "__main__":
    way, server = sys.argv[1:]
    if way == "pool":
        anyio.run(_pool, server)
    else:
        _command_line(server)
