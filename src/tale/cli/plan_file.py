"""A plan as a user wrote it: a YAML or JSON file with the parts of a task.

Says what is wrong with it, and where, before anything is started. Above: `submit`. Below:
`tasks.plan`, whose rules the gateway keeps too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, cast, get_args

from tale.cli.record import JsonValue
from tale.errors import PromptRejected
from tale.tasks.plan import check_plan
from tale.tasks.task import Size, Subtask, WorkKind

__all__ = ["read_plan"]

_HINT: Final = (
    "A plan is a list; for example\n"
    "  - id: draft\n"
    "    text: Write a draft\n"
    "  - id: review\n"
    "    text: Review the draft\n"
    "    depends_on: [draft]\n"
    "Also: title, kind, reads, writes, check (a shell line), size, priority."
)
_MOST_BYTES: Final = 2 * 1024 * 1024
_MOST_PRIORITY: Final = 100
_LISTS: Final = ("depends_on", "reads", "writes")
_WORDS: Final = {
    "kind": tuple(one for one in get_args(WorkKind) if one != "plan"),
    "size": get_args(Size),
}
_ALWAYS: Final = ("id", "title", "text", "depends_on")
_FIELDS: Final = (*_ALWAYS, "kind", "reads", "writes", "check", "size", "priority")


def read_plan(file: Path) -> list[JsonValue]:
    """Read a plan: a list of parts, or a mapping that has one under `subtasks`.

    Raises:
        PromptRejected: It can't be read, is no plan, or can't be worked on.
    """
    content = _parse(file, _read(file))
    if isinstance(content, Mapping):
        content = cast("Mapping[str, Any]", content).get("subtasks")
    if not isinstance(content, list) or not content:
        raise _rejected(f"{file} has no list of subtasks.")
    listed = cast("list[Any]", content)
    parts = check_plan([_part(file, number, one) for number, one in enumerate(listed, 1)])
    return [_shown(part, given) for part, given in zip(parts, listed, strict=True)]


def _shown(part: Subtask, given: Collection[str]) -> JsonValue:
    """Give a part as it is submitted: what nobody said of it is left to the gateway."""
    values = cast("dict[str, JsonValue]", asdict(part))
    values |= {name: [*cast("tuple[str, ...]", values[name])] for name in _LISTS}
    return {name: values[name] for name in _FIELDS if name in _ALWAYS or name in given}


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _rejected(f"{file} can't be read: {error.strerror}.") from error
    if len(data) > _MOST_BYTES:
        raise _rejected(f"{file} is larger than 2 MiB.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _rejected(f"{file} is not UTF-8: offset {error.start}.") from error


def _parse(file: Path, text: str) -> object:
    if file.suffix.lower() == ".json":
        try:
            return json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise _rejected(f"{file} is no JSON: {error}.") from error
    # A tenth of a second that only a plan costs.
    import yaml  # noqa: PLC0415

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise _rejected(f"{file} is no YAML: {error}.") from error


def _part(file: Path, number: int, given: object) -> Subtask:
    where = f"{file}: subtask {number}"
    if not isinstance(given, Mapping):
        raise _rejected(f"{where} is no mapping.")
    fields = {str(key): value for key, value in cast("Mapping[Any, Any]", given).items()}
    if unknown := sorted(fields.keys() - {*_FIELDS}):
        raise _rejected(f"{where} has an unknown field {unknown[0]!r}.")
    for name in ("id", "text"):
        if not isinstance(fields.get(name), (str, int)):
            raise _rejected(f"{where} has no {name}.")
    for name, words in _WORDS.items():
        if name in fields and fields[name] not in words:
            raise _rejected(f"{where}: {name} is none of {', '.join(words)}.")
    priority = fields.get("priority", 0)
    if type(priority) is not int or abs(priority) > _MOST_PRIORITY:
        raise _rejected(f"{where}: priority is no number from -100 to 100.")
    if not isinstance(check := fields.get("check") or "", str):
        raise _rejected(f"{where}: check is no shell line.")
    needs, reads, writes = (_texts(fields.get(name), f"{where}: {name}") for name in _LISTS)
    return Subtask(
        str(fields["id"]),
        str(fields.get("title") or ""),
        str(fields["text"]),
        needs,
        kind=cast("WorkKind", fields.get("kind", "code")),
        reads=reads,
        writes=writes,
        check=check,
        size=cast("Size", fields.get("size", "medium")),
        priority=priority,
    )


def _texts(given: object, where: str) -> tuple[str, ...]:
    """Read a list of ids or paths, or one alone."""
    listed = [given] if isinstance(given, str) else given or []
    if not isinstance(listed, list):
        raise _rejected(f"{where} is no list{' of ids' if where.endswith('depends_on') else ''}.")
    return tuple(map(str, cast("list[Any]", listed)))


def _rejected(message: str) -> PromptRejected:
    return PromptRejected(message, hint=_HINT)
