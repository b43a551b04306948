"""`tale config`: the settings in force, and where files are.

Below: `tale.config`, which this group alone (and `doctor`) imports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated

import typer

from tale.cli.record import JsonObject, JsonValue
from tale.cli.render import Screen
from tale.errors import ConfigError
from tale.paths import Paths

__all__ = ["app", "toml_lines"]

app = typer.Typer(name="config", rich_markup_mode=None, add_completion=False, no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def config() -> None:
    """Show the settings, or where they are."""


@app.command()
def show(as_json: _Json = False) -> None:
    """Show the settings in force: defaults, tale.toml and the environment together."""
    from tale.config import Settings, load_settings  # noqa: PLC0415 - `path` is quick

    screen = Screen.detect()
    paths = Paths.from_environment()
    settings: JsonObject = load_settings(paths).model_dump(mode="json")
    if as_json:
        screen.json(settings)
        return
    there = "" if paths.config_file.exists() else " (not there; these are the defaults)"
    screen.print(screen.style(f"# {paths.config_file}{there}", "dim"))
    screen.print(screen.style("# Environment variables TALE_SECTION__KEY override it.", "dim"))
    defaults: JsonObject = Settings().model_dump(mode="json")
    for line, changed in toml_lines(settings, defaults):
        screen.print(screen.style(line, "bold") if changed else line)


@app.command()
def path(
    which: Annotated[
        str | None, typer.Argument(metavar="[WHICH]", help="Only this one, by its name.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Show where the settings, data, logs and the runtime file are."""
    screen = Screen.detect()
    paths = Paths.from_environment()
    places = {
        "config": paths.config_file,
        "data": paths.data,
        "models": paths.models,
        "workspaces": paths.workspaces,
        "database": paths.database,
        "logs": paths.logs,
        "runtime": paths.runtime_file,
    }
    if which is not None and which not in places:
        raise ConfigError(
            f"There is no path {which!r}.", hint=f"The paths are {', '.join(places)}."
        )
    if which is not None:
        screen.print(str(places[which]))
    elif as_json:
        screen.json({name: str(place) for name, place in places.items()})
    else:
        for name, place in places.items():
            missing = "" if place.exists() else screen.style("  (not there yet)", "dim")
            screen.print(f"{screen.style(name.ljust(10), 'dim')}  {place}{missing}")


def toml_lines(
    settings: JsonObject, defaults: JsonObject, table: str = ""
) -> Iterator[tuple[str, bool]]:
    """Write settings as TOML, keys before tables.

    Yields:
        A line, and whether it differs from the default. Values that are not set are comments.
    """
    for key, value in settings.items():
        if isinstance(value, dict):
            continue
        if value is None:
            yield f"# {_key(key)} =", False
            continue
        default = defaults.get(key)
        changed = value != default
        note = f"  # default: {_value(default)}" if changed and default is not None else ""
        yield f"{_key(key)} = {_value(value)}{note}", changed
    for key, value in settings.items():
        if isinstance(value, dict):
            name = f"{table}.{_key(key)}" if table else _key(key)
            below = defaults.get(key)
            yield "", False
            yield f"[{name}]", False
            yield from toml_lines(value, below if isinstance(below, dict) else {}, name)


def _key(key: str) -> str:
    """Write a key, in quotes where TOML wants them: the user's own names, and `*`."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _value(value: JsonValue) -> str:
    """Write a value; JSON's strings, numbers and booleans are TOML's too."""
    return json.dumps(value, ensure_ascii=False)
