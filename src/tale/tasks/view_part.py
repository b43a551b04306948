"""A subtask as the events of its task tell it, and what those events hold. Pure.

Events may come from other machines and later versions, so their data is read leniently. Above:
`view`, which folds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, cast

__all__ = ["STATES", "WHOLE", "Part", "PartState", "listed_part", "text", "texts", "truth"]

PartState = Literal["waiting", "running", "done", "failed", "dropped"]

WHOLE: Final = ""
"""The id of the one subtask of a task without a plan."""

STATES: Final[Mapping[str, PartState]] = {
    "queued": "waiting",
    "waiting": "waiting",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "cancelled": "dropped",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A subtask.

    Attributes:
        model: Who does it, as far as known.
        spent: Seconds that it took until it last had to wait for its user.
        began: When it began, for the last time; None while it waits for its user.
        tokens: Pieces of text that it gave since.
        holds: Whether the checks of what it did hold; None where nothing could be checked.
        check: What was checked, or why not, in words.
        reads: Files that it needs.
        writes: Files that it is to write.
        acceptance: The shell line by which it is checked, where it has one.
        size: How much work it is expected to be.
        priority: Among the subtasks of its task: higher is sooner.
    """

    id: str
    title: str = ""
    kind: str = ""
    model: str = ""
    depends_on: tuple[str, ...] = ()
    state: PartState = "waiting"
    spent: float = 0.0
    began: datetime | None = None
    ended: datetime | None = None
    tokens: int = 0
    holds: bool | None = None
    check: str = ""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    acceptance: str = ""
    size: str = ""
    priority: int = 0

    @property
    def is_work(self) -> bool:
        """Whether it counts as work of the task: it is not planning, and was not dropped."""
        return self.kind != "plan" and self.state != "dropped"

    def seconds(self, now: datetime) -> float:
        """Say how long it took so far, without the times at which it waited for its user."""
        if self.began is None:
            return self.spent
        return self.spent + max(0.0, ((self.ended or now) - self.began).total_seconds())


def listed_part(row: Mapping[str, object], before: Mapping[str, Part], at: datetime) -> Part:
    """Give a subtask as a plan lists it, with what is known of it."""
    name, priority = text(row, "id"), row.get("priority")
    known = before.get(name) or Part(name)
    part = replace(
        known,
        title=text(row, "title"),
        kind=text(row, "kind"),
        model=text(row, "model") or known.model,
        depends_on=texts(row, "depends_on"),
        reads=texts(row, "reads"),
        writes=texts(row, "writes"),
        acceptance=text(row, "check"),
        size=text(row, "size"),
        priority=priority if isinstance(priority, int) else 0,
    )
    state = STATES.get(text(row, "state"), part.state)
    if state != part.state:
        part = replace(part, state=state, ended=part.ended or at)
    return part


def text(data: Mapping[str, object], key: str) -> str:
    """Give a text; an empty one where there is none."""
    value = data.get(key)
    return value if isinstance(value, str) else ""


def texts(data: Mapping[str, object], key: str) -> tuple[str, ...]:
    """Give a list as texts; none where there is no list."""
    value = data.get(key)
    return tuple(map(str, cast("list[object]", value))) if isinstance(value, list) else ()


def truth(data: Mapping[str, object], key: str) -> bool | None:
    """Give a truth value; None where there is none."""
    value = data.get(key)
    return value if isinstance(value, bool) else None
