"""The line between the supervisor and a child, and the life of a server process on it."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import anyio
import anyio.abc
import pytest
from aiohttp import ClientSession

from leash_end import TOKEN, leashed
from tale.errors import ModelFileDamaged, ServiceUnavailable, UnknownModel, WireError
from tale.servers.runner import bind
from tale.wire.child import Leash
from tale.wire.leash import (
    Call,
    Failed,
    Fault,
    Hello,
    Peer,
    Peers,
    Reply,
    decode_child,
    decode_supervisor,
    encode,
)

pytestmark = pytest.mark.anyio

SERVER = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tale.servers.runner import run_server

@asynccontextmanager
async def compose(context):
    async def name(request):
        return PlainTextResponse(context.leash.name)
    yield Starlette(routes=[Route("/name", name)])
    print("composed down", flush=True)

run_server(compose, port=lambda settings: settings.gateway.port)
"""
MCP_SERVER = """
from contextlib import asynccontextmanager
from tale.servers.mcp_app import McpApp
from tale.servers.runner import run_server

@asynccontextmanager
async def compose(context):
    yield McpApp("gateway", "For tests.").build()

run_server(compose)
"""
PEER = Peer(service="gateway", name="gateway", url="http://127.0.0.1:1", pid=7, starts=1)


@asynccontextmanager
async def connected() -> AsyncGenerator[tuple[Leash, anyio.abc.SocketStream]]:
    near, far = socket.socketpair()
    async with await anyio.abc.SocketStream.from_socket(near) as supervisor:
        await supervisor.send(encode(Hello(name="ux", token=TOKEN)))
        with far:
            leash = await Leash.connect(far.fileno())
        yield leash, supervisor
        await leash.aclose()


async def test_a_child_learns_its_name_and_the_token() -> None:
    async with connected() as (leash, _):
        assert (leash.name, leash.token) == ("ux", TOKEN)


async def test_a_child_announces_its_address() -> None:
    async with connected() as (leash, supervisor):
        await leash.ready("http://127.0.0.1:1234")
        message = decode_child(await supervisor.receive())
        assert message.model_dump() == {"kind": "ready", "url": "http://127.0.0.1:1234"}


async def test_a_child_says_why_it_can_not_serve() -> None:
    async with connected() as (leash, supervisor):
        await leash.failed(ModelFileDamaged("m.gguf is cut off.", hint="Fetch it again."))
        message = decode_child(await supervisor.receive())
        assert isinstance(message, Failed)
        error = message.fault.error()
        assert isinstance(error, ModelFileDamaged)
        assert (error.message, error.hint) == ("m.gguf is cut off.", "Fetch it again.")


async def test_peers_arrive_and_wake_who_waits_for_one() -> None:
    async with connected() as (leash, supervisor):
        found: list[Peer] = []

        async def wait() -> None:
            found.extend((await leash.wait_change()).of("gateway"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leash.run)
            tasks.start_soon(wait)
            await supervisor.send(encode(Peers()))
            await anyio.wait_all_tasks_blocked()
            assert found == []
            await supervisor.send(encode(Peers(peers=(PEER,))))
            with anyio.fail_after(5):
                while not found:
                    await anyio.wait_all_tasks_blocked()
            await supervisor.aclose()
    assert found == [PEER]


async def test_a_call_is_answered_under_its_id() -> None:
    async with connected() as (leash, supervisor):
        answers: dict[str, object] = {}

        async def ask(operation: str) -> None:
            answers[operation] = await leash.call(operation, name="x")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leash.run)
            tasks.start_soon(ask, "a")
            tasks.start_soon(ask, "b")
            lines = b""
            while lines.count(b"\n") < 2:
                lines += await supervisor.receive()
            calls = [decode_child(line) for line in lines.splitlines()]
            for call in reversed(calls):
                assert isinstance(call, Call)
                await supervisor.send(encode(Reply(id=call.id, result=call.operation.upper())))
            with anyio.fail_after(5):
                while len(answers) < 2:
                    await anyio.wait_all_tasks_blocked()
            await supervisor.aclose()
    assert answers == {"a": "A", "b": "B"}


async def test_a_refused_call_raises_the_error_it_was_refused_with() -> None:
    async with connected() as (leash, supervisor), anyio.create_task_group() as tasks:
        tasks.start_soon(leash.run)
        error = Fault(code="unknown_model", message="no model x.", hint="see y.")

        async def refuse() -> None:
            await supervisor.receive()
            await supervisor.send(encode(Reply(id=1, error=error)))

        tasks.start_soon(refuse)
        with pytest.raises(UnknownModel, match="no model x"):
            await leash.call("start_model", name="x")
        await supervisor.aclose()


async def test_when_the_supervisor_goes_the_child_is_told_and_calls_fail() -> None:
    async with connected() as (leash, supervisor):
        gone = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leash.run, gone.set)

            async def leave() -> None:
                await supervisor.receive()
                await supervisor.aclose()

            tasks.start_soon(leave)
            with pytest.raises(ServiceUnavailable):
                await leash.call("start_model")
            with anyio.fail_after(5):
                await gone.wait()
        with pytest.raises(ServiceUnavailable):
            await leash.ready("http://127.0.0.1:1")


async def test_a_descriptor_that_is_no_leash_is_refused_with_a_hint(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(WireError, match="tale serve"):
        await Leash.connect(file.fileno())


async def test_anything_but_a_message_is_refused() -> None:
    for line in (b"GET / HTTP/1.1\n", b"{}\n", b'{"kind":"shout"}\n'):
        with pytest.raises(ValueError, match=r"validation error|Invalid JSON"):
            decode_child(line)
        with pytest.raises(ValueError, match=r"validation error|Invalid JSON"):
            decode_supervisor(line)


def get(url: str, token: str = TOKEN) -> str:
    request = Request(url, headers={"Authorization": f"Bearer {token}"})
    with urlopen(request, timeout=10) as response:
        return response.read().decode()


async def test_a_server_serves_behind_its_guard_and_drains_on_sigterm(tmp_path: Path) -> None:
    environment = {"TALE_GATEWAY__PORT": "0"}
    async with leashed(["-c", SERVER], home=tmp_path, environment=environment) as end:
        url = await end.ready()
        assert await anyio.to_thread.run_sync(get, f"{url}/name") == "child"
        with pytest.raises(HTTPError) as caught:
            await anyio.to_thread.run_sync(get, f"{url}/name", "wrong")
        with caught.value as response:
            assert response.code == 401
            assert json.load(response)["error"]["code"] == "unauthorized"
        end.process.send_signal(signal.SIGTERM)
        assert await end.exit_code() == 0


async def test_an_mcp_client_that_listens_does_not_keep_a_server_from_leaving(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    revision = "2025-06-18"
    client = {"name": "listener", "version": "1"}
    begin = {"protocolVersion": revision, "capabilities": {}, "clientInfo": client}
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Accept": "application/json, text/event-stream",
        "Mcp-Protocol-Version": revision,
    }
    call = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin}
    async with (
        leashed(["-c", MCP_SERVER], home=tmp_path) as end,
        ClientSession(await end.ready(), headers=headers) as http,
    ):
        async with http.post("/mcp", json=call) as reply:
            session = {"Mcp-Session-Id": reply.headers["Mcp-Session-Id"]}
        async with http.get("/mcp", headers=session) as stream:
            assert stream.status == 200
            end.process.send_signal(signal.SIGTERM)
            assert await stream.read() == b""
        assert await end.exit_code() == 0
    assert "graceful shutdown exceeded" not in capfd.readouterr().err


async def test_a_server_leaves_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    environment = {"TALE_GATEWAY__PORT": "0"}
    async with leashed(["-c", SERVER], home=tmp_path, environment=environment) as end:
        await end.ready()
        await end.hang_up()
        assert await end.exit_code() == 0


async def test_a_server_whose_port_is_taken_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with bind(0) as taken:
        port = str(taken.getsockname()[1])
        environment = {"TALE_GATEWAY__PORT": port}
        async with leashed(["-c", SERVER], home=tmp_path, environment=environment) as end:
            assert await end.exit_code() == 78
    assert f"127.0.0.1:{port} can't be used" in capfd.readouterr().err


async def test_a_server_that_cannot_be_composed_says_why_and_nothing_more(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    failing = SERVER.replace("async def name", "raise StorageError('no room')\n    async def name")
    program = f"from tale.errors import StorageError\n{failing}"
    environment = {"TALE_GATEWAY__PORT": "0"}
    async with leashed(["-c", program], home=tmp_path, environment=environment) as end:
        assert await end.exit_code() == 78
    said = capfd.readouterr().err
    assert "no room" in said
    assert "Traceback" not in said


async def test_a_server_started_by_hand_says_how_it_is_started(tmp_path: Path) -> None:
    process = await anyio.run_process(
        [sys.executable, "-c", SERVER],
        stdin=None,
        input=b"",
        check=False,
        env={"TALE_HOME": str(tmp_path), "PATH": ""},
    )
    assert process.returncode == 78
    assert b"tale serve" in process.stderr
