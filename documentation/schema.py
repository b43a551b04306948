"""JSON schemas in words, as pydantic gives them. Above: `settings`, `tools`."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["Node", "kind_of", "reference_of"]

Node = dict[str, Any]

_NAMES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true`, `false`",
    "null": "nothing",
}


def reference_of(node: Node) -> str:
    """Give the name of the shape that a node refers to; empty if to none."""
    return str(node.get("$ref", "")).rpartition("/")[2]


def kind_of(node: Node) -> str:  # noqa: C901, PLR0911 - one for each kind of value
    """Say what values a node takes."""
    if "anyOf" in node:
        return ", or ".join(kind_of(each) for each in node["anyOf"] if each.get("type") != "null")
    if name := reference_of(node):
        return f"[{name}](#{name.lower()})"
    if "const" in node:
        return f"`{_plain(node['const'])}`"
    if "enum" in node:
        return ", ".join(f"`{_plain(value)}`" for value in node["enum"])
    match node.get("type"):
        case "array":
            return f"list of {_plural(node.get('items', {}))}"
        case "object":
            return _table_of(node)
        case "string" if node.get("format") == "password":
            return "text, kept secret"
        case "string" if node.get("format") == "path":
            return "path"
        case "string" if node.get("format") == "date-time":
            return "time"
        case str(name):
            return f"{_NAMES[name]}{_limits(node)}"
        case _:
            return "any value"


def _plain(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _plural(items: Node) -> str:
    return {"text": "texts", "whole number": "whole numbers"}.get(kind_of(items), kind_of(items))


def _table_of(node: Node) -> str:
    keys = node.get("propertyNames", {})
    values = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    value: Node | None = next((each for each in values if each not in (None, True, False)), None)
    named = f" by {kind_of(keys)}" if "enum" in keys else ""
    return f"table{named} of {_plural(value)}" if value else "table"


def _limits(node: Node) -> str:
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum")
    if "exclusiveMaximum" in node:
        high = node["exclusiveMaximum"] - 1
    above = "more than " if "exclusiveMinimum" in node else ""
    if low is not None and high is not None:
        return f", {above}{low:,} to {high:,}".replace(".0", "")
    if low is not None:
        return f", {above or 'from '}{low:,}".replace(".0", "")
    return ""
