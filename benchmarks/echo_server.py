"""A small MCP server for measurements: `python -m benchmarks.echo_server`, prints its port.

With `--nursery` it serves nothing itself: for each line that it reads it forks a server, which
prints its process id and its port, and it takes them all with it when it ends.
"""

from __future__ import annotations

import os
import signal
import sys

import anyio
import uvicorn

from benchmarks.wire import BATCHED, ECHO, TOKEN, Echo
from tale.servers.guard import Guard
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.runner import bind


async def _echo(request: Echo, progress: Progress) -> Echo:
    del progress
    return request


async def _serve(head: str = "") -> None:
    app = McpApp("echo", "For measurements.")
    app.add(ECHO, _echo)
    app.add(BATCHED, _echo)
    sock = bind(0)
    print(f"{head}{sock.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        Guard(app.build(), TOKEN), log_config=None, access_log=False, proxy_headers=False, ws="none"
    )
    await uvicorn.Server(config).serve([sock])


def _run(head: str = "") -> None:
    anyio.run(_serve, head, backend_options={"use_uvloop": True})


def _nursery() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    children: list[int] = []
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _run(f"{os.getpid()} ")
            os._exit(0)
        children.append(child)
    for child in children:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    _nursery() if "--nursery" in sys.argv else _run()
