"""The client that the suite starts: ours, the way `wire.pool` or `cli.client` calls tools.

Usage: `python -m tests.conformance.client pool|command-line URL`. Both call tools that they know,
without listing them. Whether a refusal was right is the suite's to judge.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import anyio
import orjson

from tale.cli.client import McpClient
from tale.errors import TaleError
from tale.wire.post import Broken, Channel, NotSent

_TOKEN = "token-of-the-suite"
_TOOL = "add_numbers"
_ARGUMENTS = {"a": 5, "b": 3}
_SECONDS = 20.0


async def _pool(url: str) -> None:
    channel = Channel(url, _TOKEN, "the suite")
    try:
        with suppress(TaleError, NotSent, Broken):
            await channel.call(_TOOL, orjson.dumps(_ARGUMENTS), seconds=_SECONDS)
    finally:
        await channel.aclose()


def _command_line(url: str) -> None:
    with suppress(TaleError):
        McpClient(url, _TOKEN).call(_TOOL, _ARGUMENTS)


if __name__ == "__main__":
    way, server = sys.argv[1:]
    base = server.removesuffix("/mcp")
    if way == "pool":
        anyio.run(_pool, base)
    else:
        _command_line(base)
