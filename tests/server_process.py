"""A server of tale's as a real process, with the test in the place of its supervisor."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import anyio
import anyio.abc
import uvicorn
from anyio.streams.buffered import BufferedByteReceiveStream

from tale.servers.execution import performing
from tale.servers.guard import Guard
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.runner import bind
from tale.servers.steps import read_step
from tale.tasks.hands import Reply
from tale.tasks.hands_json import read_action, write_outcome, write_reply
from tale.tasks.sandbox_bare import Bare
from tale.tasks.tools import Tooling
from tale.wire.contracts import Event
from tale.wire.execution_contracts import ACT, ASK, ActReply, ActRequest, AskReply, AskRequest
from tale.wire.leash import Hello, Peer, Peers, Ready, decode_child, encode

TOKEN = "token-of-the-test"


@dataclass(frozen=True)
class Running:
    """A server process that is ready, and the near end of its leash."""

    process: anyio.abc.Process
    peer: Peer
    line: anyio.abc.SocketStream

    async def tell(self, *peers: Peer) -> None:
        """Announce who serves now."""
        await self.line.send(encode(Peers(peers=peers)))

    async def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def server(
    service: str, home: Path, *peers: Peer, starts: int = 1
) -> AsyncGenerator[Running]:
    """Start a server on a leash; gives it once it is ready, and kills it in the end."""
    ours, theirs = socket.socketpair()
    environment = {**os.environ, "TALE_HOME": str(home), "TALE_GATEWAY__PORT": "0"}
    with theirs:
        process = await anyio.open_process(
            [sys.executable, "-m", f"tale.servers.{service}"],
            stdin=theirs.fileno(),
            stdout=None,
            stderr=None,
            env=environment,
        )
    try:
        async with await anyio.abc.SocketStream.from_socket(ours) as line:
            await line.send(encode(Hello(name=service, token=TOKEN)))
            await line.send(encode(Peers(peers=peers)))
            with anyio.fail_after(60):
                text = await BufferedByteReceiveStream(line).receive_until(b"\n", 65536)
            ready = decode_child(text)
            assert isinstance(ready, Ready)
            peer = Peer(
                service=service, name=service, url=ready.url, pid=process.pid, starts=starts
            )
            yield Running(process, peer, line)
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()


@asynccontextmanager
async def execution(
    answer: Callable[[AskRequest, Progress], Awaitable[Reply]], *, pid: int = 1
) -> AsyncGenerator[Peer]:
    """Serve what steps need inside the test; files are really written."""

    perform = performing(Tooling(Bare()))

    async def ask(request: AskRequest, progress: Progress) -> AskReply:
        await progress({"began": True})
        return AskReply(reply=write_reply(await answer(request, progress)))

    async def act(request: ActRequest, progress: Progress) -> ActReply:
        await progress({"began": True})
        outcome = await perform(read_action(request.action), read_step(request))
        return ActReply(outcome=write_outcome(outcome))

    app = McpApp("execution", "For tests.")
    app.add(ASK, ask)
    app.add(ACT, act)
    sock = bind(0)
    config = uvicorn.Config(
        Guard(app.build(), TOKEN), log_config=None, timeout_graceful_shutdown=0, ws="none"
    )
    serving = uvicorn.Server(config)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serving.serve, [sock])
        yield Peer(service="execution", name="execution-1", url=url, pid=pid, starts=pid)
        serving.should_exit = True


def milestones(events: Sequence[Event]) -> list[str]:
    """Give what happened to a task itself, without what was done and said in it."""
    within = {"acting", "file", "note", "token", "checkpoint"}
    return [event.kind for event in events if event.kind not in within]


async def events_of(url: str, task: str, *, until: str | None = None) -> list[Event]:
    """Read a task's events to its end, or to the first of a kind."""
    found: list[Event] = []
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
        session.get(f"{url}/api/events?task={task}") as response,
    ):
        async for raw in response.content:
            line = raw.decode().rstrip("\n")
            if line.startswith("data: "):
                found.append(Event.model_validate_json(line.removeprefix("data: ")))
                if found[-1].kind == until:
                    break
    return found
