"""Settings: read once at the entry of a process, frozen, and passed on.

Their shapes; `config_layers` reads them: `tale.toml` is overridden by a profile in it, that by the
environment (`TALE_MODELS__UX__NAME=…`, sections joined by two underscores), the environment by
flags. Whatever is wrong is a `ConfigError` that names the file, the line, the key, and what is
allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le, Len
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

from tale.config_faults import contradiction
from tale.config_secrets import Secret
from tale.config_tasks import McpServerSettings, SandboxSettings, TaskSettings

__all__ = [
    "BackendKind",
    "ExecutionSettings",
    "GatewaySettings",
    "McpServerSettings",
    "ModelServerSettings",
    "ModelsSettings",
    "NotifySettings",
    "RemoteSettings",
    "RoleSettings",
    "RoutingSettings",
    "SandboxSettings",
    "ServerSettings",
    "Settings",
    "TaskSettings",
]

BackendKind = Literal["auto", "embedded", "ollama", "openai"]
_Port = Annotated[int, Ge(0), Le(65535)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RoleSettings(_Section):
    """The model of one core role.

    With two slots a chat is answered while the small model does something else, and two parts of a
    plan are worked on side by side: together the large one generates 1.5 times as many tokens a
    second as for one (1.5B, two cores), for 235 MB of memory more.
    """

    name: str = Field(
        default="", description="Model name; empty takes the backend's default for the role."
    )
    context: Annotated[int, Ge(512), Le(1_048_576)] = Field(
        default=8192, description="Tokens of context for each slot."
    )
    slots: Annotated[int, Ge(1), Le(64)] = Field(
        default=2, description="Requests generated side by side."
    )
    url: str = Field(
        default="", description="Base URL of an OpenAI-compatible server, ending in /v1."
    )
    api_key: Secret = Field(default=SecretStr(""), description="Bearer token for `url`.")


class ModelsSettings(_Section):
    """Which models stay resident, and where they run."""

    backend: BackendKind = Field(
        default="auto", description="auto takes Ollama if it runs and has the pair, else embedded."
    )
    ux: RoleSettings = Field(default=RoleSettings(), description="The small model, which talks.")
    task: RoleSettings = Field(default=RoleSettings(), description="The large model, which works.")
    directory: Path | None = Field(
        default=None, description="Folder of model files, shared by all homes."
    )
    ollama_url: str = Field(default="http://127.0.0.1:11434", description="Where Ollama listens.")
    reserve_mb: Annotated[int, Ge(0)] = Field(
        default=512, description="Memory, in MiB, that optional models must leave free."
    )
    pulse_seconds: Annotated[float, Ge(1)] = Field(
        default=30, description="Idle time after which a model is asked for one token."
    )
    stall_seconds: Annotated[float, Ge(1)] = Field(
        default=60, description="Silence in a running request after which its model is restarted."
    )


# As in `tale.models.assess` and `tale.models.backend`, which are above this module.
_Kind = Literal[
    "talk", "question", "summarise", "extract", "transform", "write", "code", "plan", "act"
]
_AnyKind = _Kind | Literal["*"]
_CoreRole = Literal["ux", "task"]
_ModelName = Annotated[str, StringConstraints(pattern=r"^\S+$")]
_RemoteName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class RemoteSettings(_Section):
    """An OpenAI-compatible endpoint that helps out; it is sent nothing unless it is in a chain."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+")] = Field(
        description="Base URL, ending in /v1."
    )
    name: _ModelName = Field(description="Name of the model there.")
    api_key: Secret = Field(default=SecretStr(""), description="Bearer token.")
    context: Annotated[int, Ge(512), Le(1_048_576)] = Field(
        default=32_768, description="Tokens of its window."
    )


class RoutingSettings(_Section):
    """Who answers what. A model is named by its role (ux, task), its own name, or a remote's name.

    What tale decides by itself is changed only as far as something stands here.
    """

    pin: dict[_Kind, _ModelName] = Field(
        default_factory=dict[_Kind, str], description="The model that answers a kind of request."
    )
    forbid: dict[_AnyKind, tuple[_ModelName, ...]] = Field(
        default_factory=dict[_AnyKind, tuple[str, ...]],
        description='Models that never answer a kind; "*" is every kind.',
    )
    weight: dict[_AnyKind, dict[_ModelName, Annotated[float, Gt(0), Le(100)]]] = Field(
        default_factory=dict[_AnyKind, dict[str, float]],
        description="Multiplies a model's chances, by kind; 1 changes nothing.",
    )
    fallback: dict[_CoreRole, tuple[_ModelName, ...]] = Field(
        default_factory=dict[_CoreRole, tuple[str, ...]],
        description="Who answers, in this order, when the model of a role can't.",
    )
    remotes: dict[_RemoteName, RemoteSettings] = Field(
        default_factory=dict, description="Endpoints that a fallback chain may name."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Refuse what contradicts itself, because nobody could tell what was meant."""
        listed = {name for chain in self.fallback.values() for name in chain}
        for name in self.remotes:
            if name in {"ux", "task", "auto"}:
                raise contradiction(f"remotes.{name}", "that name is taken by tale")
        for role, chain in self.fallback.items():
            if role in chain:
                raise contradiction(f"fallback.{role}", f"{role} can't stand in for itself")
            if len(set(chain)) < len(chain):
                raise contradiction(f"fallback.{role}", "a model is named twice")
        for kind, name in self.pin.items():
            if name in (*self.forbid.get(kind, ()), *self.forbid.get("*", ())):
                raise contradiction(f"pin.{kind}", f"{name} is forbidden for {kind} as well")
            if name in self.remotes and name not in listed:
                why = f"the remote {name} is in no fallback chain, so it may be sent nothing"
                raise contradiction(f"pin.{kind}", why)
        return self


class GatewaySettings(_Section):
    """The gateway server."""

    port: _Port = Field(default=7433, description="Loopback port; 0 takes any free one.")


class ModelServerSettings(_Section):
    """The models server."""

    port: _Port = Field(default=7434, description="Loopback port; 0 takes any free one.")


class NotifySettings(_Section):
    """How a user is told of tasks outside tale; nothing is, unless it stands here."""

    on: tuple[Literal["done", "failed", "approval"], ...] = Field(
        default=("done", "failed", "approval"), description="What to tell of."
    )
    desktop: bool = Field(default=False, description="Show it on the daemon's desktop.")
    bell: bool = Field(default=False, description="Ring the terminal in which a task is followed.")
    webhook: Annotated[str, StringConstraints(pattern=r"^(https?://[^\s/]+\S*)?$")] = Field(
        default="", description="Address to which it is posted as JSON."
    )
    webhook_secret: Secret = Field(
        default=SecretStr(""),
        description="Signs what is posted, as Standard Webhooks do; `whsec_…`, or any text.",
    )

    @model_validator(mode="after")
    def _signed_for_somebody(self) -> Self:
        """Refuse a secret without an address: somebody believes to be told."""
        if self.webhook_secret.get_secret_value() and not self.webhook:
            raise contradiction("webhook_secret", "there is no webhook that it would sign")
        return self


class ExecutionSettings(_Section):
    """The execution servers."""

    replicas: Annotated[int, Ge(1), Le(64)] = Field(
        default=1, description="Execution servers to run."
    )
    max_memory_mb: Annotated[int, Ge(0)] = Field(
        default=1024, description="Memory, in MiB, past which one is replaced; 0 sets no limit."
    )


# What the operating system takes in a command and in an environment.
_Word = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
_Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class ServerSettings(_Section):
    """A server of the user's that tale keeps running."""

    command: Annotated[tuple[_Word, ...], Len(1)] = Field(
        description="Program and arguments; {port} stands for the port it is given."
    )
    replicas: Annotated[int, Ge(1), Le(64)] = Field(default=1, description="How many run.")
    depends_on: tuple[str, ...] = Field(
        default=(), description="Servers that must be ready before it is started."
    )
    environment: dict[_Variable, _Word] = Field(
        default_factory=dict, description="Added to the environment; PORT is set already."
    )
    health: Annotated[str, StringConstraints(pattern=r"^/[!-~]*$")] = Field(
        default="/", description="Path that is asked for; any answer below 500 is life."
    )
    probe_seconds: Annotated[float, Gt(0), Le(600)] = Field(
        default=2, description="Time for an answer; three in a row without one, and it is replaced."
    )
    start_seconds: Annotated[float, Gt(0), Le(3600)] = Field(
        default=60, description="Time until it must answer for the first time."
    )
    stop_signal: Literal["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"] = Field(
        default="SIGTERM", description="What asks it to leave."
    )
    grace_seconds: Annotated[float, Ge(0), Le(3600)] = Field(
        default=10, description="Time to leave; then it is killed."
    )
    max_memory_mb: Annotated[int, Ge(0)] = Field(
        default=0, description="Memory, in MiB, past which it is replaced; 0 sets no limit."
    )


# It becomes the name of processes and of their logs.
_ServerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
# It stands before the dot in the name of each of its tools.
_McpName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$")]


class Settings(_Section):
    """Everything a user can set. Sections are the tables of `tale.toml`."""

    models: ModelsSettings = ModelsSettings()
    routing: RoutingSettings = RoutingSettings()
    gateway: GatewaySettings = GatewaySettings()
    model_server: ModelServerSettings = ModelServerSettings()
    execution: ExecutionSettings = ExecutionSettings()
    tasks: TaskSettings = TaskSettings()
    sandbox: SandboxSettings = SandboxSettings()
    # Spelled as in the settings of other MCP clients, from which it is copied.
    mcpServers: dict[_McpName, McpServerSettings] = Field(  # noqa: N815
        default_factory=dict, description="MCP servers whose tools tasks may use, by name."
    )
    notify: NotifySettings = NotifySettings()
    servers: dict[_ServerName, ServerSettings] = Field(
        default_factory=dict, description="Further servers to keep running, by name."
    )
    database_url: str = Field(
        default="", description="SQLAlchemy URL; empty is SQLite in the data folder."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severe line that is logged."
    )
