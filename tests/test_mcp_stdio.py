"""`tale mcp`: a client over pipes has the gateway's tools, progress and questions, in both eras."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.client.session import ClientRequestContext
from mcp.client.stdio import stdio_client
from typer.testing import CliRunner

from fake_daemon import TOKEN, FakeDaemon
from tale.cli.mcp_snippets import CLIENTS, snippet
from tale.cli.mcp_stdio import app as command
from tale.errors import TaskNotFound
from tale.servers.eliciting import Filled, Form
from tale.servers.guard import Guard
from tale.servers.mcp_app import McpApp, Progress
from tale.wire.contracts import CANCEL, SHOW, SUBMIT, SubmitRequest, TaskRequest, TaskView

ERAS = ["2026-07-28", "legacy"]


def _view(identifier: str, **fields: Any) -> TaskView:
    now = datetime.now(UTC)
    return TaskView(
        id=identifier, text="work", state="queued", workspace="/w", created=now, **fields
    )


async def _submit(request: SubmitRequest, progress: Progress) -> TaskView:
    del progress
    return _view("t-1").model_copy(update={"text": request.text})


async def _cancel(request: TaskRequest, progress: Progress) -> TaskView:
    for percent, words in ((40, "writes"), (90, "checks")):
        await progress({"percent": percent, "words": words})
    return _view(request.id)


async def _show(request: TaskRequest, progress: Progress) -> TaskView:
    del progress
    raise TaskNotFound(f"No task {request.id!r}.", hint="`list` gives them.")


class _Colour:
    """Asks about each task that is submitted which colour it is to have."""

    def __init__(self) -> None:
        self.told: list[Filled] = []

    async def form(self, request: SubmitRequest, reply: TaskView) -> Form | None:
        del reply
        fields = {"type": "object", "properties": {"colour": {"type": "string"}}}
        return None if self.told else Form("colour", f"Which colour, for {request.text}?", fields)

    async def take(self, request: SubmitRequest, key: str, filled: Filled) -> None:
        del request, key
        self.told.append(filled)

    async def settled(self, request: SubmitRequest, reply: TaskView) -> None:
        del request, reply
        await anyio.sleep_forever()


@contextmanager
def gateway(colour: _Colour) -> Generator[str]:
    """Serve some of the gateway's tools; gives the address."""
    app = McpApp("gateway", "Works in the background.")
    app.add(SUBMIT, _submit, asks=colour)
    app.add(CANCEL, _cancel)
    app.add(SHOW, _show)
    sock = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(Guard(app.build(), TOKEN), log_config=None, ws="none", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([sock],))
    thread.start()
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    sock.close()


def program(home: Path) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "tale.cli", "mcp"],
        env={"TALE_HOME": str(home), "PATH": os.environ["PATH"]},
    )


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_a_client_over_pipes_has_what_the_gateway_has(tmp_path: Path, era: str) -> None:
    heard: list[str | None] = []
    asked: list[str] = []
    colour = _Colour()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del progress, total
        heard.append(message)

    async def ask(
        context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        del context
        asked.append(params.message)
        return types.ElicitResult(action="accept", content={"colour": "red"})

    with FakeDaemon(tmp_path).running() as daemon, gateway(colour) as daemon.url:
        transport = stdio_client(program(tmp_path))
        with anyio.fail_after(110):
            async with Client(transport, mode=era, elicitation_callback=ask) as client:
                names = {tool.name for tool in (await client.list_tools()).tools}
                submitted = await client.call_tool("submit", {"text": "work"})
                cancelled = await client.call_tool("cancel", {"id": "t-7"}, progress_callback=hear)
                missing = await client.call_tool("show", {"id": "t-9"})
    assert names == {"submit", "cancel", "show"}
    assert TaskView.model_validate(submitted.structured_content).text == "work"
    assert asked == ["Which colour, for work?"]
    assert colour.told == [Filled("accept", {"colour": "red"})]
    assert TaskView.model_validate(cancelled.structured_content).id == "t-7"
    # The SDK may let a result overtake the progress before it.
    assert heard[:1] == ["writes"]
    assert missing.is_error
    assert isinstance(missing.content[0], types.TextContent)
    assert "No task 't-9'" in missing.content[0].text


@pytest.mark.parametrize("client", CLIENTS)
def test_each_clients_settings_start_tale(client: str) -> None:
    text = snippet(client, ["/opt/tale bin/tale", "mcp"], {"TALE_HOME": 'a "home"'})
    read: dict[str, Any] = tomllib.loads(text) if client == "codex" else json.loads(text)
    (servers,) = read.values()
    program = servers["tale"]
    assert (program["command"], program["args"]) == ("/opt/tale bin/tale", ["mcp"])
    assert program["env"] == {"TALE_HOME": 'a "home"'}


def test_what_needs_no_variables_names_none() -> None:
    assert "env" not in snippet("cursor", ["tale", "mcp"], {})
    assert "env" not in snippet("codex", ["tale", "mcp"], {})


def test_an_unknown_client_is_told_who_is_known() -> None:
    result = CliRunner().invoke(command, ["--config", "word"])
    assert result.exit_code == 1
    assert "Nothing is known of a client 'word'." in str(result.exception)


def test_a_clients_settings_are_printed_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALE_HOME", "/somewhere")
    result = CliRunner().invoke(command, ["--config", "cursor"])
    program = json.loads(result.stdout)["mcpServers"]["tale"]
    assert program["args"][-1] == "mcp"
    assert program["env"]["TALE_HOME"] == "/somewhere"
