"""How a plan takes its course: what follows when one of its parts has ended. Pure.

A task that is to be planned begins with the one part that makes its plan; what that gives takes its
place. A part that failed is followed by one that mends the plan, a bounded number of times. The
last part looks at the whole. So all of it is recorded, shown and replayed as parts are. Above:
`tasks.engine`, which does what is said here. Below: `tasks.recompose`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tale.tasks.task import StepResult, Subtask

__all__ = [
    "MAX_REPAIRS",
    "PLAN",
    "WHOLE",
    "Accepted",
    "Failed",
    "Mended",
    "after_error",
    "after_result",
    "is_own",
    "opening",
    "with_whole",
]

PLAN: Final = "+plan"
WHOLE: Final = "+whole"
_REPAIR: Final = "+repair-"
MAX_REPAIRS: Final = 2
"""Each costs the large model an answer of some hundred tokens, and the parts that it makes anew;
what two did not mend, a third by the same model hardly does."""
_FROM_PARTS: Final = 2
"""Parts from which there is a whole to look at."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A part is done; `still` says which check of it fails still, where one does."""

    still: str = ""


@dataclass(frozen=True, slots=True)
class Mended:
    """A part failed, and the plan is to be mended.

    Attributes:
        by: The part that does that.
        why: Why the part failed, for who mends the plan and for the user.
    """

    by: Subtask
    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A part failed, and with it the task."""


def is_own(identity: str) -> bool:
    """Tell whether a part is tale's own, and none that a user or a model named."""
    return identity.startswith("+")


def opening(request: str) -> tuple[Subtask, ...]:
    """Give what a task begins with that is to be planned."""
    return (Subtask(PLAN, "Make a plan", request, kind="plan", size="small"),)


def with_whole(plan: Sequence[Subtask]) -> tuple[Subtask, ...]:
    """Give a plan with the part that looks at the whole as its last, where there is a whole.

    It waits for all parts on which no other does; one that is there is put last anew.
    """
    parts = [part for part in plan if part.id != WHOLE]
    if sum(not is_own(part.id) for part in parts) < _FROM_PARTS:
        return tuple(parts)
    needed = {other for part in parts for other in part.depends_on}
    last = tuple(part.id for part in parts if part.id not in needed and not is_own(part.id))
    title = "Check the whole"
    text = "Check what the parts have made together against the request, and say what it is."
    return (*parts, Subtask(WHOLE, title, text, last, kind="act", size="small"))


def after_result(part: Subtask, result: StepResult, plan: Iterable[Subtask]) -> Accepted | Mended:
    """Say what follows from what a part gave."""
    if result.holds is not False or part.kind == "plan":
        return Accepted()
    why = "\n\n".join(result.faults) or result.check
    if (by := _repair(part, why, {one.id for one in plan})) is None:
        return Accepted(result.check)
    return Mended(by, why)


def after_error(part: Subtask, why: str, plan: Iterable[Subtask]) -> Mended | Failed:
    """Say what follows where a part gave nothing."""
    by = None if part.kind == "plan" else _repair(part, why, {one.id for one in plan})
    return Failed() if by is None else Mended(by, why)


def _repair(part: Subtask, why: str, ids: Collection[str]) -> Subtask | None:
    """Give the part that mends the plan; None where that was done often enough."""
    done = sum(identity.startswith(_REPAIR) for identity in ids)
    if done >= MAX_REPAIRS:
        return None
    text = f"{part.title} ({part.id}) failed:\n{why}"
    title = f"Mend the plan: {part.title} failed"
    return Subtask(f"{_REPAIR}{done + 1}", title, text, kind="plan", size="small", priority=1)
