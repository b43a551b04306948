"""What to write into the settings of MCP clients, so that they start `tale mcp`. Pure.

The shapes are those of the clients' own documentation: most took over `mcpServers`. Above:
`mcp_stdio`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

__all__ = ["CLIENTS", "snippet"]

_Environment = Mapping[str, str]
_Writer = Callable[[Sequence[str], _Environment], str]


def _servers(command: Sequence[str], environment: _Environment) -> str:
    return _json({"mcpServers": {"tale": _program(command, environment)}})


def _vscode(command: Sequence[str], environment: _Environment) -> str:
    return _json({"servers": {"tale": {"type": "stdio", **_program(command, environment)}}})


def _zed(command: Sequence[str], environment: _Environment) -> str:
    program = {"source": "custom", **_program(command, environment)}
    return _json({"context_servers": {"tale": program}})


def _codex(command: Sequence[str], environment: _Environment) -> str:
    # JSON's strings and lists of strings are TOML's too.
    lines = [
        "[mcp_servers.tale]",
        f"command = {json.dumps(command[0])}",
        f"args = {json.dumps(list(command[1:]))}",
    ]
    if environment:
        pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in environment.items())
        lines.append(f"env = {{ {pairs} }}")
    return "\n".join(lines)


_SERVERS_FILES: Final = {
    "claude-desktop": "claude_desktop_config.json (Settings, Developer, Edit Config)",
    "claude-code": ".mcp.json in the project",
    "cursor": "~/.cursor/mcp.json",
    "windsurf": "~/.codeium/windsurf/mcp_config.json",
    "gemini": "~/.gemini/settings.json",
    "lm-studio": "mcp.json (Program, Install, Edit mcp.json)",
}
CLIENTS: Final[Mapping[str, tuple[str, _Writer]]] = {
    **{name: (file, _servers) for name, file in _SERVERS_FILES.items()},
    "vscode": (".vscode/mcp.json in the project", _vscode),
    "zed": ("~/.config/zed/settings.json", _zed),
    "codex": ("~/.codex/config.toml", _codex),
}
"""By its name, the file that a client reads, and what writes its piece of it."""


def snippet(client: str, command: Sequence[str], environment: _Environment) -> str:
    """Write what goes into the settings of a client.

    Args:
        client: One of `CLIENTS`.
        command: Program, by its whole path, and arguments.
        environment: Variables that it needs beside the client's own.
    """
    return CLIENTS[client][1](command, environment)


def _program(command: Sequence[str], environment: _Environment) -> dict[str, object]:
    program: dict[str, object] = {"command": command[0], "args": list(command[1:])}
    return {**program, "env": dict(environment)} if environment else program


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
