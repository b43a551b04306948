"""The request and reply by which the gateway learns which external tools a step may use.

Beside `execution_contracts`, which has the other tools of the execution servers. Below: `tool`.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from tale.wire.execution_contracts import WorkRequest
from tale.wire.tool import Shape, Tool

__all__ = ["TOOLS", "TOOLS_SECONDS", "ExternalToolView", "ToolsReply"]

TOOLS_SECONDS: Final = 45.0
"""For the answer: more than the execution server waits for servers that start."""


class ExternalToolView(Shape):
    """A tool of an MCP server that the user configured."""

    server: str
    tool: str
    description: str = ""
    arguments: dict[str, object] = Field(
        default_factory=dict, description="JSON schema of its arguments, made plain."
    )
    read_only: bool = False


class ToolsReply(Shape):
    """What there is."""

    tools: tuple[ExternalToolView, ...]
    missing: dict[str, str] = Field(
        default_factory=dict, description="Servers that can't be reached, and why."
    )


TOOLS = Tool(
    "execution",
    "tools",
    "List the tools of the MCP servers that the user configured. For the gateway: whoever wants "
    "work done calls `submit` there.",
    WorkRequest,
    ToolsReply,
    idempotent=True,
    title="List external tools",
    effect="reads",
    # Servers are started for it: a second execution server must not start them too for nothing.
    patience=15.0,
)
