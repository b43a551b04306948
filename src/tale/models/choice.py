"""Who answers a request: a pure choice between the model it is for and those after it in its chain.

Above: `dispatch`, which asks again whenever something changed. Below: `condition` for the states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tale.errors import InsufficientMemory, TaleError
from tale.models.backend import Role
from tale.models.condition import State

__all__ = ["Candidate", "Miss", "Refuse", "Use", "Wait", "choose", "patience_with"]

# A recovery is a load plus the warming of the prefix cache; beyond one and a half times the
# measured load it isn't going as usual, and somebody who talks is better off with another model's
# answer now. Work is for the large one: what a small model makes of it is seldom worth having, and
# the first load, of which nothing is measured yet, takes far longer on a busy machine.
_PATIENCE: Final[dict[Role, float]] = {"ux": 1.5, "task": 4.0}


def patience_with(role: Role | None) -> float:
    """Tell for how many times its usual load a model is waited for."""
    return _PATIENCE[role or "ux"]


@dataclass(frozen=True, slots=True)
class Miss:
    """How a model failed this very request.

    Attributes:
        what: In words, after the model's name.
        epoch: The life of the model that it counts for; None is every one.
    """

    what: str
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model as a request sees it.

    Attributes:
        name: Its real name.
        role: Its core role; None for any other model.
        state: What it is doing; an optional model that would have to be loaded first is loading.
        usable: It is ready, or fits beside the others, and has not just failed this very request.
        down_for: Seconds since it was last ready, or since it began to load.
        expected: Seconds that its load takes.
        full: Its line of waiting requests is as long as it may be.
        miss: How it failed this very request.
        refusal: Why the machine can't hold it.
    """

    name: str
    role: Role | None
    state: State
    usable: bool
    down_for: float = 0.0
    expected: float = 0.0
    full: bool = False
    miss: str = ""
    refusal: TaleError | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """Send it there.

    Attributes:
        place: 0 is the model asked for, n the n-th of the others.
        reason: Why; empty if as wanted.
    """

    place: int = 0
    reason: str = ""

    @property
    def fallback(self) -> bool:
        """Whether another model than the one asked for is to answer."""
        return self.place > 0


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again when something changed, or after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing will come of waiting. `error` is None where the request's own failure says why."""

    error: TaleError | None = None


def choose(
    wanted: Candidate, others: Sequence[Candidate], *, remaining: float, patient: bool = True
) -> Use | Wait | Refuse:
    """Pick who answers a request.

    Talk goes elsewhere at once when the ux model is down: a person is waiting. Work waits for the
    task model while its recovery takes its usual course and the deadline allows it. A line that is
    full is left for a shorter one.

    Args:
        wanted: The model that the request is for.
        others: Who else may answer it, the best first.
        remaining: Seconds until the request's deadline.
        patient: Whether a model that isn't ready is worth waiting for.
    """
    able = [
        place
        for place, other in enumerate(others, 1)
        if other.usable and (other.state == "ready" or other.expected < remaining)
    ]
    place = next((place for place in able if not others[place - 1].full), 0)
    if wanted.usable:
        return Use(place, f"{wanted.name} has a full line") if wanted.full and place else Use()
    if not (place := place or next(iter(able), 0)):
        lost = wanted.state == "ready" or wanted.refusal is not None
        return Refuse(wanted.refusal) if lost or not patient or remaining <= 0 else Wait(remaining)
    why = _why_not(wanted, remaining)
    if why is None:
        patience = wanted.expected * patience_with(wanted.role) - wanted.down_for
        if patient:
            return Wait(min(patience, remaining))
        why = f"is {wanted.state}"
    passed = [f"{other.name} {other.miss}" for other in others[: place - 1] if other.miss]
    return Use(place, ", ".join((f"{wanted.name} {why}", *passed)))


def _why_not(wanted: Candidate, remaining: float) -> str | None:
    """Say why somebody else answers for a model; None where it is worth waiting for."""
    why = None
    if wanted.refusal is not None:
        poor = isinstance(wanted.refusal, InsufficientMemory)
        why = "can't be held in memory" if poor else "can't be loaded"
    elif wanted.state == "ready":
        why = wanted.miss or "failed this request"
    elif wanted.role == "ux":
        why = f"is {wanted.state}"
    elif wanted.expected * patience_with(wanted.role) <= wanted.down_for:
        why = f"is {wanted.state} for {wanted.down_for:.0f} s"
    elif wanted.expected - wanted.down_for >= remaining:
        why = f"is {wanted.state}, which outlasts the deadline"
    return why
