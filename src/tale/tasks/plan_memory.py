"""What is remembered that may matter to a plan: asked for once, shown as material, and claimed.

A plan is made of what was remembered when it was asked for first, also after a crash. Where nobody
answers, it is planned without, and the user is told. Above: `tasks.planning` (asks),
`tasks.planner`, `tasks.plan_questions` (shows it). Filled by `servers.remote_memory`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import TypeAdapter, ValidationError

from tale.errors import TaleError
from tale.tasks.durable import Changed, Json, Recorder
from tale.tasks.hands import Hands
from tale.tasks.task import Task

__all__ = ["Ask", "Remembered", "claimed", "in_words", "numbered", "remembered_for"]

_STEP: Final = "memory"
_DIGITS: Final = 3
_WITHOUT: Final = "What is remembered could not be asked for, so it is planned without: {why}"


@dataclass(frozen=True, slots=True)
class Remembered:
    """Something that is remembered.

    Attributes:
        id: Names it to the memory.
        kind: A fact, preference or decision, the result of a task, or said.
        said: The day on which, as ISO 8601 has it.
        text: What, in one line.
    """

    id: str
    kind: str
    said: str
    text: str


Ask = Callable[[str], Awaitable[Sequence[Remembered]]]
"""Gives what may matter to a request; raises `tale.errors.TaleError`s where nobody answers."""

_LINES: Final = TypeAdapter(tuple[Remembered, ...])


async def remembered_for(
    task: Task, ask: Ask | None, recorder: Recorder, hands: Hands
) -> tuple[Remembered, ...]:
    """Ask what is remembered for a task, and record it; nothing of a private one.

    Args:
        task: What is to be planned.
        ask: Who remembers; None where nobody does.
        recorder: Records the answer.
        hands: Tells the user where there is none.

    Raises:
        StorageError: It can't be recorded.
    """
    if ask is None or task.private:
        return ()

    async def look() -> Json:
        try:
            lines = tuple(await ask(task.text))
        except TaleError as error:
            return {"why": error.message}
        return {"lines": cast("Json", _LINES.dump_python(lines, mode="json"))}

    found = cast("Mapping[str, Any]", await recorder.step(_STEP, look))
    if why := found.get("why"):
        await hands.note(_WITHOUT.format(why=why))
        return ()
    try:
        return _LINES.validate_python(found.get("lines", ()))
    except ValidationError as error:
        raise Changed("What is recorded of the memory is of another version of tale.") from error


def numbered(memory: Sequence[Remembered]) -> list[str]:
    """Write what is remembered as numbered lines."""
    return [
        f"[{number}] {one.kind}, {one.said}: {' '.join(one.text.split())}"
        for number, one in enumerate(memory, 1)
    ]


def claimed(numbers: Sequence[object], memory: Sequence[Remembered]) -> tuple[Remembered, ...]:
    """Give the lines that a plan names by their numbers; what is no such number is left out."""
    wanted = set(map(_number, numbers))
    return tuple(one for number, one in enumerate(memory, 1) if number in wanted)


def in_words(one: Remembered) -> str:
    """Say what a plan rests on, for the user."""
    return f"“{one.text}” ({one.kind}, {one.said}, {one.id})"


def _number(value: object) -> int:
    """Read a number as a model writes it; 0, which no line has, where it is none."""
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) <= _DIGITS else 0
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
