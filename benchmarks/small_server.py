"""Small MCP servers under a supervisor of their own: `python -m benchmarks.small_server`.

With arguments it plays the supervisor: `sleeper FIFO` keeps one sleeper running, `many N` starts so
many small servers and kills them all, `roll N CALLERS` replaces so many while they are called, and
`soak N CALLERS RATE SECONDS` calls them for a long time. What came of it is printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import psutil
from starlette.types import ASGIApp

from benchmarks.wire import ECHO, TOKEN, Echo
from tale.errors import TaleError
from tale.orchestration.fork_spawn import ForkSpawner, become_subreaper
from tale.orchestration.policy import Policy
from tale.orchestration.probe import Probe
from tale.orchestration.rollout import restart
from tale.orchestration.server_manager import ServerManager
from tale.orchestration.spawn import OsSpawner
from tale.orchestration.specs import FORK_SERVER, Dependency, ServerSpec
from tale.paths import Paths
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.runner import ServerContext, run_server
from tale.wire.leash import Peers
from tale.wire.pool import Services

__all__ = ["SLEEPER", "main"]

SLEEPER = (
    "import os,signal,sys;f=os.open(sys.argv[1],1);os.write(f,b'%d\\n'%os.getpid());signal.pause()"
)
"""A child that says that it has started, by its process id on a FIFO."""

_MODULE = "benchmarks.small_server"
_IDLE_SECONDS = 10.0
_SOAK_SAMPLES = 60


async def _echo(request: Echo, progress: Progress) -> Echo:
    del progress
    return request


@asynccontextmanager
async def _compose(_: ServerContext) -> AsyncGenerator[ASGIApp]:
    app = McpApp("echo", "For measurements.")
    app.add(ECHO, _echo)
    yield app.build()


def main() -> None:
    """Be a small server, or the supervisor of some."""
    match sys.argv[1:]:
        case ["sleeper", fifo]:
            anyio.run(_keep_sleeper, fifo)
        case ["many", count]:
            anyio.run(_keep_many, int(count))
        case ["roll", count, callers]:
            anyio.run(_roll, int(count), int(callers))
        case ["soak", count, callers, rate, seconds]:
            anyio.run(_soak, int(count), int(callers), float(rate), float(seconds))
        case _:
            run_server(_compose)


async def _keep_sleeper(fifo: str) -> None:
    command = (sys.executable, "-S", "-c", SLEEPER, fifo)
    # It never says that it is ready; each death counts as a failure, to be mended at once.
    sleeper = ServerSpec(
        "sleeper", "sleeper", command, policy=Policy(start=3600, base=0, intensity=10**6)
    )
    async with _manager(sleeper):
        await anyio.sleep_forever()


async def _keep_many(count: int) -> None:
    begun = time.perf_counter()
    async with _manager(*_echoes(count)) as manager:
        await _ready(manager, count, starts=1)
        started = time.perf_counter() - begun
        begun = time.perf_counter()
        for peer in manager.peers.of("echo"):
            os.kill(peer.pid, signal.SIGKILL)
        await _ready(manager, count, starts=2)
        healed = time.perf_counter() - begun
        used = time.process_time()
        await anyio.sleep(_IDLE_SECONDS)
        idle = 100 * (time.process_time() - used) / _IDLE_SECONDS
        print(json.dumps({"started": started, "healed": healed, "idle": idle}), flush=True)
        manager.kill()


async def _roll(count: int, callers: int) -> None:
    failed: list[str] = []
    made, seconds = 0, 0.0

    async def call(services: Services, over: anyio.Event) -> None:
        nonlocal made
        while not over.is_set():
            try:
                await services.call(ECHO, Echo(), deadline=10)
            except TaleError as error:
                failed.append(str(error))
            made += 1

    async with _manager(*_echoes(count)) as manager:
        await _ready(manager, count, starts=1)
        services = Services(_ManagerPeers(manager), services={"echo"}, token=TOKEN)
        async with services.open(), anyio.create_task_group() as tasks:
            over = anyio.Event()
            for _ in range(callers):
                tasks.start_soon(call, services, over)
            begun = time.perf_counter()
            await restart(manager, "echo")
            seconds = time.perf_counter() - begun
            over.set()
        print(json.dumps({"failed": len(failed), "made": made, "seconds": seconds}), flush=True)
        for reason in sorted(set(failed)):
            print(reason, file=sys.stderr)
        manager.kill()


async def _soak(count: int, callers: int, rate: float, seconds: float) -> None:
    """Make so many calls a second for so long; prints what all processes took, time and again."""
    failed, made = 0, 0

    async def call(services: Services) -> None:
        nonlocal failed, made
        due = anyio.current_time()
        while True:
            try:
                await services.call(ECHO, Echo(), deadline=10)
            except TaleError:
                failed += 1
            made += 1
            due = max(due + callers / rate, anyio.current_time() - 1)
            await anyio.sleep_until(due)

    async with _manager(*_echoes(count)) as manager:
        await _ready(manager, count, starts=1)
        pids = [os.getpid(), *(peer.pid for peer in manager.peers.of("echo"))]
        services = Services(_ManagerPeers(manager), services={"echo"}, token=TOKEN)
        taken: list[dict[str, float]] = []
        async with services.open(), anyio.create_task_group() as tasks:
            for _ in range(callers):
                tasks.start_soon(call, services)
            for _ in range(_SOAK_SAMPLES):
                await anyio.sleep(seconds / _SOAK_SAMPLES)
                taken.append(_taken(pids))
            tasks.cancel_scope.cancel()
        print(json.dumps({"failed": failed, "made": made, "taken": taken}), flush=True)
        manager.kill()


def _taken(pids: list[int]) -> dict[str, float]:
    processes = [psutil.Process(pid) for pid in pids]
    # Callers that happen to be at work at the same moment have a connection each, for a while.
    connections = sum(
        one.status == psutil.CONN_ESTABLISHED
        for process in processes
        for one in process.net_connections("tcp4")
    )
    return {
        "rss": sum(process.memory_info().rss for process in processes) / 1e6,
        "fds": sum(process.num_fds() for process in processes) - connections,
        "connections": connections / 2,
        "tasks": len(asyncio.all_tasks()),
    }


class _ManagerPeers:
    """Peers as the supervisor itself knows them."""

    def __init__(self, manager: ServerManager) -> None:
        self._manager = manager
        self.peers = manager.peers

    async def wait_change(self) -> Peers:
        before = self.peers

        def changed() -> Peers | None:
            return self._manager.peers if self._manager.peers is not before else None

        self.peers = await self._manager.until(changed)
        return self.peers


def _echoes(count: int) -> list[ServerSpec]:
    """Describe the fork server, and so many small servers that are forked from it."""
    command = (sys.executable, "-m")
    parent = (*command, "tale.orchestration.fork_server", _MODULE)
    return [
        ServerSpec(FORK_SERVER, FORK_SERVER, parent),
        *(
            ServerSpec(
                f"echo-{number}",
                "echo",
                (*command, _MODULE),
                (Dependency(FORK_SERVER, "ready"),),
                probe=Probe(),
                module=_MODULE,
            )
            for number in range(1, count + 1)
        ),
    ]


async def _ready(manager: ServerManager, count: int, starts: int) -> None:
    def all_ready() -> bool | None:
        peers = manager.peers.of("echo")
        return sum(peer.starts >= starts for peer in peers) == count or None

    with anyio.fail_after(120):
        await manager.until(all_ready)


@asynccontextmanager
async def _manager(*specs: ServerSpec) -> AsyncGenerator[ServerManager]:
    become_subreaper()
    with tempfile.TemporaryDirectory() as home:
        os.environ["TALE_HOME"] = home
        spawner = ForkSpawner(OsSpawner(Paths.from_environment(), subreaper=True))
        manager = ServerManager(specs, spawner, token=TOKEN)
        async with manager.running():
            yield manager


if __name__ == "__main__":
    main()
