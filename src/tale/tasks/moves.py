"""One action a turn as a JSON object: the schema it must satisfy, and how it is read. Pure.

For models that hold a form well; small ones do better with `tasks.fenced`. What the schema forbids
and a backend without grammars lets through is mended where it is clear what is meant, and else told
to the model as an exact fault. Above: `tasks.agent`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from tale.tasks.hands import (
    Action,
    AskUser,
    CallTool,
    EditFile,
    ListFiles,
    ReadFile,
    RunCommand,
    RunPython,
    WriteFile,
)
from tale.tasks.lenient_json import Fault, read_object
from tale.tasks.offers import find_tool
from tale.tasks.task import ToolOffer
from tale.tasks.tool_schema import fault_of

__all__ = ["Finish", "Garbled", "Move", "move_schema", "read_move"]


@dataclass(frozen=True, slots=True)
class Finish:
    """The work is done, as the model sees it; `text` says what was made."""

    text: str


@dataclass(frozen=True, slots=True)
class Garbled:
    """The answer is no action; `fault` tells the model why."""

    fault: str


Move = Action | Finish | Garbled

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "list": ("path",),
    "read": ("path",),
    "write": ("path", "content"),
    "edit": ("path", "old", "new"),
    "run": ("command",),
    "python": ("code",),
    "done": ("answer",),
    "ask": ("question",),
}
"""Each action's fields, all of them needed."""

_MAKE: Final[Mapping[str, Callable[[Sequence[str]], Move]]] = {
    "list": lambda given: ListFiles(given[0] or "."),
    "read": lambda given: ReadFile(given[0]),
    "write": lambda given: WriteFile(given[0], given[1]),
    "edit": lambda given: EditFile(given[0], given[1], given[2]),
    "run": lambda given: RunCommand(given[0]),
    "python": lambda given: RunPython(given[0]),
    "done": lambda given: Finish(given[0]),
    "ask": lambda given: AskUser(given[0]),
}

_OTHER_NAMES: Final[Mapping[str, str]] = {
    "bash": "run",
    "command": "run",
    "create": "write",
    "execute": "run",
    "finish": "done",
    "list_files": "list",
    "ls": "list",
    "read_file": "read",
    "replace": "edit",
    "run_command": "run",
    "run_python": "python",
    "shell": "run",
    "write_file": "write",
}
_OTHER_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "path": ("file", "filename", "file_path", "folder", "directory"),
    "content": ("text", "contents", "code", "data"),
    "old": ("old_str", "old_string", "search", "find"),
    "new": ("new_str", "new_string", "replace", "replacement"),
    "command": ("cmd", "line", "shell", "bash"),
    "code": ("python", "program", "source", "content"),
    "answer": ("text", "message", "summary", "result"),
    "question": ("text", "message", "ask"),
}
"""What models trained on other tools call ours."""
_WHY_CHARACTERS: Final = 160


def move_schema(tools: Sequence[ToolOffer] = ()) -> Mapping[str, object]:
    """Give the JSON schema of a move: one object, `why` first, which small models need to think."""
    why = {"type": "string", "maxLength": _WHY_CHARACTERS}
    text = {"type": "string"}
    shapes: list[object] = [
        _shape({"why": why, "action": {"const": name}, **dict.fromkeys(fields, text)})
        for name, fields in _FIELDS.items()
    ]
    for offer in tools:
        arguments = dict(offer.schema) or {"type": "object"}
        shapes.append(_shape({"why": why, "action": {"const": offer.name}, "arguments": arguments}))
    return {"anyOf": shapes}


def _shape(properties: Mapping[str, object]) -> Mapping[str, object]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def read_move(text: str, tools: Sequence[ToolOffer] = ()) -> Move:
    """Read what the model wants to do. Total: what can't be understood is `Garbled`."""
    found = read_object(text)
    if isinstance(found, Fault):
        return Garbled(f"{found.text} Answer with one JSON object, as in the example.")
    # Some models put their fields into an object of their own, as in OpenAI's tool calls.
    inner = next((found[each] for each in ("arguments", "parameters") if each in found), None)
    fields: Mapping[str, object] = {}
    if isinstance(inner, dict):
        fields = cast("Mapping[str, object]", inner)
    name = next((found[each] for each in ("action", "tool", "name") if each in found), None)
    if not isinstance(name, str):
        return Garbled(f'"action" is missing: it is one of {_names(tools)}.')
    if offer := find_tool(name, tools) if name not in _FIELDS else None:
        if lacks := fault_of(fields, offer.schema):
            return Garbled(f"{offer.name} was not called: {lacks}")
        return CallTool(offer.server, offer.tool, fields)
    known = _OTHER_NAMES.get(name.strip().lower(), name.strip().lower())
    if known not in _FIELDS:
        close = difflib.get_close_matches(known, _FIELDS, n=1)
        meant = f' Did you mean "{close[0]}"?' if close else ""
        return Garbled(f'There is no action "{name[:40]}".{meant} It is one of {_names(tools)}.')
    return _make(known, {**found, **fields})


def _make(action: str, found: Mapping[str, object]) -> Move:
    """Make the move of an action's fields."""
    given: list[str] = []
    for field in _FIELDS[action]:
        value = _field(found, field)
        if not value and not _may_be_empty(action, field):
            return Garbled(f'"{action}" needs "{field}", which is missing or empty.')
        given.append(value or "")
    return _MAKE[action](given)


def _may_be_empty(action: str, field: str) -> bool:
    """An empty file is one, and what an edit takes out has nothing in its place."""
    return field in {"content", "new", "answer"} or (action, field) == ("list", "path")


def _field(found: Mapping[str, object], field: str) -> str | None:
    for name in (field, *_OTHER_FIELDS.get(field, ())):
        value = found.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, list):  # a file as a list of its lines
            lines = cast("list[object]", value)
            return "".join(f"{line}\n" for line in lines)
        if isinstance(value, (int, float)):
            return str(value)
    return None


def _names(tools: Sequence[ToolOffer]) -> str:
    return ", ".join([*_FIELDS, *(offer.name for offer in tools)])
