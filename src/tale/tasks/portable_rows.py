"""What the rows in an exported task's file say, and whether that can be a task. Pure.

A row may come from anywhere, so its shape is checked before it is used, and names hold no id of the
other machine's: keys and steps are told relative to their task. What only the other machine knows
is not in it: the conversation, the key of the submission, the folder. Above: `tasks.records`,
`tasks.transfer`. Below: `tasks.portable`, which made sure that a row is JSON that runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, cast

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tale.errors import ExportRefused, PromptRejected
from tale.storage.database import storable
from tale.tasks.plan import check_plan
from tale.tasks.portable import Row, TaskRows
from tale.tasks.task import Role, Size, State, Subtask, WorkKind, check_prompt

__all__ = ["Checked", "EventRow", "PartRow", "StepRow", "TaskRow", "check_rows", "clean"]

RowT = TypeVar("RowT", bound=BaseModel)

_ID: Final = r"^t-[0-9abcdefghjkmnpqrstvwxyz]{8}$"
_MAX_KEY: Final = 128 - len("t-00000000")
_ANSWERS: Final = frozenset({"approval", "approved", "rejected"})
_Count = Annotated[int, Field(ge=0, le=2**31 - 1)]


class _Row(BaseModel):
    """A row; what a later tale may have added is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PartRow(_Row):
    """A subtask; what an older tale did not know of one is as it is where nobody says it."""

    id: str
    title: str
    text: str
    depends_on: tuple[str, ...] = ()
    state: State = "queued"
    answer: str = ""
    files: tuple[str, ...] = ()
    kind: WorkKind = "code"
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    check: str = ""
    size: Size = "medium"
    priority: int = Field(default=0, ge=-100, le=100)

    def part(self) -> Subtask:
        """Give the subtask."""
        return Subtask(
            self.id,
            self.title,
            self.text,
            self.depends_on,
            self.state,
            self.answer,
            self.files,
            self.kind,
            self.reads,
            self.writes,
            self.check,
            self.size,
            self.priority,
        )


class TaskRow(_Row):
    """A task with its subtasks."""

    id: str = Field(pattern=_ID)
    text: str
    state: State
    priority: int = Field(default=0, ge=-100, le=100)
    created: AwareDatetime
    started: AwareDatetime | None = None
    finished: AwareDatetime | None = None
    role: Role | None = None
    reason: str | None = None
    model: str | None = None
    answer: str | None = None
    files: tuple[str, ...] | None = None
    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0
    cached_tokens: _Count = 0
    error: str | None = None
    hint: str | None = None
    private: bool = False
    subtasks: tuple[PartRow, ...] = ()


class EventRow(_Row):
    """An event; `key` is what follows the task's id in its key."""

    seq: int
    at: AwareDatetime
    kind: str = Field(pattern=r"^[a-z_]{1,16}$")
    data: dict[str, Any] = Field(default_factory=dict[str, Any])
    key: str | None = Field(default=None, max_length=_MAX_KEY)

    def harmless(self) -> Mapping[str, object]:
        """Give its data, without the id by which an answer of a user's is found again.

        The word of another machine's user lets nothing be done on this one: they are asked again.
        """
        data = cast("dict[str, object]", clean(self.data))
        if self.kind in _ANSWERS:
            data.pop("id", None)
        return data


class StepRow(_Row):
    """A recorded step of a part, or of the task where it has none; `value` is JSON text."""

    part: str = ""
    position: int
    name: str = Field(max_length=128)
    value: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Rows that can be a task.

    Attributes:
        task: The task.
        last_event: The number of its last event.
        steps: How many steps are recorded.
    """

    task: TaskRow
    last_event: int
    steps: int
    _source: Path
    _rows: TaskRows

    def events(self) -> Iterator[EventRow]:
        """Read the events."""
        return (_read(self._source, EventRow, row) for row in self._rows.events)

    def recorded(self) -> Iterator[StepRow]:
        """Read the recorded steps."""
        return (_read(self._source, StepRow, row) for row in self._rows.steps)


def check_rows(source: Path, rows: TaskRows) -> Checked:
    """Read all rows, believing nothing.

    Args:
        source: The file that they come from, for the message.
        rows: They can be read more than once.

    Raises:
        ExportRefused: They can't be a task.
    """
    task = _read(source, TaskRow, rows.task)
    try:
        check_prompt(task.text)
        check_plan([one.part() for one in task.subtasks], own=True)
    except PromptRejected as error:
        raise _refused(source, error.message.rstrip(".")) from error
    checked = Checked(task, 0, 0, source, rows)
    last = _check_events(source, checked)
    return Checked(task, last, _check_steps(source, checked), source, rows)


def clean(value: object) -> object:
    """Replace what databases refuse in text, however deep it is in a value."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        values = cast("dict[str, object]", value)
        return {storable(name): clean(one) for name, one in values.items()}
    if isinstance(value, (list, tuple)):
        return [clean(one) for one in cast("list[object]", value)]
    return value


def _check_events(source: Path, checked: Checked) -> int:
    last, keys = 0, set[str]()
    for event in checked.events():
        if event.seq != last + 1:
            raise _refused(source, f"event {last + 1} is missing")
        last = event.seq
        if event.key is not None:
            if event.key in keys:
                raise _refused(source, f"event {last} is there twice")
            keys.add(event.key)
    return last


def _check_steps(source: Path, checked: Checked) -> int:
    parts = {part.id for part in checked.task.subtasks} or {""}
    found = dict.fromkeys(parts, 0)
    for step in checked.recorded():
        if step.part not in parts:
            raise _refused(source, f"{step.part[:64]!r} has steps and is no part of the task")
        if step.position != found[step.part]:
            raise _refused(source, f"step {found[step.part]} is missing")
        try:
            orjson.loads(step.value)
        except orjson.JSONDecodeError as error:
            raise _refused(source, f"step {step.position} gave no JSON") from error
        found[step.part] += 1
    return sum(found.values())


def _read(source: Path, shape: type[RowT], row: Row) -> RowT:
    try:
        return shape.model_validate(row)
    except (ValidationError, RecursionError) as error:
        where = ""
        if isinstance(error, ValidationError):
            fault = error.errors()[0]
            where = f" ({'.'.join(map(str, fault['loc']))}: {fault['msg']})"
        raise _refused(source, f"a row can't be understood{where}") from error


def _refused(source: Path, what: str) -> ExportRefused:
    return ExportRefused(f"{source} can't be imported: {what}.", hint="Nothing of it was used.")
