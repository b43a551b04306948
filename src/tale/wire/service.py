"""One service that is called: its instances, the line before them, and what retries it has left.

A caller is admitted to the less loaded of two instances; where all are full, or none is there, it
waits in line, first come first served; where the line is full too, it is told so at once. Above:
`pool`. Below: `instance`; its decisions are `resilience`'s.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import anyio

from tale.errors import Busy
from tale.wire.instance import Instance
from tale.wire.resilience import (
    BreakerPolicy,
    HedgePolicy,
    RetryBudget,
    RetryPolicy,
    admitted,
    pick,
)

__all__ = ["BREAKER", "DEFAULT_LIMITS", "HEDGES", "Limits", "Service"]

# A probe costs a call no more than its tool's patience, so an instance is soon tried again.
BREAKER: Final = BreakerPolicy(longest_seconds=3.0)
HEDGES: Final = HedgePolicy()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be under way.

    Attributes:
        in_flight: Calls at one instance at a time.
        waiting: Calls of one service that wait for an instance.
    """

    in_flight: int = 128
    waiting: int = 1024


DEFAULT_LIMITS: Final = Limits()


class _Turn:
    """A caller's place in line."""

    def __init__(self) -> None:
        self._looks = anyio.Event()

    def wake(self) -> None:
        self._looks.set()

    async def wait(self, until: float) -> None:
        """Wait until woken, or until a time by the event loop's clock."""
        with anyio.CancelScope(deadline=until):
            await self._looks.wait()
        self._looks = anyio.Event()


class Service:
    """The instances of one service."""

    def __init__(self, name: str, limits: Limits) -> None:
        """Know of no instance yet."""
        self.name = name
        self.instances: dict[tuple[str, int], Instance] = {}
        self._limits = limits
        # What one instance breaks when it dies can be made again at once; a fifth of all calls,
        # if it goes on.
        self._policy = RetryPolicy(reserve=float(limits.in_flight))
        self._line: deque[_Turn] = deque()
        self._retries: RetryBudget | None = None
        self._hedges: RetryBudget | None = None

    # -- admission ---------------------------------------------------------------------------------

    async def admit(self, avoid: Collection[Instance] = ()) -> Instance:
        """Take a call's place at an instance, waiting for one where there is none.

        Args:
            avoid: Instances that are taken only where there are no others.

        Raises:
            Busy: As many wait already as may.
        """
        if not self._line and (chosen := self.choose(avoid)):
            return chosen
        if len(self._line) >= self._limits.waiting:
            raise Busy(
                f"{self.name} is busy: {len(self._line)} calls wait for it already.",
                hint="Nothing was sent; ask again soon.",
            )
        turn = _Turn()
        self._line.append(turn)
        try:
            while True:
                if self._line[0] is turn and (chosen := self.choose(avoid)):
                    return chosen
                await turn.wait(self._due())
        finally:
            self._line.remove(turn)
            self.wake()

    def choose(
        self, avoid: Collection[Instance] = (), *, strictly: bool = False
    ) -> Instance | None:
        """Take a place at an instance that has one now.

        Args:
            avoid: Instances that are taken only where there are no others.
            strictly: Not even then.
        """
        living = self._living()
        may, _ = admitted([one.breaker for one in living], anyio.current_time(), BREAKER)
        free = [living[at] for at in may if living[at].in_flight < self._limits.in_flight]
        others = [one for one in free if one not in avoid]
        if not (candidates := others if others or strictly else free):
            return None
        chosen = pick(candidates, lambda one: one.in_flight, random.random)
        chosen.take()
        return chosen

    def _living(self) -> list[Instance]:
        return [one for one in self.instances.values() if not one.retired]

    def _due(self) -> float:
        breakers = [one.breaker for one in self._living()]
        return admitted(breakers, anyio.current_time(), BREAKER)[1]

    def wake(self) -> None:
        """Let the first in line look again."""
        if self._line:
            self._line[0].wake()

    @property
    def callable(self) -> int:
        """How many instances may be called freely."""
        return sum(one.breaker.closed for one in self._living())

    # -- budgets -----------------------------------------------------------------------------------

    def earn(self) -> None:
        """Take note of a call, which earns its share of a retry and of a hedge."""
        now = anyio.current_time()
        retries = self._retries or RetryBudget.full(now, self._policy)
        self._retries = retries.called(now, self._policy)
        hedges = HEDGES.budget
        self._hedges = (self._hedges or RetryBudget.full(now, hedges)).called(now, hedges)

    def pay_retry(self) -> bool:
        """Take a retry off the budget; False where there is none left."""
        left = self._retries and self._retries.retried(anyio.current_time(), self._policy)
        self._retries = left or self._retries
        return left is not None

    def pay_hedge(self) -> bool:
        """Take a hedge off the budget; False where there is none left."""
        left = self._hedges and self._hedges.retried(anyio.current_time(), HEDGES.budget)
        self._hedges = left or self._hedges
        return left is not None
