"""A plan as a user wrote it: a YAML or JSON file with the parts of a task.

Says what is wrong with it, and where, before anything is started. Above: `submit`. Below:
`tasks.plan`, whose rules the gateway keeps too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from tale.cli.record import JsonValue
from tale.errors import PromptRejected
from tale.tasks.plan import check_plan
from tale.tasks.task import Subtask

__all__ = ["read_plan"]

_HINT: Final = (
    "A plan is a list; for example\n"
    "  - id: draft\n"
    "    text: Write a draft\n"
    "  - id: review\n"
    "    text: Review the draft\n"
    "    depends_on: [draft]"
)
_MOST_BYTES: Final = 2 * 1024 * 1024
_FIELDS: Final = {"id", "title", "text", "depends_on"}


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
    parts = check_plan(
        [_part(file, number, one) for number, one in enumerate(cast("list[Any]", content), 1)]
    )
    return [
        {
            "id": part.id,
            "title": part.title,
            "text": part.text,
            "depends_on": list(part.depends_on),
        }
        for part in parts
    ]


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
    if unknown := sorted(fields.keys() - _FIELDS):
        raise _rejected(f"{where} has an unknown field {unknown[0]!r}.")
    for name in ("id", "text"):
        if not isinstance(fields.get(name), (str, int)):
            raise _rejected(f"{where} has no {name}.")
    given_needs: object = fields.get("depends_on") or []
    if isinstance(given_needs, str):
        given_needs = [given_needs]
    if not isinstance(given_needs, list):
        raise _rejected(f"{where}: depends_on is no list of ids.")
    needs = tuple(map(str, cast("list[Any]", given_needs)))
    title = fields.get("title") or ""
    return Subtask(str(fields["id"]), str(title), str(fields["text"]), needs)


def _rejected(message: str) -> PromptRejected:
    return PromptRejected(message, hint=_HINT)
