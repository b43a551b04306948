"""Must the user say yes to a split, as it goes beyond the plan that they know? Pure.

What stays within it needs no second yes: the same files in several parts. Above:
`tasks.split_planner`. Below: `tasks.plan_policy`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from tale.tasks.plan_policy import Cost, PlanPolicy, expected_cost, reasons_to_ask
from tale.tasks.task import Subtask, ToolOffer

__all__ = ["widened"]

_NAMED: Final = 3


def widened(
    part: Subtask,
    pieces: Sequence[Subtask],
    plan: Sequence[Subtask],
    policy: PlanPolicy,
    *,
    tools: Sequence[ToolOffer] = (),
    holds: Callable[[str], bool] | None = None,
) -> tuple[str, ...]:
    """Say what of a split the user has not agreed to; nothing where they need not be asked.

    Args:
        part: What is split.
        pieces: Into what.
        plan: The plan that it is of.
        policy: When the user is asked.
        tools: What external servers offer.
        holds: Tells whether the workspace holds a path.
    """
    words = {policy.kinds.get(one.kind, policy.approve) for one in pieces}
    if {policy.approve, *words} == {"never"}:
        return ()
    # Neither size nor cost is new: a split does the same work.
    careful = PlanPolicy("auto", parts=len(pieces), seconds=math.inf, tokens=math.inf)
    known = reasons_to_ask([part], careful, Cost(), tools, holds)
    told = [
        reason
        for reason in reasons_to_ask(pieces, careful, Cost(), tools, holds)
        if reason not in known
    ]
    own = [replace(one, state="queued") for one in plan if not one.id.startswith("+")]
    kinds = {one.kind for one in own}
    new = sorted({one.kind for one in pieces if policy.kinds.get(one.kind) == "always"} - kinds)
    if new:
        told.append(f"you want to be asked about plans with {', '.join(new)}")
    more = [path for one in pieces for path in one.writes if not _declared(path, part)]
    if more and reasons_to_ask(own, policy, expected_cost(own), tools, holds):
        # They were asked about the plan, and these files were not in it.
        named = list(dict.fromkeys(more))
        rest = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        told.append(
            f"it writes files that the plan did not name: {', '.join(named[:_NAMED])}{rest}"
        )
    return tuple(told)


def _declared(path: str, part: Subtask) -> bool:
    """Tell whether a part was to write a file; where it names none, nothing was agreed about it."""
    if not part.writes:
        return True
    return any(
        path.rstrip("/") == each.rstrip("/") or (each.endswith("/") and path.startswith(each))
        for each in part.writes
    )
