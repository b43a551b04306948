"""`tale config`: the settings in force, and where files are.

Below: `tale.config_layers`, which this group alone (and `doctor`) imports.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, cast

import typer

from tale.cli.completing import profile_names
from tale.cli.record import JsonObject, JsonValue
from tale.cli.render import Screen
from tale.errors import ConfigError
from tale.paths import Paths

__all__ = ["app", "toml_lines", "with_references"]

_PROFILE_VARIABLE = "TALE_PROFILE"
_STARS = "**********"  # pydantic's, for a secret

app = typer.Typer(name="config", rich_markup_mode=None, add_completion=False, no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def config() -> None:
    """Show the settings, or where they are."""


@app.command()
def show(as_json: _Json = False) -> None:
    """Show the settings in force, and where each that is not the default comes from."""
    from tale.config import Settings  # noqa: PLC0415 - `path` is quick
    from tale.config_layers import read_layers  # noqa: PLC0415
    from tale.config_secrets import is_reference  # noqa: PLC0415

    screen = Screen.detect()
    paths = Paths.from_environment()
    layers = read_layers(paths.config_file)
    # What only refers to a secret is no secret, and may not be there for whoever just looks.
    settings = with_references(
        layers.settings(secrets=False).model_dump(mode="json"), layers.merged(), is_reference
    )
    if as_json:
        screen.json(settings)
        return
    there = "" if paths.config_file.exists() else " (not there; these are the defaults)"
    screen.print(screen.style(f"# {paths.config_file}{there}", "dim"))
    screen.print(screen.style("# Environment variables TALE_SECTION__KEY override it.", "dim"))
    if layers.profile:
        screen.print(screen.style(f"# The profile {layers.profile} is put over it.", "dim"))
    defaults: JsonObject = Settings().model_dump(mode="json")
    for line, changed in toml_lines(settings, defaults, origin=layers.origin):
        screen.print(screen.style(line, "bold") if changed else line)


@app.command()
def profiles(as_json: _Json = False) -> None:
    """List the profiles of tale.toml; the one in force is marked."""
    from tale.config_layers import read_layers  # noqa: PLC0415 - `path` is quick

    screen = Screen.detect()
    layers = read_layers(Paths.from_environment().config_file)
    if as_json:
        screen.json({"profiles": list(layers.profiles), "profile": layers.profile or None})
        return
    if not layers.profiles:
        screen.note(f"{layers.file} has none. A table [profiles.NAME] would be one.")
    for name in layers.profiles:
        mark = "*" if name == layers.profile else " "
        screen.print(f"{mark} {name}")


@app.command()
def use(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help='A profile; "" is none.', autocompletion=profile_names),
    ],
) -> None:
    """Write into tale.toml which profile is meant where nobody says otherwise."""
    from tale.config_layers import choose_profile, read_layers  # noqa: PLC0415 - as above

    screen = Screen.detect()
    file = Paths.from_environment().config_file
    # Settings that can't be used are refused before anything is written.
    read_layers(file, environ={_PROFILE_VARIABLE: name}).settings(secrets=False)
    choose_profile(file, name)
    screen.print(f"{file}: the profile is {name}." if name else f"{file}: no profile is chosen.")
    if os.environ.get(_PROFILE_VARIABLE, name) != name:
        screen.note(f"{_PROFILE_VARIABLE} says otherwise here, and comes first.")
    screen.note("`tale reload` puts it in force where tale runs.")


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
        "token": paths.token_file,
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
    settings: JsonObject,
    defaults: JsonObject,
    table: tuple[str, ...] = (),
    *,
    origin: Callable[[Sequence[str]], str] = lambda _: "",
) -> Iterator[tuple[str, bool]]:
    """Write settings as TOML, keys before tables.

    Args:
        settings: The values.
        defaults: What they would be otherwise.
        table: The keys of the table that they are in.
        origin: Says where the value of some keys comes from; empty for a default.

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
        notes = [origin((*table, key))]
        if changed and default is not None:
            notes.append(f"default: {_value(default)}")
        note = "; ".join(filter(None, notes))
        yield f"{_key(key)} = {_value(value)}{f'  # {note}' if note else ''}", changed
    for key, value in settings.items():
        if isinstance(value, dict):
            inner = (*table, key)
            below = defaults.get(key)
            yield "", False
            yield f"[{'.'.join(map(_key, inner))}]", False
            known = below if isinstance(below, dict) else {}
            yield from toml_lines(value, known, inner, origin=origin)


def with_references(
    shown: JsonObject, written: Mapping[str, object], is_reference: Callable[[str], bool]
) -> JsonObject:
    """Show where a secret is in place of the stars that hide what it is."""
    told: JsonObject = {}
    for key, value in shown.items():
        original = written.get(key)
        if isinstance(value, dict) and isinstance(original, Mapping):
            below = cast("Mapping[str, object]", original)
            told[key] = with_references(value, below, is_reference)
        elif value == _STARS and isinstance(original, str) and is_reference(original):
            told[key] = original
        else:
            told[key] = value
    return told


def _key(key: str) -> str:
    """Write a key, in quotes where TOML wants them: the user's own names, and `*`."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _value(value: JsonValue) -> str:
    """Write a value; JSON's strings, numbers and booleans are TOML's too."""
    return json.dumps(value, ensure_ascii=False)
