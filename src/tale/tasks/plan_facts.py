"""What is known of how a plan was made or changed, beside its parts. Pure.

It stands in the event that records the plan, and in the one that asks its user about it, so that it
can be shown for as long as the task is there. Above: `plan_approval`, `part_store` and `store`,
which record it, and `view`, which reads it. Below: `view_part`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from tale.tasks.view_part import text, texts

__all__ = ["PlanFacts", "read_facts", "write_facts"]


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What is known of a plan, or of a change of one.

    Attributes:
        why: What the model thought before, or why the plan was changed.
        changes: What was changed, each in a sentence with its reason.
        used: The files of the workspace that it rests on.
        notes: What the user was told meanwhile.
        seconds: How long each part probably takes, by id, where the user is asked about it.
        remembered: What is remembered that it rests on, each in words.
    """

    why: str = ""
    changes: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    remembered: tuple[str, ...] = ()


def write_facts(facts: PlanFacts) -> dict[str, object]:
    """Give the data of an event; of what is further than reasons only what there is."""
    further = {
        "used": facts.used,
        "notes": facts.notes,
        "seconds": facts.seconds,
        "remembered": facts.remembered,
    }
    said = {name: value for name, value in further.items() if value}
    return {"why": facts.why, "changes": facts.changes, **said}


def read_facts(data: Mapping[str, object]) -> PlanFacts:
    """Read the data of an event; what isn't there, or can't be meant, counts as nothing."""
    given = data.get("seconds")
    listed = cast("Mapping[object, object]", given if isinstance(given, Mapping) else {})
    return PlanFacts(
        text(data, "why"),
        texts(data, "changes"),
        texts(data, "used"),
        texts(data, "notes"),
        {str(part): float(one) for part, one in listed.items() if isinstance(one, int | float)},
        texts(data, "remembered"),
    )
