"""Questions, actions and what came of them as JSON: on the wire, and in the record of steps.

Both are written and read by this module alone, and what is read may be years old: a field that is
missing takes its default, and one that is not known is passed over. Above: `recorded_hands`,
`servers.steps`. Below: `hands`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, TypeVar, cast

import orjson
from pydantic import TypeAdapter, ValidationError

from tale.errors import TaskError
from tale.tasks.hands import (
    Action,
    ApprovePlan,
    AskUser,
    CallTool,
    EditFile,
    ListFiles,
    Outcome,
    Question,
    ReadFile,
    Reply,
    RunCommand,
    RunPython,
    WriteFile,
)

__all__ = [
    "as_json",
    "read_action",
    "read_outcome",
    "read_question",
    "read_reply",
    "write_action",
    "write_outcome",
    "write_question",
    "write_reply",
]

ValueT = TypeVar("ValueT")
Record = Mapping[str, Any]

_ACTIONS: Final = {
    kind.__name__: kind
    for kind in (
        *(ListFiles, ReadFile, WriteFile, EditFile, RunCommand, RunPython, CallTool),
        *(AskUser, ApprovePlan),
    )
}
_DO: Final = "do"
"""Key under which an action's kind stands."""


def write_question(question: Question) -> dict[str, object]:
    """Put a question into JSON."""
    return _plain(question)


def read_question(record: Record) -> Question:
    """Take a question out of JSON; raises `TaskError`."""
    return _read(Question, record)


def write_reply(reply: Reply) -> dict[str, object]:
    """Put a reply into JSON."""
    return _plain(reply)


def read_reply(record: Record) -> Reply:
    """Take a reply out of JSON; raises `TaskError`."""
    return _read(Reply, record)


def write_action(action: Action) -> dict[str, object]:
    """Put an action into JSON, with its kind."""
    return {_DO: type(action).__name__, **_plain(action)}


def read_action(record: Record) -> Action:
    """Take an action out of JSON; raises `TaskError`."""
    kind = _ACTIONS.get(str(record.get(_DO)))
    if kind is None:
        raise TaskError(f"There is no action {record.get(_DO)!r}.")
    return _read(kind, {key: value for key, value in record.items() if key != _DO})


def write_outcome(outcome: Outcome) -> dict[str, object]:
    """Put an outcome into JSON."""
    return _plain(outcome)


def read_outcome(record: Record) -> Outcome:
    """Take an outcome out of JSON; raises `TaskError`."""
    return _read(Outcome, record)


def as_json(value: object) -> bytes:
    """Write what one of these gave as JSON text, whatever numbers a model wrote."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # it takes no integer of more than 64 bits
        return json.dumps(value, ensure_ascii=False).encode()


def _plain(value: Any) -> dict[str, object]:
    # What a model wrote may hold halves of surrogate pairs, which no JSON can.
    return {key: _clean(one) for key, one in asdict(value).items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="replace").decode()
    if isinstance(value, (list, tuple)):
        return [_clean(one) for one in cast("Sequence[Any]", value)]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        return {str(key): _clean(one) for key, one in pairs}
    return value


def _read(kind: type[ValueT], record: Record) -> ValueT:
    adapter = _adapters.get(kind) or _adapters.setdefault(kind, TypeAdapter(kind))
    try:
        return adapter.validate_json(as_json(record))
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
        raise TaskError(f"This is no {kind.__name__}: {wrong}.") from error


_adapters: dict[type[Any], TypeAdapter[Any]] = {}
