"""Where settings come from: `tale.toml`, a profile in it, the environment, flags; the later wins.

A profile is a table `[profiles.NAME]` in the shape of the whole file, which is put over it. It is
chosen by `--profile` or `TALE_PROFILE`, else by the file's own `profile = "NAME"`. Above: the entry
of every process, and `tale config`. Below: `config`, whose shapes check what comes out.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from tale.config import (
    ExecutionSettings,
    GatewaySettings,
    McpServerSettings,
    ModelServerSettings,
    ModelsSettings,
    NotifySettings,
    RoutingSettings,
    SandboxSettings,
    ServerSettings,
    Settings,
    TaskSettings,
)
from tale.config_faults import explain, line_of
from tale.config_secrets import AS_WRITTEN
from tale.errors import ConfigError
from tale.paths import Paths
from tale.whole_file import write_whole

__all__ = ["PROFILE_VARIABLE", "Layers", "choose_profile", "load_settings", "read_layers"]

PROFILE_VARIABLE: Final = "TALE_PROFILE"

_PROFILE_LINE: Final = re.compile(r"^[ \t]*profile[ \t]*=.*(?:\n|\Z)", re.MULTILINE)

_Table = dict[str, Any]

_PREFIX: Final = "TALE_"
_DELIMITER: Final = "__"
# Tables whose keys are names that other programs read: TALE_SERVERS__SEARCH__ENVIRONMENT__NAME.
_TABLES_OF_NAMES: Final = {"servers": ("environment",), "mcpservers": ("env", "headers")}
_DEPTH_OF_NAMES: Final = 4
_SINGLE: Final = ("database_url", "log_level")
_NEARLY: Final = 0.85


class _Environment(BaseSettings):
    """The same shape, read from the environment alone; values are checked after the merge."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_nested_delimiter=_DELIMITER)

    models: ModelsSettings
    routing: RoutingSettings
    gateway: GatewaySettings
    model_server: ModelServerSettings
    execution: ExecutionSettings
    tasks: TaskSettings
    sandbox: SandboxSettings
    mcpServers: dict[str, McpServerSettings]  # noqa: N815 - as in `Settings`
    notify: NotifySettings
    servers: dict[str, ServerSettings]
    database_url: str
    log_level: str


@dataclass(frozen=True, slots=True)
class Layers:
    """What was read, before it is put together.

    Attributes:
        file: The settings file.
        text: What is in it; empty where it is not there.
        base: Its table, without profiles.
        profiles: Those that it has, by name.
        profile: The one that is chosen; empty if none is.
        environment: What the environment says.
        flags: What the command line says.
    """

    file: Path
    text: str
    base: _Table
    profiles: Mapping[str, _Table]
    profile: str
    environment: _Table
    flags: Mapping[str, Any]

    def merged(self) -> _Table:
        """Put them together."""
        chosen = self.profiles.get(self.profile, {})
        return _merge(_merge(_merge(self.base, chosen), self.environment), self.flags)

    def origin(self, keys: Sequence[str]) -> str:
        """Say where a value comes from; empty where it is the default."""
        if _has(self.flags, keys):
            return "command line"
        if _has(self.environment, keys):
            return "TALE_" + "__".join(keys).upper()
        if self.profile and _has(self.profiles[self.profile], keys):
            return f"profile {self.profile}{self._line(['profiles', self.profile, *keys])}"
        return f"{self.file.name}{self._line(keys)}" if _has(self.base, keys) else ""

    def _line(self, keys: Sequence[str]) -> str:
        line = line_of(self.text, keys)
        return f", line {line}" if line else ""

    def settings(self, *, secrets: bool = True) -> Settings:
        """Check what they come to; without `secrets`, references to some stay as written.

        Raises:
            ConfigError: A value isn't allowed, or a secret isn't where it should be.
        """
        try:
            return Settings.model_validate(self.merged(), context=None if secrets else AS_WRITTEN)
        except ValidationError as error:
            whole: _Table = {**self.base, "profiles": dict(self.profiles)}
            within = ["profiles", self.profile] if self.profile else []
            faults = [
                explain(fault, self.file, self.text, whole, Settings, within=within)
                for fault in error.errors()
            ]
            raise ConfigError("\n".join(faults)) from None


def read_layers(
    file: Path, *, environ: Mapping[str, str] = os.environ, flags: Mapping[str, Any] | None = None
) -> Layers:
    """Read the file and the environment.

    Args:
        file: `tale.toml`; it need not exist.
        environ: Says which profile is meant; the other variables are the process's own.
        flags: Nested values from the command line, in the file's shape.

    Raises:
        ConfigError: The file can't be read or parsed, or has no such profile.
    """
    text, table = _read(file)
    found: object = table.pop("profiles", {})
    own = str(table.pop("profile", ""))
    profiles = cast("dict[str, _Table]", found) if isinstance(found, dict) else {}
    whole = isinstance(found, dict) and all(
        isinstance(one, dict) for one in cast("_Table", found).values()
    )
    if not whole:
        raise ConfigError(f"{file}: each of `profiles` must be a table, as [profiles.NAME].")
    profile = environ.get(PROFILE_VARIABLE) or own
    if profile and profile not in profiles:
        known = ", ".join(profiles) or "none"
        raise ConfigError(
            f"{file}: there is no profile {profile!r}.",
            hint=f"Profiles there: {known}. A table [profiles.{profile}] would make it.",
        )
    try:
        environment = _read_environment()
    except SettingsError as error:
        raise ConfigError(f"The environment can't be used: {error}") from error
    return Layers(file, text, table, profiles, profile, environment, flags or {})


def _read_environment() -> _Table:
    """Read the environment's table, and put right what its source makes of it.

    The source writes all names in small letters: a variable or a header of a server of the user's
    keeps its own. It drops what belongs to no section: that is put in, so that the check of the
    settings refuses it as in the file. Without a delimiter that is only what nearly names a single
    setting: tale and its tests have variables of their own, and Kubernetes makes some for services.
    """
    table: _Table = EnvSettingsSource(_Environment)()
    fields = {name.lower(): name for name in _Environment.model_fields}
    as_written: list[tuple[_Table, str, str]] = []
    for variable, value in os.environ.items():
        if not variable.upper().startswith(_PREFIX):
            continue
        parts = variable[len(_PREFIX) :].split(_DELIMITER)
        section, *keys = map(str.lower, parts)
        if section not in fields:
            if keys or difflib.get_close_matches(section, _SINGLE, n=1, cutoff=_NEARLY):
                table[section] = value
        elif len(parts) == _DEPTH_OF_NAMES and keys[1] in _TABLES_OF_NAMES.get(section, ()):
            names = _table_in(_table_in(_table_in(table, fields[section]), keys[0]), keys[1])
            as_written.append((names, parts[-1], value))
    for names, name, _ in as_written:
        names.pop(name.lower(), None)
    for names, name, value in as_written:
        names[name] = value
    return table


def _table_in(table: _Table, key: str) -> _Table:
    """Give a table in a table; one that is nowhere if it isn't any, which the check tells."""
    found: object = table.get(key)
    return cast("_Table", found) if isinstance(found, dict) else {}


def load_settings(
    paths: Paths, *, flags: Mapping[str, Any] | None = None, secrets: bool = True
) -> Settings:
    """Read the settings; see `read_layers` and `Layers.settings`.

    Raises:
        ConfigError: They can't be read, or a value isn't allowed.
    """
    return read_layers(paths.config_file, flags=flags).settings(secrets=secrets)


def choose_profile(file: Path, name: str) -> None:
    """Write into the file which profile is meant, as its first line; all else in it stays.

    Raises:
        ConfigError: It can't be written.
    """
    text, _ = _read(file)
    head, table, rest = text.partition("\n[") if not text.startswith("[") else ("", text, "")
    head = _PROFILE_LINE.sub("", head)
    line = f"profile = {json.dumps(name, ensure_ascii=False)}\n" if name else ""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file.resolve(), line + head + table + rest)
    except OSError as error:
        raise ConfigError(f"{file} can't be written: {error}.") from error


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


def _has(table: Mapping[str, Any], keys: Sequence[str]) -> bool:
    here: object = table
    for key in keys:
        if not isinstance(here, Mapping) or key not in here:
            return False
        here = cast("Mapping[str, object]", here)[key]
    return True
