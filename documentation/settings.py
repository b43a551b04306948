"""The page of all settings, from the shape by which `tale.toml` is checked.

Above: `pages`. Below: `tale.config`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from documentation.markdown import code, table
from documentation.schema import Node, kind_of, reference_of
from tale.config import Settings

__all__ = ["Setting", "all_settings", "settings_page"]

_INTRODUCTION = """\
# Settings

Every key of `tale.toml`: what it takes, what it is by default, and the environment variable that
overrides it.

`tale config path config` says where the file is, `tale config show` what is in force. Nothing has
to be set. What is wrong in it is told with line, key and what is allowed, and nothing starts until
it is mended. A variable's value is written as in the file where it is no plain text:
`TALE_NOTIFY__ON='["done"]'`. `tale reload` reads the file again and restarts only what it concerns.

A set of them under a name is a [profile](../guides/profiles.md), and a secret may stand elsewhere.

A heading such as `servers.NAME` stands for a table of yours: `[servers.search]`.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key.

    Attributes:
        table: The table it stands in, with dots; empty for the outermost.
        key: Its name there.
        node: Its JSON schema.
        required: Whether it has to be there, if its table is.
    """

    table: str
    key: str
    node: Node
    required: bool

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        path = [*filter(None, self.table.split(".")), self.key]
        return "TALE_" + "__".join(path).upper()

    @property
    def default(self) -> str:
        """What it is where nothing is said, as in the file; empty for nothing."""
        value = self.node.get("default")
        return "" if value in (None, "", [], {}) else json.dumps(value)


def all_settings() -> Iterator[tuple[str, str, list[Setting]]]:
    """Give every table: its name, what it is about, its keys."""
    schema = Settings.model_json_schema()
    yield from _tables("", schema, schema["$defs"])


def _tables(
    name: str, shape: Node, shapes: dict[str, Any]
) -> Iterator[tuple[str, str, list[Setting]]]:
    keys: list[Setting] = []
    below: list[tuple[str, Node]] = []
    for key, node in cast("dict[str, Node]", shape["properties"]).items():
        inner = f"{name}.{key}" if name else key
        if target := reference_of(node):
            below.append((inner, shapes[target]))
        elif target := _table_of_tables(node):
            below.append((f"{inner}.NAME", shapes[target]))
        else:
            keys.append(Setting(name, key, node, key in shape.get("required", ())))
    yield name, str(shape.get("description", "")), keys
    for inner, found in below:
        yield from _tables(inner, found, shapes)


def _table_of_tables(node: Node) -> str:
    """Give the shape of the tables that users name themselves; empty if it is no such key."""
    for values in cast("dict[str, Node]", node.get("patternProperties", {})).values():
        if target := reference_of(values):
            return target
    return ""


def settings_page() -> str:
    """Write the page."""
    lines = [_INTRODUCTION]
    for name, about, keys in all_settings():
        if not keys:
            continue
        title = f"\\[{name}\\]" if name else "Outside of any table"
        lines += [f"## {title}" + (f" {{ #{_anchor(name)} }}" if name else ""), ""]
        lines += [*about.splitlines(), ""] if name else []
        rows = [
            (
                code(key.key),
                kind_of(key.node),
                code(key.default) if key.default else ("required" if key.required else ""),
                f"{key.node.get('description', '')}<br>{code(key.variable)}",
            )
            for key in keys
        ]
        lines += table(("Key", "Takes", "Default", "Meaning, variable"), rows)
    return "\n".join(lines)


def _anchor(name: str) -> str:
    return name.replace(".", "-").lower()
