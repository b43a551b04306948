"""A plan that can be worked on in any case, made of one that can't: one part after the other. Pure.

What is faulty is dropped, and each part waits for the one before, so that nothing runs beside what
it might disturb. Above: `tasks.planner`. Below: `tasks.part_checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from tale.clipped import clipped
from tale.models.assess import assess
from tale.tasks.part_checks import usual_check
from tale.tasks.task import Subtask, WorkKind

__all__ = ["Faults", "in_order", "one_after_the_other", "one_part"]

Faults = Callable[[Sequence[Subtask]], Sequence[str]]
"""Says all that is wrong with a plan, each in a sentence; nothing where it can be worked on."""

_TITLE: Final = 60
_MOST: Final = 200
"""Parts of a plan, as `tasks.plan` has it."""
_KINDS: Final[dict[str, WorkKind]] = {
    "act": "act",
    "extract": "extract",
    "summarise": "summarise",
    "transform": "transform",
    "write": "write",
}


def one_part(request: str, files: Sequence[str] = ()) -> tuple[Subtask, ...]:
    """Make a plan of the request itself.

    Args:
        request: What is asked for.
        files: Files that it is known to write.
    """
    title = clipped(request, _TITLE)
    kind = _KINDS.get(assess(request).kind, "code")
    part = Subtask("all", title or "The request", request, kind=kind, writes=tuple(files))
    return (replace(part, check=usual_check(part)),)


def one_after_the_other(
    parts: Sequence[Subtask],
    faults: Faults,
    *,
    request: str,
    before: Sequence[Subtask] = (),
    present: Collection[str] = (),
) -> tuple[Subtask, ...]:
    """Make a plan of what came, each part after the one before.

    Args:
        parts: What the model gave, however faulty.
        faults: The rules of plans.
        request: What is asked for; it is the plan where nothing else can be.
        before: Parts of the same plan that have begun already.
        present: Files that are in the workspace.
    """
    usable: list[Subtask] = []
    ids = {one.id for one in before}
    last = tuple(one.id for one in before if one.state == "done")[-1:]
    there = {*present, *(path for one in before for path in (*one.writes, *one.files))}
    for one in in_order(parts):
        if one.id in ids or not one.text.strip() or len(usable) >= _MOST:
            continue
        reads = tuple(path for path in one.reads if path in there)
        part = replace(one, depends_on=last, reads=reads)
        # A part with another fault than its place, its files' or its check's is dropped.
        if faults([*before, *usable, part]):
            part = replace(part, check=usual_check(part))
        if faults([*before, *usable, part]):
            part = replace(part, reads=(), writes=(), priority=0)
            part = replace(part, check=usual_check(part))
        if faults([*before, *usable, part]):
            continue
        usable.append(part)
        ids.add(one.id)
        there.update(part.writes)
        last = (one.id,)
    return tuple(usable) or one_part(request)


def in_order(parts: Sequence[Subtask]) -> list[Subtask]:
    """Order parts so that each comes after those it waits for; a circle is broken at its first."""
    left = list(parts)
    ids = {one.id for one in parts}
    placed: set[str] = set()
    ordered: list[Subtask] = []
    while left:
        ready = [one for one in left if placed.issuperset(ids.intersection(one.depends_on))]
        chosen = (ready or left)[0]
        left.remove(chosen)
        placed.add(chosen.id)
        ordered.append(chosen)
    return ordered
