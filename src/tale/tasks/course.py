"""How a planned task takes its course: what it begins with, and what planning makes of that. Pure.

The task begins with the one part that makes its plan; what that gives is put in its place, with a
last part that looks at the whole. A part that failed is followed by one that mends the plan
(`recompose.after_failure`). So all of it is recorded, shown and replayed as parts are. Above:
`tasks.step_work`. Below: `tasks.recompose`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tale.tasks.merging import Merged, merge
from tale.tasks.plan import PLAN_PART, WHOLE_PART
from tale.tasks.planner import Planned
from tale.tasks.recompose import Recompose, failures_of, needless
from tale.tasks.task import Subtask

__all__ = ["is_own", "mended", "opening", "planned", "without_needless"]

_FROM_PARTS: Final = 2
"""Parts from which there is a whole to look at."""


def is_own(part: Subtask) -> bool:
    """Tell whether a part is tale's own, and none that a user or a model named."""
    return part.id.startswith("+")


def without_needless(plan: tuple[Subtask, ...]) -> Merged:
    """Drop what is needless now that a part is done."""
    gone = needless(plan)
    return merge(plan, (), dropped=gone, why="others did it") if gone else Merged(plan)


def opening(request: str) -> tuple[Subtask, ...]:
    """Give what a task begins with that is to be planned."""
    return (Subtask(PLAN_PART, "Make a plan", request, kind="plan", size="small"),)


def planned(made: Planned) -> Recompose:
    """Put a plan that was made into the place of its making."""
    whole = Subtask(
        WHOLE_PART,
        "Check the whole",
        "Check what the parts have made together against the request, and say what it is.",
        tuple(part.id for part in made.parts),
        kind="act",
        size="small",
    )
    last = (whole,) if len(made.parts) >= _FROM_PARTS else ()

    def recompose(plan: tuple[Subtask, ...]) -> Merged:
        # What was planned before its files were taken back counts no more.
        begun = [part for part in plan if part.id == PLAN_PART or part.state == "done"]
        merged = merge(begun, [*made.parts, *last], why=made.reasoning)
        return Merged(merged.plan, made.changes, made.reasoning, made.used, made.notes)

    return recompose


def mended(made: Planned, repair: str) -> Recompose:
    """Put what was planned anew into the plan as it is by then.

    Args:
        made: The parts that are not done, and what is needless.
        repair: The part that planned them.
    """

    def recompose(plan: tuple[Subtask, ...]) -> Merged:
        replacement = _that_waits(made.parts, plan)
        merged = merge(
            plan,
            replacement,
            failures_of(plan, repair),
            dropped=made.dropped,
            why=made.reasoning,
        )
        changes = (*merged.changes, *made.changes)
        return Merged(merged.plan, changes, made.reasoning, made.used, made.notes)

    return recompose


def _that_waits(parts: Sequence[Subtask], plan: Sequence[Subtask]) -> list[Subtask]:
    """Leave out what has begun since the plan was looked at: it goes on as it is."""
    begun = {part.id for part in plan if part.state in {"running", "done"}}
    return [part for part in parts if part.id not in begun]
