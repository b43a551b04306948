"""When and how results change a plan: after failures, and where parts turn out needless. Pure.

The number of times that a task is planned anew is bounded; after that what failed is taken as it
is, and says so. Above: `tasks.step_work`, `tasks.course`, and `tasks.part_store`, which records
what comes of it. Below: `merging`, `splitting`, `plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from tale.clipped import beginning
from tale.errors import PlanRejected
from tale.tasks.merging import Merged, merge
from tale.tasks.plan import PLAN_PART, REPAIR_PART, SPLIT_PART
from tale.tasks.splitting import as_it_is
from tale.tasks.task import Subtask

__all__ = [
    "MAX_REPAIRS",
    "Merged",
    "Recompose",
    "accept",
    "after_failure",
    "can_be_repaired",
    "failures_of",
    "merge",
    "needless",
]

MAX_REPAIRS: Final = 2
"""Times that one task is planned anew because something failed: what two new plans of the same
model don't mend, a third hardly does, and each costs as much as a part."""

_SHORT: Final = 600
"""Characters of a failed part's text that the one who plans anew is given."""

Recompose = Callable[[tuple[Subtask, ...]], Merged]
"""Makes of a plan as it stands the one that goes on; raises `PlanRejected` where there is none."""


def accept(plan: Sequence[Subtask], failed: Collection[str], *, why: str = "") -> Merged:
    """Take failed parts as they are, which their results say plainly."""
    changes: list[str] = []
    parts: list[Subtask] = []
    for one in plan:
        if one.id in failed and one.state == "failed":
            check = f"its check, `{one.check}`" if one.check else "its checks"
            said = f"{one.answer}\n\nWhat was made does not pass {check}.".lstrip()
            changes.append(f"{one.title!r} is taken as it is; it does not pass {check}.")
            parts.append(replace(one, state="done", answer=said))
        else:
            parts.append(one)
    return Merged(tuple(parts), tuple(changes), why)


def after_failure(plan: Sequence[Subtask], failed: str, *, why: str) -> Merged:
    """Say what follows on a failure: it is planned anew, or taken as it is after `MAX_REPAIRS`.

    Where planning anew fails, what it was about is taken as it is; where a split fails, its part
    is done as it is.

    Args:
        plan: As it stands; the part has failed in it.
        failed: The part.
        why: What failed, in a few words.

    Raises:
        PlanRejected: It was the first planning, so that there is nothing to go on with.
    """
    part = next(one for one in plan if one.id == failed)
    if part.id == PLAN_PART:
        raise PlanRejected(f"The task could not be planned: {why}")
    if part.id.startswith(SPLIT_PART):
        return as_it_is(plan, part.id, why)
    if part.kind == "plan":
        merged = accept(plan, part.depends_on, why=why)
        parts = (replace(one, state="cancelled") if one is part else one for one in merged.plan)
        gone = f"{part.title!r} is dropped: {why}"
        return replace(merged, plan=tuple(parts), changes=(gone, *merged.changes))
    repairs = _repairs(plan)
    if repairs >= MAX_REPAIRS:
        return accept(plan, [failed], why=why)
    text = beginning(part.text, _SHORT)
    repair = Subtask(
        f"{REPAIR_PART}{repairs + 1}",
        f"Plan anew: {part.title}",
        f"Subtask {part.id!r} has failed: {why}\nIt was to do this:\n{text}\n"
        "Plan anew what is not done.",
        (part.id,),
        kind="plan",
        size="small",
        priority=part.priority,
    )
    at = plan.index(part) + 1
    added = (f"{part.title!r} has failed, and what is not done is planned anew: {why}",)
    return Merged((*plan[:at], repair, *plan[at:]), added, why)


def can_be_repaired(plan: Iterable[Subtask]) -> bool:
    """Tell whether a plan in which a part failed may be planned anew once more."""
    return _repairs(plan) < MAX_REPAIRS


def failures_of(plan: Sequence[Subtask], repair: str) -> tuple[str, ...]:
    """Name the failed parts because of which something is planned anew."""
    needed = {other for one in plan if one.id == repair for other in one.depends_on}
    return tuple(one.id for one in plan if one.id in needed and one.state == "failed")


def needless(plan: Sequence[Subtask]) -> dict[str, str]:
    """Find parts that others have done already, each with the reason.

    A part that waits is needless where every file that it would write was written by others that
    were not to write it, and where it does not read it to go on from there.
    """
    unasked: dict[str, str] = {}
    for one in plan:
        if one.state == "done" and one.kind != "plan":
            unasked |= {file: one.title for file in one.files if file not in one.writes}
    found: dict[str, str] = {}
    for one in plan:
        made = [file for file in one.writes if file in unasked and file not in one.reads]
        if one.state == "queued" and one.writes and len(made) == len(one.writes):
            who = " and ".join(dict.fromkeys(repr(unasked[file]) for file in made))
            found[one.id] = f"{who} made {', '.join(made)} already"
    return found


def _repairs(plan: Iterable[Subtask]) -> int:
    return sum(one.id.startswith(REPAIR_PART) for one in plan)
