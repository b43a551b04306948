"""A server in this process with a tool for each way in which a call can go, and who calls it."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import uvicorn
from pydantic import BaseModel

from tale.errors import TaskNotFound
from tale.servers.guard import Guard
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.observed import Observed
from tale.servers.runner import bind
from tale.wire.leash import Peer
from tale.wire.metrics import WireMetrics
from tale.wire.peers import FixedPeers
from tale.wire.pool import Services
from tale.wire.service import DEFAULT_LIMITS, Limits
from tale.wire.tool import Tool

TOKEN = "token-of-the-test"


class Ask(BaseModel):
    """What to do."""

    text: str = ""
    count: int = 0

    @property
    def alone(self) -> bool:
        """Whether it waits, and so travels by itself."""
        return self.count > 0


class Told(BaseModel):
    """What was done."""

    text: str


ECHO = Tool("desk", "echo", "Say it back.", Ask, Told, idempotent=True)
ONCE = Tool("desk", "once", "Do it once.", Ask, Told)
FAIL = Tool("desk", "fail", "Fail as told.", Ask, Told)
COUNT = Tool("desk", "count", "Count aloud.", Ask, Told)
HANG = Tool("desk", "hang", "Never answer.", Ask, Told)
WAIT = Tool("desk", "wait", "Answer when told.", Ask, Told)
WHO = Tool("desk", "who", "Say who answers.", Ask, Told)
READ = Tool("desk", "read", "Answer when told.", Ask, Told, effect="reads")
SMALL = Tool("desk", "small", "Say it back, or fail as told.", Ask, Told, batched=True)
UNSERVED = Tool("desk", "unserved", "Nobody has it.", Ask, Told)


class Desk:
    """A server with one tool for each way in which a call can go."""

    def __init__(self) -> None:
        self.metrics = WireMetrics()
        self.hanging = anyio.Event()
        self.cancelled = anyio.Event()
        self.released = anyio.Event()
        self.app = McpApp("desk", "For tests.")
        self.app.add(ECHO, self.echo)
        self.app.add(ONCE, self.echo)
        self.app.add(FAIL, self.fail)
        self.app.add(COUNT, self.count)
        self.app.add(HANG, self.hang)
        self.app.add(WAIT, self.wait)
        self.app.add(WHO, self.who)
        self.app.add(READ, self.wait)
        self.app.add(SMALL, self.small)

    async def echo(self, request: Ask, progress: Progress) -> Told:
        return Told(text=request.text)

    async def fail(self, request: Ask, progress: Progress) -> Told:
        if request.text == "unexpected":
            raise RuntimeError("secret detail")
        raise TaskNotFound("no task t-1.", hint="`tale tasks` lists them.")

    async def count(self, request: Ask, progress: Progress) -> Told:
        for number in range(request.count):
            await progress({"number": number})
        return Told(text="counted")

    async def wait(self, request: Ask, progress: Progress) -> Told:
        self.hanging.set()
        try:
            await self.released.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled.set()
            raise
        return Told(text=request.text)

    async def small(self, request: Ask, progress: Progress) -> Told:
        if request.text == "bad":
            return await self.fail(request, progress)
        if request.text == "hang":
            return await self.hang(request, progress)
        return Told(text=request.text)

    async def who(self, request: Ask, progress: Progress) -> Told:
        return Told(text=str(id(self)))

    async def hang(self, request: Ask, progress: Progress) -> Told:
        self.hanging.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cancelled.set()
        raise AssertionError("unreachable")


@asynccontextmanager
async def serving(desk: Desk, port: int = 0) -> AsyncGenerator[int]:
    """Serve on loopback; gives the port. Leaving closes every connection at once."""
    sock = bind(port)
    chosen: int = sock.getsockname()[1]
    config = uvicorn.Config(
        Guard(Observed(desk.app.build(), desk.metrics), TOKEN),
        log_config=None,
        timeout_graceful_shutdown=0,
        ws="none",
    )
    server = uvicorn.Server(config)
    started = anyio.Event()
    original = server.startup

    async def startup(sockets: list[socket.socket] | None = None) -> None:
        await original(sockets)
        started.set()

    server.startup = startup
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [sock])
        await started.wait()
        yield chosen
        server.should_exit = True


def peer(port: int, pid: int = 1, name: str = "desk") -> Peer:
    return Peer(service="desk", name=name, url=f"http://127.0.0.1:{port}", pid=pid, starts=pid)


@asynccontextmanager
async def calling(
    source: FixedPeers,
    token: str = TOKEN,
    *,
    limits: Limits = DEFAULT_LIMITS,
    metrics: WireMetrics | None = None,
) -> AsyncGenerator[Services]:
    services = Services(source, services={"desk"}, token=token, limits=limits, metrics=metrics)
    async with services.open():
        yield services
