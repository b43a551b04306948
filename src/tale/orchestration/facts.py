"""What is known of a server at this moment, the machine's figures included."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from tale.orchestration.process import State

__all__ = ["Gauge", "ServerStatus"]


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server, as `tale status` shows it.

    Attributes:
        name: Which process.
        service: What it does.
        state: Where in its life cycle it is.
        pid: Its process id; None if it has none now.
        url: Where it serves; empty unless it is ready.
        restarts: How often it has been replaced.
        starts: How often it has been started.
        uptime: Seconds since the latest start; 0 without a process.
        rss: Resident memory, in bytes.
        cpu: Processor time since the last look, in percent of one core.
        last_exit: Why the one before ended; None if none has.
        crash_looping: It keeps failing, and is tried again at long intervals.
        tail: Then, the end of its log.
    """

    name: str
    service: str
    state: State
    pid: int | None
    url: str
    restarts: int
    starts: int
    uptime: float
    rss: int
    cpu: float
    last_exit: str | None
    crash_looping: bool = False
    tail: tuple[str, ...] = ()


class Gauge:
    """Measures one process."""

    def __init__(self, pid: int) -> None:
        """Find the process; the first reading covers its life so far.

        Args:
            pid: A process, which may be gone by now.
        """
        self._process: psutil.Process | None = None
        self._looked = self._used = 0.0
        try:
            self._process = psutil.Process(pid)
            self._looked = self._process.create_time()
        except psutil.Error:
            pass

    def read(self) -> tuple[int, float]:
        """Give memory in bytes and processor share in percent; zeros once it is gone."""
        if self._process is None:
            return 0, 0.0
        try:
            with self._process.oneshot():
                times, rss = self._process.cpu_times(), self._process.memory_info().rss
        except psutil.Error:
            return 0, 0.0
        now, used = time.time(), times.user + times.system
        elapsed, share = now - self._looked, used - self._used
        self._looked, self._used = now, used
        return rss, 100 * share / elapsed if elapsed > 0 else 0.0
