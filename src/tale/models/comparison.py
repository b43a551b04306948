"""Which of the models that can answer is worth most, and what decided. Pure.

The small model answers unless the large one's gain is worth its price. Where an answer can be
checked there is a third way, a cascade: the small one tries, and the large one takes over if its
answer is bad (FrugalGPT, arXiv 2305.05176). Above: `router`. Below: `prospects`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tale.models.prospects import Demand, Prospect

__all__ = ["Choice", "alone", "compare", "label"]

# A check finds so many of the bad answers, and takes so many of the good ones for bad: guesses, for
# checks of form (valid JSON, code that parses, not empty, not a refusal).
_FOUND: Final = 0.7
_FALSE_ALARM: Final = 0.1
# A difference of worth from which on a choice is as sure as it gets.
_CLEAR: Final = 0.2
_TELLING_WAIT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """Who was chosen.

    Attributes:
        prospect: What that model promises.
        why: What decided, in words.
        confidence: 0.5 to 1: how clearly.
        judged: Whether models were compared. Otherwise there was nothing to judge wrongly.
        then: Who takes over in a cascade; None where there is none.
    """

    prospect: Prospect
    why: str
    confidence: float = 1.0
    judged: bool = False
    then: Prospect | None = None


def alone(only: Prospect) -> Choice:
    """Choose where there is nobody else."""
    return Choice(only, f"{label(only)} is the only one that can answer now")


def compare(
    suited: Prospect, others: Sequence[Prospect], demand: Demand, *, checkable: bool = False
) -> Choice:
    """Choose whoever is worth most.

    Args:
        suited: Who was made for it; of equals it wins.
        others: The others, at least one.
        demand: What is asked.
        checkable: Whether a cascade is possible.
    """
    best, second = sorted((suited, *others), key=lambda promise: -promise.worth)[:2]
    confidence = _clear(best.worth - second.worth)
    if checkable and (pair := _cascade(best, second, demand)):
        small, large, gain = pair
        why = (
            f"{label(small)} tries ({small.success:.0%} likely right) and is checked,"
            f" {label(large)} ({large.success:.0%}) takes over"
        )
        return Choice(small, why, _clear(gain), judged=True, then=large)
    return Choice(best, _why(best, second, demand), confidence, judged=True)


def label(promise: Prospect) -> str:
    """Name a model as the user thinks of it: by its role, if it has one."""
    return promise.model.role or promise.model.name


def _clear(gap: float) -> float:
    return 0.5 + 0.5 * min(1.0, max(0.0, gap) / _CLEAR)


def _cascade(
    best: Prospect, second: Prospect, demand: Demand
) -> tuple[Prospect, Prospect, float] | None:
    """Give the small and the large one, and the gain, where both in turn beat either alone.

    What the large one gets right beyond the small one is taken to be its surplus: whatever the
    small one can do the large one can too.
    """
    roles = {promise.model.role: promise for promise in (best, second)}
    small, large = roles.get("ux"), roles.get("task")
    if small is None or large is None:
        return None
    if demand.deadline is not None and small.seconds + large.seconds > demand.deadline:
        return None
    right = small.success * small.weight
    surplus = max(0.0, large.success * large.weight - right)
    handed_over = (1 - small.success) * _FOUND + small.success * _FALSE_ALARM
    worth = right + _FOUND * surplus - small.cost - handed_over * large.cost
    gain = worth - best.worth
    return (small, large, gain) if gain > 0 else None


def _why(best: Prospect, other: Prospect, demand: Demand) -> str:
    """Say what decided between two."""
    mine, its = label(best), label(other)
    deadline = demand.deadline
    if other.wait >= _TELLING_WAIT and other.worth + other.wait_cost > best.worth:
        state = "busy" if other.model.state == "ready" else other.model.state
        why = f"{its} is {state} for about {other.wait:.0f} s"
    elif deadline is not None and best.seconds <= deadline < other.seconds:
        why = f"{its} would take {other.seconds:.0f} s, and only {deadline:.0f} s are left"
    elif best.weight != other.weight and best.success - best.cost < other.success - other.cost:
        why = f"[routing.weight] prefers {mine}"
    elif demand.wants_tools and best.success > other.success:
        why = f"tools are offered, which {mine} uses better"
    elif best.success > other.success:
        why = f"{mine} is {best.success:.0%} likely to be right, {its} {other.success:.0%}"
    else:
        why = (
            f"{mine} will do: {best.success:.0%} likely right after {best.seconds:.0f} s,"
            f" {its} {other.success:.0%} after {other.seconds:.0f} s"
        )
    return why
