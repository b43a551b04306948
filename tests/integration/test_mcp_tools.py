"""Tools of real MCP servers: a program that speaks over its pipes, and one that speaks HTTP."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import psutil
import pytest

from tale.config_tasks import McpServerSettings
from tale.tasks.mcp_tools import McpTools

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

SERVER = str(Path(__file__).parent.parent / "mcp_server.py")


def stdio(**more: Any) -> McpServerSettings:
    return McpServerSettings.model_validate({"command": sys.executable, "args": (SERVER,), **more})


@pytest.fixture
async def tools() -> AsyncGenerator[McpTools]:
    servers = {
        "test": stdio(env={"MY_TOKEN": "s3cret"}, tools={"flood": "deny"}, call_seconds=20),
        "off": stdio(disabled=True),
    }
    async with McpTools(servers) as tools:
        yield tools


async def test_a_program_is_started_once_and_its_tools_are_called(tools: McpTools) -> None:
    known = {tool.full_name: tool for tool in (await tools.listed())[0]}
    assert known["test.echo"].read_only
    assert known["test.echo"].description == "Say it back."
    assert "text" in str(known["test.echo"].schema)
    assert not known["test.crash"].read_only
    assert "test.flood" not in known
    answers = [await tools.call("test", "process", {}) for _ in range(2)]
    assert answers[0] == answers[1]
    assert (await tools.call("test", "echo", {"text": "grüß"})).text == "grüß"


async def test_a_program_gets_what_the_user_gives_it_and_no_other_secret(
    tools: McpTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "other")
    names = (await tools.call("test", "environment", {})).text.split()
    assert "MY_TOKEN" in names
    assert "API_KEY" not in names


async def test_what_a_program_complains_about_is_logged_without_its_secrets(
    tools: McpTools, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert (await tools.call("test", "complain", {"variable": "MY_TOKEN"})).ok
    with anyio.fail_after(10):
        while "it is [hidden]" not in _logged(caplog):
            await anyio.lowlevel.checkpoint()
    assert "s3cret" not in _logged(caplog)


def _logged(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(str(vars(one)) for one in caplog.records)


@pytest.mark.parametrize(
    ("server", "tool", "arguments", "says"),
    [
        ("none", "echo", {}, "no MCP server 'none'. There are: test."),
        ("off", "echo", {}, "no MCP server 'off'"),
        ("test", "none", {}, "has no tool 'none'. It has: echo, process"),
        ("test", "echo", {}, "text"),
        ("test", "fail", {}, "it can't be done"),
        ("test", "flood", {"size": 1}, "doesn't allow test.flood"),
    ],
)
async def test_what_can_not_be_called_is_told_exactly(
    tools: McpTools, server: str, tool: str, arguments: dict[str, object], says: str
) -> None:
    outcome = await tools.call(server, tool, arguments)
    assert not outcome.ok
    assert says in outcome.text


async def test_a_program_that_was_killed_is_started_again(tools: McpTools) -> None:
    first = int((await tools.call("test", "process", {})).text)
    os.kill(first, signal.SIGKILL)
    second = await tools.call("test", "process", {})
    assert second.ok
    assert int(second.text) != first


async def test_a_call_that_was_cut_off_is_made_again_only_if_that_is_harmless(
    tools: McpTools, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    cut = await tools.call("test", "crash", {"log": str(log)})
    assert not cut.ok
    assert "may have been done, or not" in cut.text
    assert log.read_text() == "called\n"
    again = await tools.call("test", "crash_once", {"log": str(tmp_path / "other")})
    assert (again.ok, again.text) == (True, "fine now")


async def test_a_call_that_takes_too_long_is_given_up_and_the_next_is_answered() -> None:
    async with McpTools({"test": stdio(call_seconds=1)}) as tools:
        assert (await tools.listed())[0]
        slow = await tools.call("test", "hang", {})
        assert "no answer within 1 s" in slow.text
        assert (await tools.call("test", "echo", {"text": "x"})).ok


async def test_a_long_answer_is_cut() -> None:
    async with McpTools({"test": stdio()}) as tools:
        text = (await tools.call("test", "flood", {"size": 1_000_000})).text
    assert len(text) < 40_000
    assert "bytes left out" in text
    assert text.endswith("end")


@pytest.mark.parametrize(
    ("server", "says"),
    [
        (McpServerSettings(command="no-such-program"), "no-such-program"),
        (McpServerSettings(command="/bin/true"), "closed"),
        (McpServerSettings(command="sleep", args=("60",), start_seconds=0.5), "within 0.5 s"),
        (McpServerSettings(url="http://127.0.0.1:9/mcp"), ""),
    ],
)
async def test_a_server_that_does_not_come_up_is_said_and_hinders_no_other(
    server: McpServerSettings, says: str
) -> None:
    async with McpTools({"bad": server, "test": stdio()}) as tools:
        outcome = await tools.call("bad", "echo", {})
        assert "'bad' can't be reached" in outcome.text
        assert says.lower() in outcome.text.lower()
        found, missing = await tools.listed()
        assert {tool.server for tool in found} == {"test"}
        assert set(missing) == {"bad"}


async def test_a_program_that_is_not_there_is_named() -> None:
    settings = McpServerSettings.model_validate({"command": "no-such-program", "args": ("x",)})
    async with McpTools({"bad": settings}) as tools:
        _, missing = await tools.listed()
    assert missing == {"bad": "'no-such-program' can't be started: No such file or directory"}


async def test_leaving_ends_the_programs() -> None:
    async with McpTools({"test": stdio()}) as tools:
        pid = int((await tools.call("test", "process", {})).text)
    assert not psutil.pid_exists(pid)


class TestHttp:
    @pytest.fixture
    def port(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as free:
            return free.getsockname()[1]

    @pytest.fixture
    def server(self, port: int) -> Generator[subprocess.Popen[bytes]]:
        process = _serve(port)
        yield process
        process.kill()
        process.wait()

    async def test_its_tools_are_called_with_the_headers_that_the_user_gave(
        self, server: subprocess.Popen[bytes], port: int
    ) -> None:
        url = f"http://127.0.0.1:{port}/mcp"
        settings = McpServerSettings.model_validate({"url": url, "headers": {"X-Key": "s3cret"}})
        async with McpTools({"web": settings, "locked": McpServerSettings(url=url)}) as tools:
            assert (await tools.call("web", "echo", {"text": "x"})).text == "x"
            assert "can't be reached" in (await tools.call("locked", "echo", {})).text
            assert server.poll() is None

    async def test_it_is_reached_again_after_it_was_away(
        self, server: subprocess.Popen[bytes], port: int
    ) -> None:
        url = f"http://127.0.0.1:{port}/mcp"
        settings = McpServerSettings.model_validate({"url": url, "headers": {"X-Key": "s3cret"}})
        async with McpTools({"web": settings}) as tools:
            assert (await tools.call("web", "echo", {"text": "x"})).ok
            server.kill()
            server.wait()
            away = await tools.call("web", "echo", {"text": "x"})
            assert not away.ok
            assert "'web'" in away.text
            other = await anyio.to_thread.run_sync(_serve, port)
            try:
                assert (await tools.call("web", "echo", {"text": "x"})).text == "x"
            finally:
                other.kill()
                other.wait()


def _serve(port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, SERVER, str(port)])
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
    raise AssertionError("the server did not come up")
