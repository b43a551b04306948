"""How a planned task takes its course: what it begins with, and what planning makes of that. Pure.

The task begins with the one part that makes its plan; what that gives is put in its place, with a
last part that looks at the whole. A part that failed is followed by one that mends the plan
(`recompose.after_failure`), one that is too big is preceded by one that splits it. So all of it is
recorded, shown and replayed as parts are. Above: `tasks.step_work`. Below: `tasks.recompose`,
`tasks.splitting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tale.tasks.merging import Merged, merge
from tale.tasks.plan import PLAN_PART, WHOLE_PART
from tale.tasks.planner import Planned
from tale.tasks.recompose import Recompose, failures_of, needless
from tale.tasks.splitting import as_it_is, divided, in_step, split_by, with_splits
from tale.tasks.task import Subtask

__all__ = ["is_own", "mended", "opening", "planned", "split_up", "without_needless"]

_FROM_PARTS: Final = 2
"""Parts from which there is a whole to look at."""


def is_own(part: Subtask) -> bool:
    """Tell whether a part is tale's own, and none that a user or a model named."""
    return part.id.startswith("+")


def without_needless(plan: tuple[Subtask, ...]) -> Merged:
    """Drop what is needless now that a part is done."""
    gone = needless(plan)
    if not gone:
        return Merged(plan)
    merged = merge(plan, (), dropped=gone, why="others did it")
    return _and_then(merged, in_step(merged.plan))


def opening(request: str) -> tuple[Subtask, ...]:
    """Give what a task begins with that is to be planned."""
    return (Subtask(PLAN_PART, "Make a plan", request, kind="plan", size="small"),)


def planned(made: Planned, answer: int) -> Recompose:
    """Put a plan that was made into the place of its making.

    Args:
        made: The plan.
        answer: Tokens that one answer of the model may have.
    """
    last = (_whole(made.parts),) if len(made.parts) >= _FROM_PARTS else ()

    def recompose(plan: tuple[Subtask, ...]) -> Merged:
        # What was planned before its files were taken back counts no more.
        begun = [part for part in plan if part.id == PLAN_PART or part.state == "done"]
        merged = merge(begun, [*made.parts, *last], why=made.reasoning)
        merged = _told(made, merged.plan, made.changes)
        return _and_then(merged, with_splits(merged.plan, answer))

    return recompose


def mended(made: Planned, repair: str, answer: int) -> Recompose:
    """Put what was planned anew into the plan as it is by then.

    Args:
        made: The parts that are not done, and what is needless.
        repair: The part that planned them.
        answer: Tokens that one answer of the model may have.
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
        merged = _told(made, merged.plan, changes)
        return _and_then(merged, with_splits(merged.plan, answer))

    return recompose


def split_up(made: Planned, split: str, part: Subtask | None, answer: int) -> Recompose:
    """Put the pieces of a part into the plan as it is by then.

    Args:
        made: The pieces; none where the part is done as it is, and why.
        split: The part that planned them.
        part: What was split, as it was then; None where there was nothing to split any more.
        answer: Tokens that one answer of the model may have.
    """

    def recompose(plan: tuple[Subtask, ...]) -> Merged:
        now = split_by({one.id: one for one in plan}, split)
        if now is None or part is None:  # it was dropped, or is no longer too big
            return in_step(plan)
        if (now.text, now.writes) != (part.text, part.writes):
            return as_it_is(plan, split, "its plan has changed meanwhile.")
        if not made.parts:
            return as_it_is(plan, split, made.reasoning)
        there = any(one.id == WHOLE_PART for one in plan)
        last = () if there else (_whole(made.parts),)
        merged = divided(plan, now.id, [*made.parts, *last])
        changes = (*merged.changes, *made.changes)
        merged = _told(made, merged.plan, changes)
        return _and_then(merged, with_splits(merged.plan, answer))

    return recompose


def _whole(parts: Sequence[Subtask]) -> Subtask:
    return Subtask(
        WHOLE_PART,
        "Check the whole",
        "Check what the parts have made together against the request, and say what it is.",
        tuple(part.id for part in parts),
        kind="act",
        size="small",
    )


def _told(made: Planned, plan: tuple[Subtask, ...], changes: tuple[str, ...]) -> Merged:
    """Give a plan with what is known of its making."""
    return Merged(plan, changes, made.reasoning, made.used, made.notes, made.remembered)


def _and_then(first: Merged, then: Merged) -> Merged:
    return replace(first, plan=then.plan, changes=(*first.changes, *then.changes))


def _that_waits(parts: Sequence[Subtask], plan: Sequence[Subtask]) -> list[Subtask]:
    """Leave out what has begun since the plan was looked at: it goes on as it is."""
    begun = {part.id for part in plan if part.state in {"running", "done"}}
    return [part for part in parts if part.id not in begun]
