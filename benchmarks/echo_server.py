"""A small MCP server for measurements: `python -m benchmarks.echo_server`, prints its port."""

from __future__ import annotations

import anyio
import uvicorn

from benchmarks.wire import ECHO, TOKEN, Echo
from tale.servers.guard import Guard
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.runner import bind


async def _echo(request: Echo, progress: Progress) -> Echo:
    del progress
    return request


async def _serve() -> None:
    app = McpApp("echo", "For measurements.")
    app.add(ECHO, _echo)
    sock = bind(0)
    print(sock.getsockname()[1], flush=True)
    config = uvicorn.Config(
        Guard(app.build(), TOKEN), log_config=None, access_log=False, proxy_headers=False, ws="none"
    )
    await uvicorn.Server(config).serve([sock])


if __name__ == "__main__":
    anyio.run(_serve, backend_options={"use_uvloop": True})
