"""The Inspector's command line as a stranger's client: lists our tools and calls them.

Above: `__main__`. Below: `node`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio

from tale.cli.mcp_snippets import snippet
from tale.wire.contracts import (
    CANCEL,
    LIST,
    SHOW,
    SUBMIT,
)

from .node import INSPECTOR, NODE
from .verdict import Row

__all__ = ["ERAS", "inspect", "inspect_program"]

ERAS = ("modern", "legacy")
_BAD: Final = "UNEXPECTED"
_TOOLS = [tool.name for tool in (SUBMIT, SHOW, LIST, CANCEL)]


class _Inspector:
    def __init__(self, target: Sequence[str], era: str, home: Path) -> None:
        self._command = [NODE, INSPECTOR, "--cli", *target, "--protocol-era", era]
        self._command += ["--format", "json", "--quiet"]
        # It keeps a folder in the user's home.
        self._environ = {**os.environ, "HOME": str(home)}

    async def ask(self, *arguments: str) -> dict[str, Any]:
        command = [*self._command, *arguments]
        done = await anyio.run_process(command, check=False, env=self._environ)
        if done.returncode:
            raise AssertionError(f"exit {done.returncode}: {done.stderr.decode().strip()}")
        return json.loads(done.stdout)["result"]

    async def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        given = json.dumps(arguments)
        result = await self.ask(
            *("--method", "tools/call", "--tool-name", tool, "--tool-args-json", given)
        )
        if result.get("isError"):
            raise AssertionError(str(result["content"]))
        return result["structuredContent"]


async def inspect(url: str, token: str, era: str, home: Path) -> list[Row]:
    """Try the gateway over HTTP."""
    target = [url, "--transport", "http", "--header", f"Authorization: Bearer {token}"]
    return await _try("inspector", _Inspector(target, era, home), era)


async def inspect_program(tale: Path, tale_home: Path, era: str, home: Path) -> list[Row]:
    """Try `tale mcp`, started as the settings say that it prints for clients."""
    config = home / "mcp.json"
    command = [str(tale), "mcp"]
    config.write_text(snippet("claude-desktop", command, {"TALE_HOME": str(tale_home)}))
    target = ["--config", str(config), "--server", "tale"]
    return await _try("inspector-stdio", _Inspector(target, era, home), era)


async def _try(leg: str, inspector: _Inspector, era: str) -> list[Row]:
    """List the tools with every complaint about their schemas, and take a task through them."""
    rows: list[Row] = []

    def row(what: str, good: bool, found: str) -> None:
        rows.append(Row(leg, era, what, "passed") if good else Row(leg, era, what, _BAD, found))

    try:
        listed = await inspector.ask("--method", "tools/list", "--strict")
        names = [tool["name"] for tool in listed["tools"]]
        row("tools/list", set(_TOOLS) <= set(names), str(names))
        task = await inspector.call("submit", text="hello")
        shown = await inspector.call("show", id=task["id"])
        row("submit, show", shown["text"] == "hello", str(shown))
        every = await inspector.call("list", limit=1)
        row("list", every["tasks"][0]["id"] == task["id"], str(every))
        ended = await inspector.call("cancel", id=task["id"])
        row("cancel", ended["state"] in ("cancelled", "done"), str(ended))
    except AssertionError as error:
        row("inspector", False, str(error))
    return rows
