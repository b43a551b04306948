"""The Inspector's command line as a stranger's client: lists our tools and calls them.

Above: `__main__`. Below: `node`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio

from tale.wire.contracts import (
    CANCEL,
    LIST,
    SHOW,
    SUBMIT,
)

from .node import INSPECTOR, NODE
from .verdict import Row

__all__ = ["ERAS", "inspect"]

ERAS = ("modern", "legacy")
_TOOLS = [tool.name for tool in (SUBMIT, SHOW, LIST, CANCEL)]


class _Inspector:
    def __init__(self, url: str, token: str, era: str, home: Path) -> None:
        self._command = [NODE, INSPECTOR, "--cli", url, "--transport", "http"]
        self._command += ["--header", f"Authorization: Bearer {token}", "--protocol-era", era]
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
    """List the tools with every complaint about their schemas, and take a task through them."""
    inspector = _Inspector(url, token, era, home)
    rows: list[Row] = []
    try:
        listed = await inspector.ask("--method", "tools/list", "--strict")
        names = [tool["name"] for tool in listed["tools"]]
        rows.append(_row(era, "tools/list", set(_TOOLS) <= set(names), str(names)))
        task = await inspector.call("submit", text="hello")
        shown = await inspector.call("show", id=task["id"])
        rows.append(_row(era, "submit, show", shown["text"] == "hello", str(shown)))
        every = await inspector.call("list", limit=1)
        rows.append(_row(era, "list", every["tasks"][0]["id"] == task["id"], str(every)))
        ended = await inspector.call("cancel", id=task["id"])
        rows.append(_row(era, "cancel", ended["state"] in ("cancelled", "done"), str(ended)))
    except AssertionError as error:
        rows.append(_row(era, "inspector", False, str(error)))
    return rows


def _row(era: str, what: str, good: bool, found: str) -> Row:
    if good:
        return Row("inspector", era, what, "passed")
    return Row("inspector", era, what, "UNEXPECTED", found)
