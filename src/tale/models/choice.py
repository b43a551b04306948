"""Who answers a request: a pure choice between the model it is for and the other core model.

Above: `dispatch`, which asks again whenever something changed. Below: `condition` for the states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tale.errors import TaleError
from tale.models.backend import Role
from tale.models.condition import State

__all__ = ["PATIENCE", "Candidate", "Refuse", "Use", "Wait", "choose"]

# A recovery is a load plus the warming of the prefix cache; beyond one and a half times the
# measured load it isn't going as usual, and a smaller model's answer now is worth more.
PATIENCE: Final = 1.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model as a request sees it.

    Attributes:
        name: Its real name.
        role: Its core role; None for an optional model.
        state: What it is doing.
        usable: It is ready and has not just failed this very request.
        down_for: Seconds since it was last ready, or since it began to load.
        expected: Seconds that its load takes.
        refusal: Why the machine can't hold it.
    """

    name: str
    role: Role | None
    state: State
    usable: bool
    down_for: float = 0.0
    expected: float = 0.0
    refusal: TaleError | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """Send it there. `fallback` is the other core model, `reason` why (empty if as wanted)."""

    fallback: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again when something changed, or after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing will come of waiting. `error` is None where the request's own failure says why."""

    error: TaleError | None = None


def choose(wanted: Candidate, other: Candidate | None, *, remaining: float) -> Use | Wait | Refuse:
    """Pick who answers a request.

    Talk goes to the other model at once when the ux model is down: a person is waiting. Work waits
    for the task model while its recovery takes its usual course and the deadline allows it.

    Args:
        wanted: The model that the request is for.
        other: The other core model; None if the request is for an optional model.
        remaining: Seconds until the request's deadline.
    """
    if wanted.usable:
        return Use()
    if other is not None and other.usable:
        return _fallback_or_wait(wanted, remaining)
    if wanted.state == "ready" or wanted.refusal is not None or remaining <= 0:
        return Refuse(wanted.refusal)
    return Wait(remaining)


def _fallback_or_wait(wanted: Candidate, remaining: float) -> Use | Wait:
    """Decide for a model that can't answer while the other one could."""
    patience = wanted.expected * PATIENCE - wanted.down_for
    if wanted.refusal is not None:
        why = "can't be held in memory"
    elif wanted.state == "ready":
        why = "failed this request"
    elif wanted.role == "ux":
        why = f"is {wanted.state}"
    elif patience <= 0:
        why = f"is {wanted.state} for {wanted.down_for:.0f} s"
    elif wanted.expected - wanted.down_for >= remaining:
        why = f"is {wanted.state}, which outlasts the deadline"
    else:
        return Wait(min(patience, remaining))
    return Use(fallback=True, reason=f"{wanted.name} {why}")
