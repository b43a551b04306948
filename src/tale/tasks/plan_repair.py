"""How a plan goes on in which a part has failed: the model's answer made into what is left. Pure.

What is done stays as it is, what runs goes on. Those that waited for the failed part wait for what
takes its place; those that waited for a part that is needless now wait for what that one waited
for. Above: `tasks.planner`. Below: `tasks.plan_answers`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tale.tasks.part_checks import usual_check
from tale.tasks.plan_answers import Draft
from tale.tasks.task import Subtask

__all__ = ["Left", "another_try", "left_of", "needless_of", "what_is_left"]

_TOLD_FAILURE: Final = 1_000
_AGAIN: Final = "{text}\n\nAn earlier attempt failed:\n{why}\nDo it in another way."


@dataclass(frozen=True, slots=True)
class Left:
    """A plan in which a part has failed, as far as it goes on.

    Attributes:
        failed: What failed.
        stays: What is done, runs, or has failed beside it; nothing of it changes.
        waits: What has not begun.
        spent: Ids that no new part may have.
    """

    failed: Subtask
    stays: tuple[Subtask, ...]
    waits: tuple[Subtask, ...]
    spent: frozenset[str]

    @property
    def ids(self) -> tuple[str, ...]:
        """Give the ids of all parts for which others may wait."""
        return tuple(one.id for one in (*self.stays, *self.waits))


def left_of(plan: Sequence[Subtask], failed: str) -> Left:
    """Part a plan by how its parts stand; those of tale's own count for nothing.

    Raises:
        KeyError: There is no such part.
    """
    parts = {one.id: one for one in plan}
    broken = parts[failed]
    others = [_plain(one) for one in plan if one.id != failed and not one.id.startswith("+")]
    waits = tuple(one for one in others if one.state == "queued")
    stays = tuple(one for one in others if one.state not in {"queued", "cancelled"})
    spent = frozenset(parts).difference(one.id for one in waits)
    return Left(_plain(broken), stays, waits, spent)


def what_is_left(left: Left, draft: Draft) -> tuple[tuple[Subtask, ...], tuple[str, ...]]:
    """Give all parts that have not begun as they are to be, and what is wrong with the answer.

    Args:
        left: The plan.
        draft: What the model gave: parts in the place of the failed one, waiting parts in another
            form, and the ids of those that are needless.
    """
    waiting = {one.id: one for one in left.waits}
    given = {one.id: one for one in draft.parts}
    new = [one for one in draft.parts if one.id not in waiting]
    needless = needless_of(left, draft)
    faults = list(draft.faults) if not draft.drops else []
    if not new and left.failed.id not in draft.drops:
        faults.append(
            f"No part takes the place of `{left.failed.id}`: give at least one with a new id."
        )
    instead: dict[str, tuple[str, ...]] = {
        left.failed.id: _ends(new) or left.failed.depends_on,
        **{one: waiting[one].depends_on for one in needless},
    }
    # A new part that waits for the failed one is to come where that stood.
    first = {**instead, left.failed.id: left.failed.depends_on}
    kept = [given.get(one.id, one) for one in left.waits if one.id not in needless]
    parts = [
        *(_bridged(one, first) for one in new),
        *(_bridged(one, instead) for one in kept),
    ]
    return tuple(parts), tuple(faults)


def needless_of(left: Left, draft: Draft) -> tuple[str, ...]:
    """Name the waiting parts that the model no longer wants."""
    waiting = {one.id for one in left.waits}.difference(one.id for one in draft.parts)
    return tuple(one for one in draft.drops if one in waiting)


def another_try(left: Left, why: str) -> tuple[Subtask, ...]:
    """Plan the failed part once more as it was, with what went wrong; all others stay."""
    failed, number = left.failed, 2
    while f"{failed.id}-{number}" in {*left.spent, *left.ids}:
        number += 1
    told = why if len(why) <= _TOLD_FAILURE else f"… {why[-_TOLD_FAILURE:]}"
    again = replace(
        failed,
        id=f"{failed.id}-{number}",
        text=_AGAIN.format(text=failed.text, why=told.strip()),
        state="queued",
        answer="",
        files=(),
        check=failed.check or usual_check(failed),
    )
    instead = {failed.id: (again.id,)}
    return (again, *(_bridged(one, instead) for one in left.waits))


def _plain(part: Subtask) -> Subtask:
    needs = tuple(one for one in part.depends_on if not one.startswith("+"))
    return replace(part, depends_on=needs)


def _ends(parts: Sequence[Subtask]) -> tuple[str, ...]:
    """Name the parts for which none of the others waits."""
    needed = {other for one in parts for other in one.depends_on}
    return tuple(one.id for one in parts if one.id not in needed) or tuple(
        one.id for one in parts[-1:]
    )


def _bridged(part: Subtask, instead: Mapping[str, Collection[str]]) -> Subtask:
    """Have a part wait for what takes the place of those that are gone."""
    needs: dict[str, None] = {}
    left = list(part.depends_on)
    seen: set[str] = set()
    while left:
        one = left.pop(0)
        if one not in instead:
            needs[one] = None
        elif one not in seen:
            seen.add(one)
            left[:0] = instead[one]
    return replace(part, depends_on=_without(needs, part.id))


def _without(ids: Iterable[str], own: str) -> tuple[str, ...]:
    return tuple(one for one in ids if one != own)
