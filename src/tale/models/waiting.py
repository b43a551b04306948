"""How tasks of the pool wait: for a change, and no longer than a deadline.

Nothing here polls: who changes something calls `Changes.notify`, and every waiter looks again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import anyio

__all__ = ["Changes", "Deadline"]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time on `anyio.current_time`.

    Attributes:
        at: When waiting for a model ends.
        begun: When the request came.
        asked: Whether the caller set it; then it bounds the generation too.
    """

    at: float
    begun: float
    asked: bool

    @classmethod
    def after(cls, seconds: float | None, default: float) -> Self:
        """Make one from a caller's seconds, or the default where the caller set none."""
        now = anyio.current_time()
        return cls(now + (default if seconds is None else seconds), now, seconds is not None)

    @property
    def remaining(self) -> float:
        """Seconds left; negative once it has passed."""
        return self.at - anyio.current_time()

    @property
    def waited(self) -> float:
        """Seconds since the request came."""
        return anyio.current_time() - self.begun

    @property
    def of_generation(self) -> float:
        """When a running generation is cut off: never, unless the caller set the deadline."""
        return self.at if self.asked else math.inf


class Changes:
    """A bell that wakes every waiter."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self) -> None:
        """Wake all that wait now."""
        rung, self._event = self._event, anyio.Event()
        rung.set()

    async def wait(self, until: float = math.inf) -> None:
        """Wait for the next ring, or until the time (on `anyio.current_time`) has come."""
        with anyio.CancelScope(deadline=until):
            await self._event.wait()
