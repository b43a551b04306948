"""Whom to call, and when not to: the decisions of the wire, as pure state machines.

Time and chance are arguments; nothing here waits. Above: `pool`, which holds the states and
performs what they say.

    Breaker      one instance: closed ──failures in a row──▶ open ──its time is up──▶ half-open
                                 ▲                             ▲                          │
                                 └────────── success ──────────┼──────────────────────────┤
                                                               └─── failure, for longer ──┘
    admitted     all instances of a service: at most half of them are left alone
    RetryBudget  one service: retries are a share of the calls, so that they can't multiply a load
    hedge_after  one tool: when a read that is late is asked a second time elsewhere
    pick         the less loaded of two at random
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

__all__ = [
    "Breaker",
    "BreakerPolicy",
    "HedgePolicy",
    "RetryBudget",
    "RetryPolicy",
    "admitted",
    "hedge_after",
    "pick",
]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """How much an instance may fail.

    Attributes:
        failures: In a row; then it is left alone.
        open_seconds: For how long, the first time.
        longest_seconds: For how long at most; the time doubles with each failed probe.
        probes: Calls that may try it at a time once its time is up. Libraries that let every
            waiting caller through at that moment hit a weak instance with all of them at once.
    """

    failures: int = 5
    open_seconds: float = 0.5
    longest_seconds: float = 10.0
    probes: int = 1


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one instance. A new one is closed.

    Attributes:
        failures: Calls that failed since the last success.
        opened_for: Seconds for which it is open; 0 while it is closed.
        until: When it may be probed.
        probing: Probes under way.
        probed: When the last of them was let through.
    """

    failures: int = 0
    opened_for: float = 0.0
    until: float = 0.0
    probing: int = 0
    probed: float = 0.0

    @property
    def closed(self) -> bool:
        """Whether calls go through freely."""
        return self.opened_for == 0.0

    def admits(self, now: float, policy: BreakerPolicy, due: float | None = None) -> bool:
        """Say whether a call may be made now.

        Args:
            now: The time.
            policy: How many probes it lets through at a time.
            due: When it may be probed, if not at its own time.
        """
        at = self.until if due is None else due
        return self.closed or (now >= at and self.probing < policy.probes)

    def called(self, now: float) -> Breaker:
        """Take note that an admitted call is made."""
        return self if self.closed else replace(self, probing=self.probing + 1, probed=now)

    def succeeded(self) -> Breaker:
        """Take note of an answer, of whatever kind: the instance works."""
        return Breaker()

    def failed(self, now: float, policy: BreakerPolicy) -> Breaker:
        """Take note that an instance did not answer."""
        failures = self.failures + 1
        if self.closed and failures < policy.failures:
            return replace(self, failures=failures)
        if not self.closed and now < self.until:
            # A call from before it opened, or a probe ahead of time; it says nothing new.
            return replace(self, failures=failures, probing=max(0, self.probing - 1))
        seconds = min(2 * self.opened_for or policy.open_seconds, policy.longest_seconds)
        return Breaker(failures, seconds, now + seconds)

    def tripped(self, now: float, policy: BreakerPolicy) -> Breaker:
        """Take note that an instance shows no life: one such finding is enough to open it."""
        return replace(self, failures=max(self.failures, policy.failures - 1)).failed(now, policy)

    def left(self) -> Breaker:
        """Take note that a call was given up by its caller: no verdict, and its probe is free."""
        return replace(self, probing=max(0, self.probing - 1))

    def next_probe(self, policy: BreakerPolicy) -> float:
        """Say when it may be probed where it can't be left alone for as long as it deserves."""
        since = max(self.until - self.opened_for, self.probed)
        return since + min(policy.open_seconds, self.opened_for)


def admitted(
    breakers: Sequence[Breaker], now: float, policy: BreakerPolicy
) -> tuple[list[int], float]:
    """Say which instances of a service may be called.

    At most half are left alone for as long as their breakers say: where more fail, the fault is
    rather in what is asked of them, or on this side, and the rest should not carry it all. Those
    over that half, the ones due soonest, are probed as often as after their first failure; so a
    service that fails altogether is still tried, and by a few calls at a time.

    Args:
        breakers: One for each instance.
        now: The time.
        policy: The same for all of them.

    Returns:
        The places of those that may be called now, and the time at which more may be; infinite
        where only the end of a call changes anything.
    """
    waiting = [place for place, one in enumerate(breakers) if not one.closed and one.until > now]
    waiting.sort(key=lambda place: breakers[place].until)
    over = set(waiting[: max(0, len(waiting) - len(breakers) // 2)])
    may: list[int] = []
    due = math.inf
    for place, one in enumerate(breakers):
        at = one.next_probe(policy) if place in over else one.until
        if one.admits(now, policy, at):
            may.append(place)
        elif now < at:
            due = min(due, at)
    return may, due


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How many retries a service's callers may make. After Finagle's `RetryBudget`.

    Attributes:
        ratio: Retries for each call; 0.2 adds at most a fifth to the load of a service that fails.
        per_second: Retries regained each second, so that rare callers have some too.
        reserve: Most retries that can be saved up, and those there are at first.
    """

    ratio: float = 0.2
    per_second: float = 1.0
    reserve: float = 10.0


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """The retries left to the callers of one service.

    Attributes:
        tokens: How many.
        at: When that was reckoned.
    """

    tokens: float
    at: float

    @classmethod
    def full(cls, now: float, policy: RetryPolicy) -> RetryBudget:
        """Begin with what may be saved up."""
        return cls(policy.reserve, now)

    def called(self, now: float, policy: RetryPolicy) -> RetryBudget:
        """Take note of a call, which earns its share of a retry."""
        return self._grown(now, policy, policy.ratio)

    def retried(self, now: float, policy: RetryPolicy) -> RetryBudget | None:
        """Pay for a retry; None where there is nothing left to pay with."""
        grown = self._grown(now, policy, 0.0)
        return replace(grown, tokens=grown.tokens - 1) if grown.tokens >= 1 else None

    def _grown(self, now: float, policy: RetryPolicy, earned: float) -> RetryBudget:
        passed = max(0.0, now - self.at)
        tokens = min(policy.reserve, self.tokens + earned + passed * policy.per_second)
        return RetryBudget(tokens, now)


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """When a read that is late is asked a second time. After "The Tail at Scale" (Dean, 2013).

    Attributes:
        samples: Calls that must have been seen before the p95 means anything.
        shortest: Seconds that any call is given; below, a second one costs more than it saves.
        budget: Hedges are a share of the calls, as retries are.
    """

    samples: int = 20
    shortest: float = 0.02
    budget: RetryPolicy = field(default_factory=lambda: RetryPolicy(ratio=0.1, reserve=20.0))


def hedge_after(seen: int, p95: float, instances: int, policy: HedgePolicy) -> float | None:
    """Say after how many seconds a read is sent to another instance too; None for never.

    Args:
        seen: Calls of the tool in the window.
        p95: Seconds within which 95% of them were answered.
        instances: How many may be called.
        policy: What is worth it.
    """
    if instances < 2 or seen < policy.samples:
        return None
    return max(p95, policy.shortest)


def pick(candidates: Sequence[_T], load: Callable[[_T], float], chance: Callable[[], float]) -> _T:
    """Choose the less loaded of two at random.

    Nearly as even as asking all of them, and callers who see the same loads don't all choose the
    same one (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).

    Args:
        candidates: At least one.
        load: What is under way at one.
        chance: Uniform in [0, 1).
    """
    count = len(candidates)
    first = int(chance() * count)
    second = (first + 1 + int(chance() * (count - 1))) % count if count > 1 else first
    return min(candidates[first], candidates[second], key=load)
