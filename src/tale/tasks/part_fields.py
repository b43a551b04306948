"""One part of a plan as a model wrote it: its fields under any name, and what they mean. Pure.

Total: whatever is there is read, and what can't be meant is left out. Above: `tasks.plan_answers`,
which knows the other parts. Below: `tasks.task`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

from tale.clipped import clipped
from tale.tasks.languages import is_file_name
from tale.tasks.task import Size, Subtask, WorkKind

__all__ = ["MOST_ID", "RawPart", "listed_parts", "read_part", "reasoning_of", "safe_id", "strings"]

MOST_ID: Final = 40
_MOST_TITLE: Final = 80
_MOST_PRIORITY: Final = 100
_LIST_NAMES: Final = ("subtasks", "tasks", "steps", "parts", "plan", "replacements")
_WHY_NAMES: Final = ("reasoning", "diagnosis", "why", "thoughts", "analysis")
_OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("id", "name", "key"),
    "title": ("title", "name", "summary"),
    "text": ("instructions", "text", "description", "instruction", "task", "details"),
    "kind": ("kind", "type"),
    "depends_on": ("depends_on", "dependsOn", "depends", "dependencies", "needs", "after"),
    "reads": ("reads", "inputs", "input"),
    "writes": ("writes", "files", "outputs", "output", "file"),
    "check": ("check", "acceptance", "acceptance_check", "verify", "test"),
    "size": ("size", "effort"),
    "priority": ("priority",),
}
"""What models call the fields of a part."""
_KINDS: Final[Mapping[str, WorkKind]] = {
    "act": "act",
    "analysis": "extract",
    "code": "code",
    "command": "act",
    "deploy": "act",
    "docs": "write",
    "document": "write",
    "documentation": "write",
    "extract": "extract",
    "prose": "write",
    "run": "act",
    "setup": "act",
    "summarise": "summarise",
    "summarize": "summarise",
    "summary": "summarise",
    "text": "write",
    "transform": "transform",
    "translate": "transform",
    "write": "write",
    "writing": "write",
}
_SIZES: Final[Mapping[str, Size]] = {
    "big": "large",
    "l": "large",
    "large": "large",
    "m": "medium",
    "medium": "medium",
    "s": "small",
    "small": "small",
    "tiny": "small",
}
_PROSE: Final = frozenset({"write", "summarise", "extract", "transform"})
"""Kinds whose result is a text: where no file is named, it gets one, which can be checked."""


@dataclass(frozen=True, slots=True)
class RawPart:
    """A part as it was given, beside what was made of it."""

    given_id: str
    needs: tuple[str, ...]
    part: Subtask


def listed_parts(found: Mapping[str, object]) -> list[object]:
    """Find the parts in what a model wrote, whatever it called their list."""
    for name in _LIST_NAMES:
        value = found.get(name)
        if isinstance(value, list):
            return cast("list[object]", value)
        if isinstance(value, dict):  # parts by their ids, or a plan within a plan
            members = cast("dict[str, object]", value)
            inner = listed_parts(members)
            return inner or [
                {"id": key, **cast("dict[str, object]", one)}
                for key, one in members.items()
                if isinstance(one, dict)
            ]
    return [found] if "instructions" in found else []


def reasoning_of(found: Mapping[str, object]) -> str:
    """Find what the model thought before."""
    return next((_string(found[name]) for name in _WHY_NAMES if name in found), "")


def read_part(
    given: object, number: int, request: str, root: str, changes: list[str]
) -> RawPart | None:
    """Read a part.

    Args:
        given: What stands in the list.
        number: Its place there, from 1.
        request: What is asked for, which may name paths outside of the workspace.
        root: The workspace's path.
        changes: Is told what was changed or left out.
    """
    if isinstance(given, str) and given.strip():
        given = {"instructions": given}
    if not isinstance(given, dict):
        changes.append(f"Subtask {number} was left out: it says nothing.")
        return None
    fields = cast("dict[str, object]", given)
    title, text = _string(_field(fields, "title")), _string(_field(fields, "text"))
    if not (text or title):
        changes.append(f"Subtask {number} was left out: it has no instructions.")
        return None
    text, title = text or title, " ".join((title or text).split())
    identity = _string(_field(fields, "id"))
    paths = _Paths(request, root)
    part = Subtask(
        safe_id(identity) or safe_id(title) or f"part-{number}",
        clipped(title, _MOST_TITLE),
        text,
        kind=_kind(_field(fields, "kind")),
        reads=paths.read(_field(fields, "reads")),
        writes=paths.read(_field(fields, "writes")),
        check=_string(_field(fields, "check")),
        size=_SIZES.get(_string(_field(fields, "size")).lower(), "medium"),
        priority=_priority(_field(fields, "priority")),
    )
    changes += [f"{part.id}: {each}" for each in paths.told]
    return RawPart(identity or title, strings(_field(fields, "depends_on")), _with_file(part))


def _with_file(part: Subtask) -> Subtask:
    """Give a part without a file the one that its words name, or, where it writes, its own."""
    if part.writes:
        return part
    words = re.findall(r"[\w./-]+", f"{part.title} {part.text}")
    named = [word.strip(".") for word in words if is_file_name(word.strip("."))]
    new = [path for path in dict.fromkeys(named) if path not in part.reads and path[0] != "/"]
    if part.kind in _PROSE:
        return replace(part, writes=tuple(new[:1]) or (f"{part.id}.md",))
    return replace(part, writes=tuple(new[:1])) if part.kind == "code" else part


class _Paths:
    """Reads a part's paths; `told` says what was changed."""

    def __init__(self, request: str, root: str) -> None:
        self._request = request
        self._root = root.rstrip("/")
        self.told: list[str] = []

    def read(self, given: object) -> tuple[str, ...]:
        """Give the paths relative to the workspace, each once."""
        found = (self._path(each) for each in strings(given))
        return tuple(dict.fromkeys(path for path in found if path))

    def _path(self, given: str) -> str:
        path = given.strip().strip("`'\"").replace("\\", "/")
        if self._root and path.startswith(f"{self._root}/"):
            path = path[len(self._root) + 1 :]
        names = [name for name in path.split("/") if name not in {"", ".", "~"}]
        leaves = path.startswith(("/", "~")) or ".." in names or re.match(r"[A-Za-z]:/", path)
        if leaves and path in self._request:
            self.told.append(f"{path} is outside of the workspace, so it is no file of the plan.")
            return ""
        plain = "/".join(name for name in names if name != "..")
        if leaves and plain:
            self.told.append(f"{given} was taken for {plain}, in the workspace.")
        return f"{plain}/" if plain and path.endswith("/") else plain


def _field(fields: Mapping[str, object], name: str) -> object:
    return next((fields[each] for each in _OTHER_NAMES[name] if each in fields), None)


def _string(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return "\n".join(filter(None, map(_string, cast("list[object]", value))))
    return "" if value is None or isinstance(value, (bool, dict)) else str(value)


def strings(value: object) -> tuple[str, ...]:
    """Give the words of a list, or of a text that is meant as one, each once."""
    if isinstance(value, str):
        value = re.split(r"[,;\n]", value)
    if not isinstance(value, list):
        return (str(value),) if isinstance(value, int) and not isinstance(value, bool) else ()
    items = cast("list[object]", value)
    texts = [
        _string(_field(cast("dict[str, object]", one), "id") if isinstance(one, dict) else one)
        for one in items
    ]
    return tuple(dict.fromkeys(each for each in texts if each and each.lower() != "none"))


def _kind(value: object) -> WorkKind:
    return _KINDS.get(_string(value).lower(), "code")


def _priority(value: object) -> int:
    try:
        number = float(_string(value) or 0)
    except ValueError:
        return 0
    bounded = max(-_MOST_PRIORITY, min(_MOST_PRIORITY, number))
    return 0 if math.isnan(number) else round(bounded)


def safe_id(name: str) -> str:
    """Make an id of a name: small letters, digits, single hyphens."""
    plain = re.sub(r"[^\w]+|_", "-", name.lower())
    return re.sub(r"-+", "-", plain)[:MOST_ID].strip("-")
