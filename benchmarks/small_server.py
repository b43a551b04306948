"""Small MCP servers under a supervisor of their own: `python -m benchmarks.small_server`.

With arguments it plays the supervisor: `sleeper FIFO` keeps one sleeper running, and `many N`
starts so many small servers, kills them all, and prints what that took as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from starlette.types import ASGIApp

from benchmarks.wire import ECHO, Echo
from tale.orchestration.fork_spawn import ForkSpawner, become_subreaper
from tale.orchestration.process import Policy
from tale.orchestration.server_manager import ServerManager
from tale.orchestration.spawn import OsSpawner
from tale.orchestration.specs import FORK_SERVER, Dependency, ServerSpec
from tale.paths import Paths
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.runner import ServerContext, run_server

__all__ = ["SLEEPER", "main"]

SLEEPER = (
    "import os,signal,sys;f=os.open(sys.argv[1],1);os.write(f,b'%d\\n'%os.getpid());signal.pause()"
)
"""A child that says that it has started, by its process id on a FIFO."""

_MODULE = "benchmarks.small_server"
_IDLE_SECONDS = 10.0


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
        case _:
            run_server(_compose)


async def _keep_sleeper(fifo: str) -> None:
    command = (sys.executable, "-S", "-c", SLEEPER, fifo)
    # It never says that it is ready; each death counts as a failure, to be mended at once.
    sleeper = ServerSpec("sleeper", "sleeper", command, policy=Policy(start=3600, base=0))
    async with _manager(sleeper):
        await anyio.sleep_forever()


async def _keep_many(count: int) -> None:
    command = (sys.executable, "-m")
    servers = [
        ServerSpec(
            f"echo-{n}",
            "echo",
            (*command, _MODULE),
            (Dependency(FORK_SERVER, "ready"),),
            module=_MODULE,
        )
        for n in range(count)
    ]
    parent = (*command, "tale.orchestration.fork_server", _MODULE)
    begun = time.perf_counter()
    async with _manager(ServerSpec(FORK_SERVER, FORK_SERVER, parent), *servers) as manager:
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
        spawner = ForkSpawner(OsSpawner(Paths.from_environment()))
        manager = ServerManager(specs, spawner, token="benchmark")  # noqa: S106
        async with manager.running():
            yield manager


if __name__ == "__main__":
    main()
