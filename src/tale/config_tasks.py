"""What a user can set about tasks: what they may do, in which sandbox, with whose tools.

A part of `config`'s settings, which is above.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from tale.config_faults import contradiction
from tale.config_secrets import Secret

__all__ = ["McpServerSettings", "SandboxSettings", "TaskSettings", "ToolRule"]

# As in `tale.tasks.permissions`, which is above this module.
ToolRule = Literal["allow", "ask", "deny"]
_Word = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
_Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_Header = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskSettings(_Section):
    """What tasks may do by themselves, and how hard they try."""

    permission: Literal["ask", "workspace", "full"] = Field(
        default="workspace",
        description="ask: asks before every change; workspace: asks before anything outside of the "
        "workspace; full: asks for nothing.",
    )
    approve: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether a plan waits for your yes. auto: where it is large, costly, goes "
        "outside of the workspace or uses tools that change something; always; never.",
    )
    tries: int = Field(
        default=4,
        ge=1,
        le=20,
        description="Answers of a model that are checked, for each part: the first and its "
        "corrections. Fewer cost fewer tokens, and solve less.",
    )


class SandboxSettings(_Section):
    """Where the programs that tasks run are shut in, and what they may take."""

    kind: Literal["bubblewrap", "none"] = Field(
        default="bubblewrap", description="none lets them do whatever you may do."
    )
    network: bool = Field(
        default=False,
        description="Whether they reach the network, and every service of this machine with it.",
    )
    seconds: Annotated[float, Gt(0), Le(86_400)] = Field(
        default=600, description="The most time that one program is given."
    )
    memory_mb: Annotated[int, Ge(16)] = Field(
        default=4096,
        description="Memory, in MiB, of a program with all its children; another runs beside it "
        "only where that is free for both.",
    )
    disk_mb: Annotated[int, Ge(1)] = Field(
        default=2048, description="What one program may write, in MiB."
    )
    processes: Annotated[int, Ge(4), Le(100_000)] = Field(
        default=256, description="Processes that it may have at a time."
    )


class McpServerSettings(_Section):
    """An MCP server whose tools tasks may use, in the shape that other clients use."""

    command: _Word = Field(default="", description="Program to start; it speaks over its pipes.")
    args: tuple[_Word, ...] = Field(default=(), description="Its arguments.")
    env: dict[_Variable, Secret] = Field(
        default_factory=dict[str, SecretStr], description="Added to its environment."
    )
    cwd: _Word = Field(default="", description="Folder it is started in.")
    url: Annotated[str, StringConstraints(pattern=r"^(https?://[^\s/]+.*)?$")] = Field(
        default="", description="Or its address (streamable HTTP)."
    )
    headers: dict[_Header, Secret] = Field(
        default_factory=dict[str, SecretStr], description="Sent with each request."
    )
    type: Literal["", "stdio", "http", "streamable-http"] = Field(
        default="", description="Which of the two; told by command or url as well."
    )
    disabled: bool = Field(default=False, description="Leave it alone.")
    permission: ToolRule | None = Field(
        default=None, description="For all its tools; without, those that only read are allowed."
    )
    tools: dict[str, ToolRule] = Field(
        default_factory=dict[str, ToolRule], description="For one tool, by its name."
    )
    start_seconds: Annotated[float, Gt(0), Le(3600)] = Field(
        default=30, description="Time to start and to say what it can do."
    )
    call_seconds: Annotated[float, Gt(0), Le(86_400)] = Field(
        default=120, description="Time for one call."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        """Refuse a server that is reached in no way or in two."""
        if not self.command and not self.url:
            raise contradiction("command", "it needs a command or a url")
        if self.command and self.url:
            raise contradiction("url", "it has a command already")
        if self.type == "stdio" and self.url:
            raise contradiction("type", "stdio needs a command")
        if self.type in {"http", "streamable-http"} and self.command:
            raise contradiction("type", f"{self.type} needs a url")
        return self

    def secrets(self) -> list[str]:
        """Give what must not be shown."""
        return [value.get_secret_value() for value in (*self.env.values(), *self.headers.values())]
