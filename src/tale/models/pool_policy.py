"""What the pool decides, as pure functions: no clock, no task, no backend.

`transition` moves one model through its states, `choose` picks who answers a request,
`first_token_limit` says how long a silent prefill is healthy, `admit` who goes for a further model.
`resident` and `model_pool` perform what is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from tale.errors import InsufficientMemory, TaleError
from tale.models.backend import ChatRequest, Role

__all__ = [
    "PATIENCE",
    "Admission",
    "Attempt",
    "Broke",
    "Came",
    "Candidate",
    "Condition",
    "Event",
    "Evict",
    "Failed",
    "Load",
    "Policy",
    "Refuse",
    "RetryDue",
    "State",
    "UnloadAsked",
    "Use",
    "Wait",
    "WaitForIdle",
    "admit",
    "backoff",
    "choose",
    "estimated_tokens",
    "first_token_limit",
    "transition",
]

State = Literal["loading", "ready", "recovering", "retrying", "unloading"]
Attempt = Literal["load", "recover"]

# A recovery is a load plus the warming of the prefix cache; beyond one and a half times the
# measured load it isn't going as usual, and a smaller model's answer now is worth more.
PATIENCE: Final = 1.5

# The 1.5B model prefills 48 tokens/s alone on two slow cores; at nice 19 beside a busy ux model it
# keeps a bit more than a third (8 of 22 tokens/s when decoding). Slower than this is not prefill.
_SLOWEST_PREFILL: Final = 16.0

# English takes about four bytes a token, code three, other scripts up to one token a character of
# three bytes. Three over-estimates the tokens of prose, which only makes the watchdog patient.
_BYTES_PER_TOKEN: Final = 3

_PROMPT_RECOVERIES: Final = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """The pool's numbers. Seconds and bytes.

    Attributes:
        pulse_seconds: Idle time after which a model must generate one token.
        stall_seconds: Silence in a running request that counts as a hang.
        reserve_bytes: Memory that optional models must leave free.
        check_seconds: Time between two looks at residency and memory pressure.
        load_seconds: Longest that one attempt to load or recover may take. A 20 GB file read at
            50 MB/s takes 400 s.
        expected_load_seconds: What a load is taken to last until one was measured.
        shortest_load_seconds: What a recovery takes at least: a process has to be started.
        wait_seconds: How long a request without a deadline waits for a model.
        first_backoff: Pause after the first failed attempt; it doubles each time.
        longest_backoff: Where the doubling ends.
        stable_seconds: A model that dies sooner than this after it came is in a crash loop.
    """

    pulse_seconds: float = 30.0
    stall_seconds: float = 60.0
    reserve_bytes: int = 512 * 2**20
    check_seconds: float = 5.0
    load_seconds: float = 600.0
    expected_load_seconds: float = 30.0
    shortest_load_seconds: float = 1.0
    wait_seconds: float = 300.0
    first_backoff: float = 0.5
    longest_backoff: float = 30.0
    stable_seconds: float = 10.0


# -- one model's states ----------------------------------------------------------------------------


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


# -- who answers -----------------------------------------------------------------------------------


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


# -- how long silence is healthy -------------------------------------------------------------------


def estimated_tokens(request: ChatRequest) -> int:
    """Estimate the tokens of a prompt from its bytes, rather too many than too few."""
    size = sum(len(message.content.encode(errors="replace")) for message in request.messages)
    return size // _BYTES_PER_TOKEN + 8 * len(request.messages)


def first_token_limit(request: ChatRequest, policy: Policy) -> float:
    """Seconds that a request may be silent before its first token.

    Prefill is silent: 4,000 tokens take the 1.5B model 80 s on two cores, which is no hang. So the
    usual stall limit is granted on top of a prefill at the slowest pace that was seen.
    """
    return policy.stall_seconds + estimated_tokens(request) / _SLOWEST_PREFILL


# -- room for an optional model --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Admission:
    """An optional model that is resident, the least recently used first in a sequence of them."""

    name: str
    memory_bytes: int
    busy: bool


@dataclass(frozen=True, slots=True)
class Load:
    """There is room."""


@dataclass(frozen=True, slots=True)
class Evict:
    """Unload this one, then look again."""

    name: str


@dataclass(frozen=True, slots=True)
class WaitForIdle:
    """Room comes when a request in flight ends."""


def admit(
    name: str, need: int, available: int, reserve: int, residents: Sequence[Admission]
) -> Load | Evict | WaitForIdle | Refuse:
    """Decide what has to happen before an optional model may load.

    Args:
        name: The model, for the error's words.
        need: Bytes that it takes.
        available: Bytes that can be taken now without swapping; the core pair is resident already.
        reserve: Bytes that must stay free.
        residents: The optional models, the least recently used first.
    """
    if available - reserve >= need:
        return Load()
    held = sum(resident.memory_bytes for resident in residents)
    if available + held - reserve < need:
        return Refuse(
            InsufficientMemory(
                f"{name} needs {_mib(need)}; beside the core models {_mib(available + held)} "
                f"are free, of which {_mib(reserve)} stay in reserve.",
                hint="Take a smaller model, or lower models.reserve_mb.",
            )
        )
    for resident in residents:
        if not resident.busy:
            return Evict(resident.name)
    return WaitForIdle()


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
