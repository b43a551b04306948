"""One session with an external MCP server, as its callers see it. Values and a seam; pure.

Below: `mcp_transport`, which speaks the protocol. Above: `mcp_tools`, which keeps sessions open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from tale.config_tasks import McpServerSettings

__all__ = ["Answer", "Connect", "ExternalTool", "McpSession"]


@dataclass(frozen=True, slots=True)
class ExternalTool:
    """A tool of another server.

    Attributes:
        server: The server's name in the settings.
        name: Its name there.
        schema: JSON schema of its arguments.
        read_only: The server says that it changes nothing.
        repeatable: The server says that calling it twice is like calling it once.
    """

    server: str
    name: str
    description: str = ""
    schema: Mapping[str, object] = field(default_factory=dict[str, object])
    read_only: bool = False
    repeatable: bool = False

    @property
    def full_name(self) -> str:
        """Its name as tasks and rules use it."""
        return f"{self.server}.{self.name}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool gave back, as text; not ok if the tool says that it failed."""

    ok: bool
    text: str


class McpSession(Protocol):
    """An open session."""

    @property
    def tools(self) -> tuple[ExternalTool, ...]:
        """What the server offers."""
        ...

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Answer:
        """Call a tool.

        Raises:
            ServiceUnavailable: The server went away; the call may or may not have been done.
            InvalidRequest: The server refused the call itself.
        """
        ...

    async def closed(self) -> None:
        """Wait until the server is gone."""
        ...


Connect = Callable[[str, McpServerSettings], AbstractAsyncContextManager[McpSession]]
