"""A server process with a tool for each way in which a call can go: `python wire_desk.py`.

Prints its port, then the name of each thing that happens to it, one a line.
"""

from __future__ import annotations

import os
import sys

import anyio
import uvicorn
from pydantic import BaseModel

from tale.servers.guard import Guard
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.runner import bind
from tale.wire.tool import Tool

TOKEN = "token-of-the-desk"


class Ask(BaseModel):
    """What to do."""

    text: str = ""


class Told(BaseModel):
    """What was done, and by which process."""

    text: str
    pid: int = 0


ECHO = Tool("desk", "echo", "Say it back.", Ask, Told, effect="reads")
PUT = Tool("desk", "put", "Say it back, idempotently.", Ask, Told, idempotent=True)
HANG = Tool("desk", "hang", "Never answer.", Ask, Told)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def _echo(request: Ask, progress: Progress) -> Told:
    del progress
    return Told(text=request.text, pid=os.getpid())


async def _hang(request: Ask, progress: Progress) -> Told:
    del request, progress
    _say("hanging")
    try:
        await anyio.sleep_forever()
    finally:
        _say("cancelled")
    raise AssertionError("unreachable")


async def _serve() -> None:
    app = McpApp("desk", "For tests.")
    app.add(ECHO, _echo)
    app.add(PUT, _echo)
    app.add(HANG, _hang)
    sock = bind(0)
    _say(str(sock.getsockname()[1]))
    config = uvicorn.Config(Guard(app.build(), TOKEN), log_config=None, access_log=False, ws="none")
    await uvicorn.Server(config).serve([sock])


if __name__ == "__main__":
    anyio.run(_serve, backend_options={"use_uvloop": True})
