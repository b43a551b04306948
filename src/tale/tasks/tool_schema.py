"""The arguments of external tools: their JSON schema made plain, and in a few words. Pure.

Schemas come from strangers. A model server turns them into a grammar, where a reference that leads
nowhere or a pattern that it does not know fails the whole request: so only the keywords that every
one of them knows are kept, and whatever is unclear may be anything. Above: `tasks.offers`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, cast

__all__ = ["arguments_in_words", "fault_of", "plain_schema"]

_DEPTH: Final = 6
_MOST_CHARACTERS: Final = 4_000
"""Of a plain schema: a grammar of more costs the model server seconds."""
_TYPES: Final = ("string", "number", "integer", "boolean", "object", "array", "null")
_ANYTHING: Final[Mapping[str, object]] = {"type": list(_TYPES)}
_ANY_OBJECT: Final[Mapping[str, object]] = {"type": "object"}
_MOST_CHOICES: Final = 6


def plain_schema(schema: Mapping[str, object]) -> dict[str, object]:
    """Give the schema of a tool's arguments, an object, with what every model server knows.

    It allows whatever the given one allows, and may allow more.
    """
    plain = _plain(schema, schema, _DEPTH)
    if plain.get("type") != "object" or len(json.dumps(plain, default=str)) > _MOST_CHARACTERS:
        return dict(_ANY_OBJECT)
    return plain


def arguments_in_words(schema: Mapping[str, object]) -> str:
    """Give the arguments as in `{"path": string, "depth"?: integer}`: in the form of a call.

    A small model copies whatever form it sees.
    """
    needed = _list(schema.get("required"))
    parts = [
        f"{json.dumps(name)}{'' if name in needed else '?'}: {_type(value)}"
        for name, value in _object(schema.get("properties")).items()
    ]
    return f"{{{', '.join(parts)}}}"


def fault_of(arguments: Mapping[str, object], schema: Mapping[str, object]) -> str:
    """Say which arguments a call lacks, for the model; empty where it has all it needs."""
    missing = [each for each in _list(schema.get("required")) if each not in arguments]
    if not missing:
        return ""
    known = _object(schema.get("properties"))
    strange = [name for name in arguments if known and name not in known]
    has = f"; there is no {', '.join(map(json.dumps, strange))}" if strange else ""
    return (
        f"{', '.join(map(json.dumps, missing))} is missing{has}. It takes "
        f"{arguments_in_words(schema)}."
    )


def _type(schema: object) -> str:
    found = _object(schema)
    kind = found.get("type")
    if choices := _list(found.get("enum")):
        shown = " | ".join(json.dumps(each) for each in choices[:_MOST_CHOICES])
        return f"{shown} | …" if len(choices) > _MOST_CHOICES else shown
    if options := _list(found.get("anyOf")):
        return " | ".join(dict.fromkeys(_type(each) for each in options))
    if kind == "array" and "items" in found:
        return f"{_type(found['items'])}[]"
    return kind if isinstance(kind, str) else "any"


def _plain(schema: object, root: Mapping[str, object], depth: int) -> dict[str, object]:
    found = _object(schema)
    if depth == 0:
        return dict(_ANYTHING)
    alone = _list(found.get("allOf"))
    if len(alone) == 1:
        return _plain(alone[0], root, depth - 1)
    if isinstance(reference := found.get("$ref"), str):
        return _plain(_referred(reference, root), root, depth - 1)
    if options := _list(found.get("anyOf")) or _list(found.get("oneOf")):
        return {"anyOf": [_plain(each, root, depth - 1) for each in options]}
    choices = [found["const"]] if "const" in found else _list(found.get("enum"))
    if choices:
        return {"enum": choices}
    return _plain_type(found, root, depth)


def _plain_type(
    schema: Mapping[str, object], root: Mapping[str, object], depth: int
) -> dict[str, object]:
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return _plain_object(schema, root, depth)
    if kind == "array" and isinstance(schema.get("items"), dict):
        return {"type": "array", "items": _plain(schema["items"], root, depth - 1)}
    kinds = [kind] if isinstance(kind, str) else _list(kind)
    if kinds and all(each in _TYPES for each in kinds):
        return {"type": kinds[0] if len(kinds) == 1 else kinds}
    return dict(_ANYTHING)


def _plain_object(
    schema: Mapping[str, object], root: Mapping[str, object], depth: int
) -> dict[str, object]:
    properties = {
        name: _plain(value, root, depth - 1)
        for name, value in _object(schema.get("properties")).items()
    }
    if not properties:
        return dict(_ANY_OBJECT)
    needed = _list(schema.get("required"))
    plain: dict[str, object] = {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name in needed],
    }
    if schema.get("additionalProperties") is False:
        plain["additionalProperties"] = False
    return plain


def _referred(reference: str, root: Mapping[str, object]) -> object:
    """Look up what a reference within the schema means; None where it leads elsewhere."""
    if not reference.startswith("#/"):
        return None
    found: object = root
    for name in reference.removeprefix("#/").split("/"):
        found = _object(found).get(name.replace("~1", "/").replace("~0", "~"))
    return found


def _object(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
