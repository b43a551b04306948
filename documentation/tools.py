"""The page of all MCP tools, from the contracts by which they are served and called.

Above: `pages`. Below: `tale.wire`, `tale.servers.model_tools`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any, cast

from pydantic import BaseModel

import tale.wire
from documentation.markdown import code, table
from documentation.schema import Node, kind_of
from tale.servers import model_tools
from tale.wire.tool import Tool

__all__ = ["all_tools", "tools_page"]

_INTRODUCTION = """\
# MCP tools

Every tool that tale's servers offer to MCP clients: when to use it, its arguments, and what comes
back.

The gateway serves its tools at `http://127.0.0.1:7433/mcp`, the models server at
`http://127.0.0.1:7434/mcp`: streamable HTTP, revisions 2026-07-28 and 2025-11-25 and before, with
the token as bearer. The ux server's port is any free one; `tale status --json` has its address.
[MCP clients](../guides/mcp-clients.md) says how to connect. A result comes as JSON text and as
structured content; an error as a result with `isError` and
`{"error": {"code", "message", "hint"}}`, where `code` is one of the [errors](errors.md).
"""
_SERVICES = {
    "gateway": "Tasks and their checkpoints.",
    "ux": "Conversations and memory.",
    "models": "The models in memory.",
}
_EFFECTS = {
    "reads": "Only reads.",
    "adds": "Adds something.",
    "changes": "May end or overwrite something.",
}


def all_tools() -> Iterator[Tool[Any, Any]]:
    """Give the tools of the servers that others may call, by server."""
    modules = [model_tools]
    modules += [import_module(f"tale.wire.{found.name}") for found in _modules()]
    tools = [
        cast("Tool[Any, Any]", each)
        for module in modules
        for each in vars(module).values()
        if isinstance(each, Tool)
    ]
    for service in _SERVICES:
        yield from dict.fromkeys(tool for tool in tools if tool.service == service)


def _modules() -> list[pkgutil.ModuleInfo]:
    """Give the modules that list tools; those of tasks themselves come first."""
    found = [one for one in pkgutil.iter_modules(tale.wire.__path__) if "contracts" in one.name]
    return sorted(found, key=lambda one: (one.name != "contracts", one.name))


def tools_page() -> str:
    """Write the page."""
    lines = [_INTRODUCTION]
    shapes: dict[str, Node] = {}
    service = ""
    for tool in all_tools():
        if tool.service != service:
            service = tool.service
            lines += [f"## {service}", "", _SERVICES[service], ""]
        lines += _tool(tool, shapes)
    lines += ["## Shapes", "", "What replies are made of.", ""]
    for name in sorted(shapes):
        lines += [f"### {name}", "", _about(shapes[name]), "", *_fields(shapes[name], asked=False)]
    return "\n".join(lines)


def _tool(tool: Tool[Any, Any], shapes: dict[str, Node]) -> list[str]:
    request = _schema(tool.request, "validation", shapes)
    reply = tool.reply.__name__
    shapes[reply] = _schema(tool.reply, "serialization", shapes)
    again = " Calling it twice does no more than calling it once." if tool.idempotent else ""
    listed = "" if tool.listed else " For tale's own command line: not listed for other clients."
    return [
        f"### {tool.name} {{ #{tool.service}-{tool.name} }}",
        "",
        tool.summary,
        "",
        f"{_EFFECTS[tool.effect]}{again}{listed} Gives [{reply}](#{reply.lower()}).",
        "",
        *_fields(request, asked=True),
    ]


def _schema(shape: type[BaseModel], mode: Any, shapes: dict[str, Node]) -> Node:
    schema = shape.model_json_schema(mode=mode)
    shapes.update(schema.pop("$defs", {}))
    return schema


def _about(shape: Node) -> str:
    return str(shape.get("description", ""))


def _fields(shape: Node, *, asked: bool) -> list[str]:
    fields = cast("dict[str, Node]", shape.get("properties", {}))
    if not fields:
        return ["It takes no arguments.", ""] if asked else []
    needed = set(shape.get("required", ())) if asked else set[str]()
    rows = [
        (
            code(name) + (" (required)" if name in needed else ""),
            kind_of(node),
            str(node.get("description", "")),
        )
        for name, node in fields.items()
    ]
    return table(("Argument" if asked else "Field", "Takes" if asked else "Is", "Meaning"), rows)
