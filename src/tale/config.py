"""Settings: read once at the entry of a process, frozen, and passed on.

`tale.toml` is overridden by the environment (`TALE_MODELS__UX__NAME=…`, sections joined by two
underscores), the environment by flags. Whatever is wrong is a `ConfigError` that names the file,
the line, the key, and what is allowed.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from tale.errors import ConfigError
from tale.paths import Paths

__all__ = [
    "BackendKind",
    "ExecutionSettings",
    "GatewaySettings",
    "ModelServerSettings",
    "ModelsSettings",
    "RoleSettings",
    "Settings",
    "UxSettings",
    "load_settings",
]

BackendKind = Literal["auto", "embedded", "ollama", "openai"]
_Port = Annotated[int, Ge(0), Le(65535)]
_Table = dict[str, Any]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RoleSettings(_Section):
    """The model of one core role."""

    name: str = Field(
        default="", description="Model name; empty takes the backend's default for the role."
    )
    context: Annotated[int, Ge(512), Le(1_048_576)] = Field(
        default=8192, description="Tokens of context for each slot."
    )
    slots: Annotated[int, Ge(1), Le(64)] = Field(
        default=1, description="Requests generated side by side."
    )
    url: str = Field(
        default="", description="Base URL of an OpenAI-compatible server, ending in /v1."
    )
    api_key: SecretStr = Field(default=SecretStr(""), description="Bearer token for `url`.")


class UxSettings(RoleSettings):
    """The small model: two slots, so that a chat is answered while something else generates."""

    slots: Annotated[int, Ge(1), Le(64)] = Field(
        default=2, description="Requests generated side by side."
    )


class ModelsSettings(_Section):
    """Which models stay resident, and where they run."""

    backend: BackendKind = Field(
        default="auto", description="auto takes Ollama if it runs and has the pair, else embedded."
    )
    ux: UxSettings = Field(default=UxSettings(), description="The small model, which talks.")
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


class GatewaySettings(_Section):
    """The gateway server."""

    port: _Port = Field(default=7433, description="Loopback port; 0 takes any free one.")


class ModelServerSettings(_Section):
    """The models server."""

    port: _Port = Field(default=7434, description="Loopback port; 0 takes any free one.")


class ExecutionSettings(_Section):
    """The execution servers."""

    replicas: Annotated[int, Ge(1), Le(64)] = Field(
        default=1, description="Execution servers to run."
    )


class Settings(_Section):
    """Everything a user can set. Sections are the tables of `tale.toml`."""

    models: ModelsSettings = ModelsSettings()
    gateway: GatewaySettings = GatewaySettings()
    model_server: ModelServerSettings = ModelServerSettings()
    execution: ExecutionSettings = ExecutionSettings()
    database_url: str = Field(
        default="", description="SQLAlchemy URL; empty is SQLite in the data folder."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severe line that is logged."
    )


class _Environment(BaseSettings):
    """The same shape, read from the environment alone; values are checked after the merge."""

    model_config = SettingsConfigDict(env_prefix="TALE_", env_nested_delimiter="__")

    models: ModelsSettings
    gateway: GatewaySettings
    model_server: ModelServerSettings
    execution: ExecutionSettings
    database_url: str
    log_level: str


def load_settings(paths: Paths, *, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read `tale.toml` and the environment, with `flags` over both.

    Args:
        paths: Where the file is; it need not exist.
        flags: Nested values from the command line, in the file's shape.

    Raises:
        ConfigError: The file can't be read or parsed, or a value isn't allowed.
    """
    text, table = _read(paths.config_file)
    try:
        environment: _Table = EnvSettingsSource(_Environment)()
    except SettingsError as error:
        raise ConfigError(f"The environment can't be used: {error}") from error
    merged = _merge(_merge(table, environment), flags or {})
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        faults = [_explain(fault, paths.config_file, text, table) for fault in error.errors()]
        raise ConfigError("\n".join(faults)) from None


def _read(file: Path) -> tuple[str, _Table]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return "", {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} can't be read: {error}.") from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}.") from error


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> _Table:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = (
            _merge(cast("_Table", old), cast("_Table", value))
            if isinstance(old, Mapping) and isinstance(value, Mapping)
            else value
        )
    return merged


def _explain(fault: Mapping[str, Any], file: Path, text: str, table: _Table) -> str:
    """Say of one fault where it stands, which key it is, and what would be allowed."""
    keys = [str(part) for part in fault["loc"]]
    name = ".".join(keys)
    if _holds(table, keys):
        line = _line_of(text, keys)
        where = f"{file}, line {line}" if line else str(file)
    else:
        where = f"environment, {'TALE_' + '__'.join(keys).upper()}"
    if fault["type"] == "extra_forbidden":
        allowed = _fields_at(keys[:-1])
        close = difflib.get_close_matches(keys[-1], allowed, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        return f"{where}: unknown key {name!r}.{meant} Allowed here: {', '.join(allowed)}."
    return f"{where}: {name} = {fault['input']!r} is not allowed: {fault['msg']}."


def _holds(table: _Table, keys: Sequence[str]) -> bool:
    here: object = table
    for key in keys:
        if not isinstance(here, dict) or key not in here:
            return False
        here = here[key]  # pyright: ignore[reportUnknownVariableType]
    return True


def _line_of(text: str, keys: Sequence[str]) -> int:
    """Find the line that sets a key; 0 where the file writes it in a way this does not follow."""
    section: list[str] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        if line.startswith("["):
            section = [part.strip(' "') for part in line.strip("[]").split(".")]
            if section == list(keys):
                return number
        elif "=" in line:
            dotted = [part.strip(' "') for part in line.split("=", 1)[0].split(".")]
            here = section + dotted
            if here == list(keys) or (here == list(keys[: len(here)]) and "{" in line):
                return number
    return 0


def _fields_at(keys: Sequence[str]) -> list[str]:
    here: type[BaseModel] = Settings
    for key in keys:
        inner = here.model_fields[key].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        here = inner
    return list(here.model_fields)
