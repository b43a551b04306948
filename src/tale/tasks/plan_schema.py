"""The form in which a model gives a plan, or a repair of one, as a JSON schema. Pure.

What it thinks comes first, so that the rest follows from it. Above: `tasks.plan_questions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["plan_schema", "repair_schema"]

_MOST_PARTS: Final = 10


def plan_schema(most: int = _MOST_PARTS, *, shown: int = 0) -> Mapping[str, object]:
    """Give the JSON schema of a plan: what was thought first, then the parts.

    Args:
        most: Parts at most.
        shown: Lines of what is remembered, of which it then says which it uses.
    """
    thought = {"reasoning": _text(600), **_uses(shown)}
    return _object({**thought, "subtasks": _list(_part(), 1, most)})


def repair_schema(most: int = _MOST_PARTS, *, shown: int = 0) -> Mapping[str, object]:
    """Give the JSON schema of a repair: the diagnosis first."""
    return _object(
        {
            "diagnosis": _text(600),
            **_uses(shown),
            "subtasks": _list(_part(), 0, most),
            "drop": _list(_name(), 0, most),
        }
    )


def _part() -> Mapping[str, object]:
    path = {"type": "string", "pattern": "^[A-Za-z0-9_.][A-Za-z0-9_./-]{0,60}$"}
    return _object(
        {
            "id": _name(),
            "title": _text(60),
            "instructions": _text(500),
            "kind": _one_of("code", "write", "act", "summarise", "extract", "transform"),
            "depends_on": _list(_name(), 0, 6),
            "reads": _list(path, 0, 6),
            "writes": _list(path, 0, 6),
            "check": _text(160),
            "size": _one_of("small", "medium", "large"),
            "priority": {"type": "integer", "minimum": 0, "maximum": 9},
        }
    )


def _object(properties: Mapping[str, object]) -> Mapping[str, object]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _uses(shown: int) -> Mapping[str, object]:
    if not shown:
        return {}
    number = {"type": "integer", "enum": list(range(1, shown + 1))}
    return {"uses": _list(number, 0, shown)}


def _name() -> Mapping[str, object]:
    return {"type": "string", "pattern": "^[a-z][a-z0-9-]{1,30}$"}


def _text(most: int) -> Mapping[str, object]:
    return {"type": "string", "minLength": 1, "maxLength": most}


def _one_of(*words: str) -> Mapping[str, object]:
    return {"type": "string", "enum": list(words)}


def _list(items: Mapping[str, object], least: int, most: int) -> Mapping[str, object]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}
