"""What a client of the outside meets at `/mcp`: the official SDK, in both eras of the protocol."""

from __future__ import annotations

import itertools
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
import httpx2
import mcp_types as types
import pytest
import uvicorn
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tale.errors import TaskNotFound
from tale.servers.guard import Guard
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.runner import bind
from tale.wire.chat_contracts import CHAT, SESSION, SESSIONS
from tale.wire.checkpoint_contracts import CHECKPOINTS, FORK, PIN, RESTORE, UNPIN
from tale.wire.contracts import (
    CANCEL,
    LIST,
    PAUSE,
    RESUME,
    SHOW,
    SUBMIT,
    ListRequest,
    SubmitRequest,
    TaskList,
    TaskRequest,
    TaskView,
)
from tale.wire.execution_contracts import ACT, ASK
from tale.wire.portable_contracts import EXPORT, IMPORT, ExportReply, ExportRequest
from tale.wire.tool import Tool

pytestmark = pytest.mark.anyio

TOKEN = "token-of-the-test"
ERAS = ["2026-07-28", "legacy"]


def _view(text: str) -> TaskView:
    return TaskView(id="t-1", text=text, state="queued", workspace="/w", created=datetime.now(UTC))


async def _submit(request: SubmitRequest, progress: Progress) -> TaskView:
    del progress
    return _view(request.text)


async def _list(request: ListRequest, progress: Progress) -> TaskList:
    del request, progress
    return TaskList(tasks=(_view("one"), _view("two")))


async def _cancel(request: TaskRequest, progress: Progress) -> TaskView:
    """Tell a person's news: twice at 40 %, and once behind it."""
    for percent, words in ((40, "writes"), (40, "runs"), (30, "begins anew"), (90, "checks")):
        await progress({"percent": percent, "words": words})
    return _view(request.id)


async def _by_id(request: TaskRequest, progress: Progress) -> TaskView:
    del progress
    raise TaskNotFound(f"No task {request.id!r}.", hint="`list` gives them.")


async def _export(request: ExportRequest, progress: Progress) -> ExportReply:
    del progress
    raise TaskNotFound(f"No task {request.id!r}.")


class _Server(uvicorn.Server):
    """uvicorn that says when it takes requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@asynccontextmanager
async def connected(era: str) -> AsyncGenerator[Client]:
    """Serve the gateway's tools, and connect a client that has nothing of ours but the token."""
    app = McpApp("gateway", "Works in the background.")
    app.add(SUBMIT, _submit)
    app.add(SHOW, _by_id)
    app.add(LIST, _list)
    app.add(CANCEL, _cancel)
    app.add(EXPORT, _export)
    sock = bind(0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}/mcp"
    guarded = Guard(app.build(), TOKEN)
    server = _Server(
        uvicorn.Config(guarded, log_config=None, ws="none", timeout_graceful_shutdown=0)
    )
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [sock])
            await server.up.wait()
            async with (
                httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
                Client(streamable_http_client(url, http_client=http), mode=era) as client,
            ):
                yield client
            server.should_exit = True


@pytest.mark.parametrize("era", ERAS)
async def test_a_stranger_lists_the_tools_and_calls_one(era: str) -> None:
    async with connected(era) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        result = await client.call_tool("submit", {"text": "work"})
    assert names == {"submit", "show", "list", "cancel"}
    assert not result.is_error
    reply = TaskView.model_validate(result.structured_content)
    assert (reply.id, reply.text) == ("t-1", "work")
    assert isinstance(result.content[0], types.TextContent)
    assert TaskView.model_validate_json(result.content[0].text) == reply


@pytest.mark.parametrize("era", ERAS)
async def test_progress_comes_in_words_and_its_number_only_grows(era: str) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with connected(era) as client:
        await client.call_tool("cancel", {"id": "t-1"}, progress_callback=hear)
    numbers = [number for number, _, _ in heard]
    assert [words for _, _, words in heard] == ["writes", "runs", "begins anew", "checks"]
    assert all(a < b for a, b in itertools.pairwise(numbers))
    assert (numbers[0], round(numbers[1]), numbers[-1]) == (40, 40, 90)
    assert {total for _, total, _ in heard} == {100}


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_tool_is_an_error_of_the_protocol(era: str) -> None:
    async with connected(era) as client:
        with pytest.raises(MCPError, match="no tool 'nope'") as caught:
            await client.call_tool("nope", {})
    assert caught.value.code == types.INVALID_PARAMS


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("submit", {}, "text: Field required"),
        ("submit", {"text": "x", "colour": "red"}, "colour: Extra inputs are not permitted"),
        ("list", {"limit": 0}, "limit: Input should be greater than or equal to 1"),
        ("show", {"id": "t-9"}, "No task 't-9'. `list` gives them."),
    ],
)
async def test_what_a_model_can_mend_comes_back_as_a_result_that_names_it(
    era: str, tool: str, arguments: dict[str, object], told: str
) -> None:
    async with connected(era) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert isinstance(result.content[0], types.TextContent)
    assert told in result.content[0].text


async def test_what_names_files_of_this_machine_is_not_offered_and_serves_tale_itself() -> None:
    async with connected("2026-07-28") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        result = await client.call_tool("export", {"id": "t-9", "path": "/x/t.tale"})
    assert "export" not in names
    assert isinstance(result.content[0], types.TextContent)
    assert "No task 't-9'" in result.content[0].text


async def test_every_tool_says_what_it_is_called_and_what_comes_back() -> None:
    async with connected("2026-07-28") as client:
        tools = (await client.list_tools()).tools
    for tool in tools:
        assert tool.title
        assert tool.description
        assert tool.description.count(".") >= 2, f"{tool.name} says too little"
        for name, field in tool.input_schema["properties"].items():
            assert field["description"], f"{tool.name}.{name} is not described"


async def test_schemas_hold_no_titles_made_of_names_and_promise_every_field_of_a_reply() -> None:
    async with connected("2026-07-28") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    for tool in tools.values():
        # A field that is called so has a schema, no text.
        assert "'title': '" not in str((tool.input_schema, tool.output_schema))
        assert tool.input_schema["type"] == "object"
    promised = tools["show"].output_schema
    assert promised
    assert set(promised["required"]) == set(TaskView.model_fields)


async def test_annotations_tell_what_reads_what_ends_and_what_may_be_repeated() -> None:
    async with connected("2026-07-28") as client:
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    told = {
        name: (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint)
        for name, hints in tools.items()
        if hints
    }
    assert told == {
        # Without a key, the same submission is a new task each time.
        "submit": (False, True, False),
        "show": (True, False, True),
        "list": (True, False, True),
        "cancel": (False, True, True),
    }


async def test_the_list_of_tools_may_be_kept_a_while() -> None:
    async with connected("2026-07-28") as client:
        listed = await client.list_tools()
    assert (listed.ttl_ms, listed.cache_scope) == (300_000, "public")


@pytest.mark.parametrize(
    "tool",
    [
        *(SUBMIT, SHOW, LIST, CANCEL, PAUSE, RESUME),
        *(CHECKPOINTS, PIN, UNPIN, RESTORE, FORK),
        *(ASK, ACT, CHAT, SESSIONS, SESSION),
        *(EXPORT, IMPORT),
    ],
    ids=lambda t: t.name,
)
def test_what_only_reads_may_be_repeated(tool: Tool[TaskRequest, TaskView]) -> None:
    assert tool.title
    assert tool.idempotent or tool.effect != "reads"
