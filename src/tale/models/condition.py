"""Where one model stands, and what moves it: a pure state machine without a clock.

    loading ──came──▶ ready ──broke──▶ recovering ──came──▶ ready
       │                                    │
     failed ───▶ retrying ◀──── failed ─────┘      any ──asked to go──▶ unloading
                    └─ retry due ─▶ loading, or recovering once it has been ready

Above: `keeper` and `resident`, which feed the events and do what the state says. Below:
`pool_policy` for the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from tale.errors import InsufficientMemory, TaleError
from tale.models.pool_policy import Policy

__all__ = [
    "Attempt",
    "Broke",
    "Came",
    "Condition",
    "Event",
    "Failed",
    "RetryDue",
    "State",
    "UnloadAsked",
    "backoff",
    "transition",
]

State = Literal["loading", "ready", "recovering", "retrying", "unloading"]
Attempt = Literal["load", "recover"]

_PROMPT_RECOVERIES: Final = 3


@dataclass(frozen=True, slots=True)
class Condition:
    """Where one model stands.

    Attributes:
        state: What it is doing.
        attempt: How it is being brought up, or will be after the pause.
        epoch: How often it became ready. A failure reported for an earlier epoch is old news.
        setbacks: Failed attempts and early deaths in a row; they make the pauses longer.
        pause: Seconds until the next attempt; only while retrying.
        reason: Why it isn't ready.
        error: What the last attempt failed with, until one succeeds.
    """

    state: State = "loading"
    attempt: Attempt = "load"
    epoch: int = 0
    setbacks: int = 0
    pause: float = 0.0
    reason: str = ""
    error: TaleError | None = None

    @property
    def refusal(self) -> InsufficientMemory | None:
        """The error that requests get at once, where the machine can't hold the model."""
        refused = self.state == "retrying" and isinstance(self.error, InsufficientMemory)
        return self.error if refused and isinstance(self.error, InsufficientMemory) else None


@dataclass(frozen=True, slots=True)
class Came:
    """An attempt succeeded: the model is resident and warm."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt failed. `hung` says that it has to be killed before the next one."""

    error: TaleError
    hung: bool = False


@dataclass(frozen=True, slots=True)
class Broke:
    """A ready model was seen dead, hanging, evicted or replaced.

    Attributes:
        epoch: The epoch in which it was seen.
        reason: What was seen, in words.
        lived: Seconds since it became ready.
        replaced: It is resident all the same (a new process): nothing to kill, only to warm.
    """

    epoch: int
    reason: str
    lived: float
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The pause is over."""


@dataclass(frozen=True, slots=True)
class UnloadAsked:
    """It is to go; only optional models are ever asked."""


Event = Came | Failed | Broke | RetryDue | UnloadAsked


def transition(now: Condition, event: Event, policy: Policy) -> Condition:
    """Say where a model stands after an event; an event that doesn't apply changes nothing."""
    after = now
    match now.state, event:
        case "unloading", _:
            pass
        case _, UnloadAsked():
            after = replace(now, state="unloading", pause=0.0, reason="asked to go")
        case (("loading" | "recovering"), Came()):
            after = Condition("ready", epoch=now.epoch + 1, setbacks=now.setbacks)
        case (("loading" | "recovering"), Failed()):
            after = _pausing(now, event, policy)
        case "ready", Broke() if event.epoch == now.epoch:
            after = _broken(now, event, policy)
        case "retrying", RetryDue():
            after = replace(now, state="recovering" if now.epoch else "loading", pause=0.0)
        case _:
            pass
    return after


def _pausing(now: Condition, event: Failed, policy: Policy) -> Condition:
    setbacks = now.setbacks + 1
    return replace(
        now,
        state="retrying",
        attempt="recover" if event.hung else now.attempt,
        setbacks=setbacks,
        pause=backoff(setbacks, policy),
        error=event.error,
        reason=str(event.error),
    )


def _broken(now: Condition, event: Broke, policy: Policy) -> Condition:
    setbacks = 0 if event.lived >= policy.stable_seconds else now.setbacks + 1
    # The first early deaths are met at once (a test, an OOM kill); a loop is slowed down.
    slow = setbacks > _PROMPT_RECOVERIES
    return replace(
        now,
        state="retrying" if slow else "recovering",
        attempt="load" if event.replaced else "recover",
        setbacks=setbacks,
        pause=backoff(setbacks - _PROMPT_RECOVERIES, policy) if slow else 0.0,
        reason=event.reason,
    )


def backoff(setbacks: int, policy: Policy) -> float:
    """Pause before the next attempt, in seconds, after so many setbacks in a row (from 1)."""
    # The exponent is capped because a float overflows long before somebody counts the setbacks.
    return min(policy.longest_backoff, policy.first_backoff * 2.0 ** min(setbacks - 1, 30))
