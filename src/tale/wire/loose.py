"""JSON from somebody else, taken for what it should be: what is of another kind reads as empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

__all__ = ["as_list", "as_object", "read_object"]


def as_object(value: object) -> Mapping[str, Any]:
    """Take a value for an object."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_list(value: object) -> Sequence[Any]:
    """Take a value for a list."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def read_object(text: bytes | str) -> Mapping[str, Any] | None:
    """Read a JSON object; None where it is none."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
