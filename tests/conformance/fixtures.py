"""Tools that the suite looks for, served as the gateway's are: through `McpApp` and the guard.

With them it sees what the gateway's own tools don't show on demand: a tool's words, its failure,
its progress. Above: `__main__`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import uvicorn
from pydantic import BaseModel

from tale.errors import TaskError
from tale.servers.guard import Guard
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.runner import bind
from tale.wire.tool import Tool

__all__ = ["SCENARIOS", "serving_fixtures"]

SCENARIOS: Final = {
    "2026-07-28": (
        "server-stateless",
        "tools-list",
        "tools-call-simple-text",
        "tools-call-error",
        "tools-call-with-progress",
    ),
    "2025-11-25": (
        "tools-list",
        "tools-call-simple-text",
        "tools-call-error",
        "tools-call-with-progress",
    ),
}


class _Nothing(BaseModel):
    """No arguments."""


class _Said(BaseModel):
    """What a tool says."""

    text: str


async def _say(request: _Nothing, progress: Progress) -> _Said:
    del request, progress
    return _Said(text="This is a simple text response for testing.")


async def _fail(request: _Nothing, progress: Progress) -> _Said:
    del request, progress
    raise TaskError("This tool fails, as it should.", hint="Nothing is to be done.")


async def _advance(request: _Nothing, progress: Progress) -> _Said:
    del request
    for part in ("begun", "half", "done"):
        await progress({"part": part})
    return _Said(text="Three times told.")


_TOOLS: Final = {
    "test_simple_text": _say,
    "test_logging_tool": _say,
    "test_error_handling": _fail,
    "test_tool_with_progress": _advance,
    "test_streaming_elicitation": _advance,
}


@asynccontextmanager
async def serving_fixtures(token: str) -> AsyncGenerator[str]:
    """Serve them for as long as the context lasts; gives the address."""
    app = McpApp("fixtures", "For the suite.")
    for name, handler in _TOOLS.items():
        app.add(Tool("fixtures", name, "For the suite.", _Nothing, _Said), handler)
    sock = bind(0)
    server = _Server(uvicorn.Config(Guard(app.build(), token), log_config=None, ws="none"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [sock])
        await server.up.wait()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        server.should_exit = server.force_exit = True


class _Server(uvicorn.Server):
    """uvicorn that says when it takes requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()
