"""What is wrong with the settings, in words: the file, the line, the key, and what is allowed.

Above: `config`, whose shapes are looked through for the keys that are allowed.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticCustomError

__all__ = ["contradiction", "explain", "line_of"]


_OF_THE_FILE: Final = ("profile", "profiles")
"""Keys that say which of the settings in a file are meant."""


def contradiction(key: str, why: str) -> PydanticCustomError:
    """Make the error of a validator that looks at several keys.

    Args:
        key: The key at fault, from the validator's section on. Its value isn't shown: the section
            may hold secrets.
        why: What is wrong with it.
    """
    return PydanticCustomError("contradiction", "{key}: {why}", {"key": key, "why": why})


def explain(
    fault: Mapping[str, Any],
    file: Path,
    text: str,
    table: Mapping[str, Any],
    root: type[BaseModel],
    *,
    within: Sequence[str] = (),
) -> str:
    """Say of one fault where it stands, which key it is, and what would be allowed.

    Args:
        fault: One of the errors of a `ValidationError`.
        file: The settings file.
        text: What is in it.
        table: The same, parsed.
        root: The shape of all settings.
        within: Keys of a table in the same shape that is put over the rest: the profile's.
    """
    kind = fault["type"]
    # pydantic marks a fault in the key itself by a last part of its own.
    bad_key = fault["loc"][-1] == "[key]"
    keys = [str(part) for part in fault["loc"] if part != "[key]"]
    if kind == "contradiction":
        keys += str(fault["ctx"]["key"]).split(".")
    name = ".".join(keys)
    # What is missing stands nowhere; its table does.
    known = keys[:-1] if kind == "missing" else keys
    there = (_in_file(table, [*within, *known]) if within else None) or _in_file(table, known)
    if there is not None:
        line = line_of(text, there)
        where = f"{file}, line {line}" if line else str(file)
    else:
        where = f"environment, {'TALE_' + '__'.join(keys).upper()}"
    if kind == "contradiction":
        return f"{where}: {name} is not allowed: {fault['ctx']['why']}."
    if kind == "missing":
        return f"{where}: {name} is required."
    if kind == "secret":
        return f"{where}: {name} can't be used: {fault['msg']}."
    allowed = _names_at(root, keys[:-1]) if bad_key or kind == "extra_forbidden" else []
    if len(keys) == 1 and allowed and there is not None:
        allowed += _OF_THE_FILE
    if allowed:
        close = difflib.get_close_matches(keys[-1], allowed, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        return f"{where}: unknown key {name!r}.{meant} Allowed here: {', '.join(allowed)}."
    shown = "" if _is_secret(root, keys) else f" = {fault['input']!r}"
    return f"{where}: {name}{shown} is not allowed: {fault['msg']}."


def _in_file(table: Mapping[str, Any], keys: Sequence[str]) -> list[str] | None:
    """Give the keys as far as they name tables and values; None where the file doesn't have them.

    What follows the name of a list counts its elements.
    """
    here: object = table
    for depth, key in enumerate(keys):
        if isinstance(here, list):
            return list(keys[:depth])
        if not isinstance(here, dict) or key not in here:
            return None
        here = here[key]  # pyright: ignore[reportUnknownVariableType]
    return list(keys)


def line_of(text: str, keys: Sequence[str]) -> int:
    """Find the line that sets a key; 0 where the file writes it in a way this does not follow."""
    section: list[str] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        if line.startswith("["):
            section = [part.strip(" \"'") for part in line.strip("[]").split(".")]
            if section == list(keys):
                return number
        elif "=" in line:
            dotted = [part.strip(" \"'") for part in line.split("=", 1)[0].split(".")]
            here = section + dotted
            if here == list(keys) or (here == list(keys[: len(here)]) and "{" in line):
                return number
    return 0


def _names_at(root: type[BaseModel], keys: Sequence[str]) -> list[str]:
    """List the keys that are allowed in a table; empty where they are the user's own."""
    here = _shape_at(root, keys)
    if isinstance(here, type) and issubclass(here, BaseModel):
        return list(here.model_fields)
    return _literals(get_args(here)[0]) if get_origin(here) is dict else []


def _is_secret(root: type[BaseModel], keys: Sequence[str]) -> bool:
    """Tell whether a value is one that must not show, or a table or list that may have one."""
    shape = _shape_at(root, keys)
    inner = [shape, *get_args(shape)]
    return SecretStr in inner or any(SecretStr in get_args(one) for one in inner)


def _shape_at(root: type[BaseModel], keys: Sequence[str]) -> object:
    """Give the type of a value; None where the settings have no such key."""
    here: object = root
    for key in keys:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = here.model_fields[key].annotation if key in here.model_fields else None
        elif get_origin(here) is dict:
            here = get_args(here)[1]
        else:
            return None
    return here


def _literals(annotation: object) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for part in get_args(annotation) for value in _literals(part)]
