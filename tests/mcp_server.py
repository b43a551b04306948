"""A real MCP server for tests, through the SDK: `python mcp_server.py [PORT]`; pipes or HTTP."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

server = MCPServer("test")
READS = ToolAnnotations(read_only_hint=True)


@server.tool(annotations=READS)
def echo(text: str) -> str:
    """Say it back."""
    return text


@server.tool(annotations=READS)
def process() -> str:
    """Say which process this is."""
    return str(os.getpid())


@server.tool(annotations=READS)
def environment() -> str:
    """Name the variables of the environment."""
    return " ".join(sorted(os.environ))


@server.tool()
def flood(size: int) -> str:
    """Say much."""
    return "x" * size + "end"


@server.tool(annotations=READS)
def complain(variable: str) -> str:
    """Print a variable of the environment to stderr."""
    sys.stderr.write(f"it is {os.environ[variable]}\n")
    sys.stderr.flush()
    return "printed"


@server.tool()
def fail() -> str:
    """Fail."""
    raise ToolError("it can't be done")


@server.tool()
async def hang() -> str:
    """Never answer."""
    await anyio.sleep_forever()
    return ""


@server.tool()
def crash(log: str) -> str:
    """Note the call in a file, and end the process."""
    with Path(log).open("a") as file:
        file.write("called\n")
    os._exit(1)


@server.tool(annotations=READS)
def crash_once(log: str) -> str:
    """End the process at the first call only."""
    if Path(log).exists():
        return "fine now"
    Path(log).touch()
    os._exit(1)


class _Guarded:
    """Lets in only who has the key."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and Request(scope).headers.get("x-key") != "s3cret":
            response: Response = PlainTextResponse("no key", status_code=401)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        app = _Guarded(server.streamable_http_app())
        uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
    else:
        server.run()
