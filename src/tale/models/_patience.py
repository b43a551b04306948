"""How long a caller of the models server waits, and what it is told meanwhile.

Above: `client`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import anyio

from tale.errors import DeadlineExceeded, ServiceUnavailable, TaleError
from tale.models.caller import HeldUp
from tale.models.headers import DEADLINE_HEADER

__all__ = ["Deadline", "Missing"]

_T = TypeVar("_T")

_COMING: Final = (
    "The models are not there just now. They are being brought back, the answer follows."
)


class Missing:
    """Whether the server is missing, and that it is said once that is more than a moment."""

    def __init__(self, held_up: HeldUp | None, grace: float) -> None:
        self._held_up = held_up
        self._tells_at = anyio.current_time() + grace
        self._waiting = False

    async def waiting_for(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Make a call that does nothing but wait for the server, and say so if it takes long."""
        self._waiting = True
        if self._held_up:
            with anyio.move_on_at(self._tells_at):
                result = await call()
                self._waiting = False
                return result
            held_up, self._held_up = self._held_up, None
            await held_up(_COMING)
        result = await call()
        self._waiting = False
        return result

    def late(self, seconds: float) -> TaleError | None:
        """Make the error of a deadline that ended while the server was missing."""
        if not self._waiting:
            return None
        return ServiceUnavailable(
            f"The models server did not come back within {seconds:.3g} s.",
            hint="`tale logs models` says why it is down; `tale restart models` starts it anew.",
        )


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the caller gives up, by the event loop's clock."""

    seconds: float | None
    ends: float | None

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        return cls(seconds, None if seconds is None else anyio.current_time() + seconds)

    def header(self) -> dict[str, str]:
        """Say how long the caller has: this request's time, or what is left of that around it."""
        own = math.inf if self.ends is None else self.ends
        ends = min(own, anyio.current_effective_deadline())
        if ends == math.inf:
            return {}
        return {DEADLINE_HEADER: f"{max(ends - anyio.current_time(), 0.001):.3f}"}

    @contextmanager
    def enforced(
        self, late: Callable[[float], TaleError | None] = lambda _: None
    ) -> Generator[None, None, None]:
        """Bound what happens in the block, in which no caller's code runs but `held_up`.

        Args:
            late: Makes the error where it is another than usual, from the seconds there were.
        """
        if self.ends is None or self.seconds is None:
            yield
            return
        try:
            with anyio.fail_after(self.ends - anyio.current_time()):
                yield
        except TimeoutError as error:
            raise late(self.seconds) or DeadlineExceeded(
                f"The model did not answer within {self.seconds:.3g} s.",
                hint="Ask for less, or give it more time; `tale status` shows what it is doing.",
            ) from error
