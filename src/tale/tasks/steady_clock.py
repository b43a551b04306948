"""The time of day at the pace of the machine's uptime, whatever the clock is set to meanwhile.

What is measured between two readings is how long it took, though the clock is set, or corrected, in
between; time asleep counts. A clock that was set shows in it from the next start on. Above: the
gateway, which gives it to whoever dates or measures what happens to tasks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["SteadyClock"]


def _uptime() -> float:
    # Linux's monotonic clock stands still while the machine sleeps; this one does not.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class SteadyClock:
    """Calling it gives the time, in UTC."""

    def __init__(
        self,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        uptime: Callable[[], float] = _uptime,
    ) -> None:
        """Set it.

        Args:
            now: The clock of the machine, read once.
            uptime: Seconds that never go back.
        """
        self._uptime = uptime
        self._began = now()
        self._zero = uptime()

    def __call__(self) -> datetime:
        """Give the time."""
        return self._began + timedelta(seconds=self._uptime() - self._zero)
