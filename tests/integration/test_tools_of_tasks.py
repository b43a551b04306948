"""Tasks that use the tools of a real MCP server: listed, called, asked for, and done without."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tale.config_tasks import McpServerSettings
from tale.models.caller import Script
from tale.tasks.mcp_tools import McpTools
from tale.wire.contracts import Event, VerdictRequest
from test_gateway import World, gateway, parse, quiet

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

SERVER = str(Path(__file__).parent.parent / "mcp_server.py")
WORK = "Write a Python script that prints what echo says"


def stdio(**more: Any) -> McpServerSettings:
    return McpServerSettings.model_validate({"command": sys.executable, "args": (SERVER,), **more})


@asynccontextmanager
async def world(
    home: Path, *answers: str, **servers: McpServerSettings
) -> AsyncGenerator[tuple[World, Path]]:
    spill = home / "outputs"
    async with (
        McpTools(servers, spill=spill, patience=15) as tools,
        gateway(home, *[Script([answer]) for answer in answers], external=tools) as made,
    ):
        yield made, spill


async def events(made: World, task: str) -> list[Event]:
    return parse((await made.events(f"task={task}")).text)


def prompts(made: World) -> str:
    return "\n".join(
        message.content for _, request in made.models.asked for message in request.messages
    )


async def test_a_tool_that_only_reads_is_called_without_a_question(tmp_path: Path) -> None:
    call = 'CALL: test.echo {"text": "grüß"}'
    done = "FILE: say.py\n```python\nprint('grüß')\n```\n"
    async with world(tmp_path, call, done, test=stdio()) as (made, _):
        task = await made.submit(WORK)
        told = await events(made, task.id)
        shown = await made.show(task.id)
    assert (shown.state, shown.files) == ("done", ("say.py",))
    said = prompts(made)
    assert 'test.echo {"text": string}: Say it back.' in said
    assert '`CALL: test.echo {"text": "grüß"}` gave:\ngrüß' in said
    acting = [event.data["what"] for event in told if event.kind == "acting"]
    assert acting[0] == "test.echo"


async def test_a_tool_that_may_change_something_waits_for_its_user(tmp_path: Path) -> None:
    call = 'CALL: test.flood {"size": 100000}'
    async with world(tmp_path, call, "It was much.", test=stdio()) as (made, spill):
        task = await made.submit("Run the flood of test")
        waits = await made.show(task.id, wait=20)
        assert waits.state == "waiting"
        assert waits.progress
        assert "May it use test.flood" in waits.progress.question
        await made.gateway.approve(VerdictRequest(id=task.id), quiet)
        told = await events(made, task.id)
    assert told[-1].kind == "done"
    [file] = spill.iterdir()
    assert file.stat().st_size == 100_003
    assert len(prompts(made)) < 80_000
    assert any(str(file) in str(event.data.get("text")) for event in told)


async def test_a_server_that_is_down_is_noted_and_the_others_tools_are_there(
    tmp_path: Path,
) -> None:
    hangs = McpServerSettings(command="sleep", args=("60",), start_seconds=0.5)
    done = "FILE: say.py\n```python\nprint('x')\n```\n"
    servers = {"test": stdio(), "hangs": hangs, "gone": McpServerSettings(command="no-such")}
    async with world(tmp_path, done, **servers) as (made, _):
        task = await made.submit(WORK)
        told = await events(made, task.id)
    notes = [str(event.data["text"]) for event in told if event.kind == "note"]
    assert any("'hangs' can't be reached: no answer within 0.5 s" in note for note in notes)
    assert any("'gone' can't be reached" in note for note in notes)
    assert told[-1].kind == "done"
    assert "test.echo" in prompts(made)
