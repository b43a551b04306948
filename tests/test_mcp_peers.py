"""Our client against the SDK's server, the SDK's client against ours, and time in between."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import anyio
import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from desk import COUNT, ECHO, FAIL, HANG, TOKEN, Ask, Desk, Told, calling, peer, serving
from tale import trace
from tale.errors import WireError
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.runner import bind
from tale.wire.peers import FixedPeers
from tale.wire.post import Channel
from tale.wire.tool import Tool

pytestmark = pytest.mark.anyio


class Sum(BaseModel):
    """What a tool of theirs gives."""

    total: int


@asynccontextmanager
async def their_server() -> AsyncGenerator[str]:
    server = MCPServer("theirs")

    @server.tool()
    async def add(a: int, b: int, context: Context) -> Sum:  # pyright: ignore[reportUnusedFunction]
        await context.report_progress(1, 2, "halfway")
        return Sum(total=a + b)

    @server.tool()
    async def fail() -> Sum:  # pyright: ignore[reportUnusedFunction]
        raise ValueError("no sum today")

    sock = bind(0)
    config = uvicorn.Config(server.streamable_http_app(), log_config=None, ws="none")
    web = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(web.serve, [sock])
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        web.should_exit = True


@asynccontextmanager
async def channel(url: str) -> AsyncGenerator[Channel]:
    one = Channel(url, TOKEN, "peer")
    try:
        yield one
    finally:
        await one.aclose()


@asynccontextmanager
async def their_client(url: str, mode: str) -> AsyncGenerator[Client]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def test_our_client_calls_a_tool_of_a_server_that_is_not_ours() -> None:
    seen: list[Mapping[str, object]] = []

    async def note(data: Mapping[str, object]) -> None:
        seen.append(data)

    async with their_server() as url, channel(url) as ours:
        answer = await ours.call("add", b'{"a": 2, "b": 3}', seconds=10, on_progress=note)
    assert (answer.content, answer.failed) == ({"total": 5}, False)
    assert len(seen) == 1


async def test_our_client_says_what_a_server_that_is_not_ours_refuses() -> None:
    async with their_server() as url, channel(url) as ours:
        with pytest.raises(WireError, match="peer"):
            await ours.call("fail", b"{}", seconds=10)


@pytest.mark.parametrize("mode", ["2026-07-28", "auto"])
async def test_their_client_calls_our_tools_lists_them_and_hears_progress(mode: str) -> None:
    heard: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        heard.append(progress)

    async with (
        serving(Desk()) as port,
        their_client(f"http://127.0.0.1:{port}", mode) as client,
    ):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        echoed = await client.call_tool("echo", {"text": "hello"})
        counted = await client.call_tool("count", {"count": 3}, progress_callback=note)
        failed = await client.call_tool("fail", {})
        wrong = await client.call_tool("echo", {"text": ["no", "text"]})
    assert {ECHO.name, COUNT.name, FAIL.name, "small"} <= tools.keys()
    assert "small_many" not in tools  # for tale's own processes
    assert echoed.structured_content == {"text": "hello"}
    assert counted.structured_content == {"text": "counted"}
    assert sorted(heard) == [1, 2, 3]
    assert failed.is_error
    assert (failed.structured_content or {})["error"]["code"] == "task_not_found"
    assert wrong.is_error


async def test_a_handler_is_ended_when_the_time_is_up_that_came_with_the_call() -> None:
    desk = Desk()
    async with serving(desk) as port, channel(f"http://127.0.0.1:{port}") as ours:
        answer = await ours.call(HANG.name, b"{}", seconds=0.05)
    assert answer.failed
    assert answer.content["error"]["code"] == "deadline_exceeded"
    assert desk.cancelled.is_set()


async def test_a_trace_goes_through_every_server_on_the_way() -> None:
    where = Tool("desk", "where", "Say which trace this is.", Ask, Told)
    onward = Tool("desk", "onward", "Ask the next one.", Ask, Told)

    async def tell(request: Ask, progress: Progress) -> Told:
        del request, progress
        here = trace.current()
        return Told(text=here.id if here else "")

    last = Desk()
    last.app.add(where, tell)
    async with serving(last) as port, calling(FixedPeers(peer(port))) as services:

        async def ask(request: Ask, progress: Progress) -> Told:
            del progress
            return await services.call(where, request, deadline=5)

        first = Desk()
        first.app = McpApp("desk", "Asks the next one.")
        first.app.add(onward, ask)
        async with serving(first) as door, calling(FixedPeers(peer(door))) as callers:
            begun = trace.enter(None)
            assert (await callers.call(onward, Ask(), deadline=10)).text == begun.id
