"""What is known of a server at this moment, the machine's figures included."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import psutil

from tale.orchestration.process import State

__all__ = ["NOTHING", "Gauge", "History", "Moment", "Sample", "ServerStatus"]

_KEPT: Final = 60
_HOUR_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process takes of the machine.

    Attributes:
        rss: Resident memory, in bytes.
        cpu: Processor time since the sample before, in percent of one core.
        fds: Open file descriptors.
        threads: Threads.
    """

    rss: int = 0
    cpu: float = 0.0
    fds: int = 0
    threads: int = 0


NOTHING: Final = Sample()
"""What a process takes that is gone."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One entry of a history.

    Attributes:
        at: Seconds since the first.
        cpu: Processor time, in percent of one core.
        rss: Resident memory, in bytes.
    """

    at: float
    cpu: float
    rss: int


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
        foreign: It is a program of the user's, who must not be sent our token.
        crash_looping: It keeps failing, and is tried again at long intervals.
        tail: Then, the end of its log.
        fds: Open file descriptors.
        threads: Threads.
        growth: By how much its resident memory grows, in bytes an hour.
        history: Its latest moments, oldest first.
        exits: When and why its latest processes ended, oldest first.
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
    foreign: bool = False
    crash_looping: bool = False
    # Lists, not tuples: it is written as JSON (pydantic's `JsonValue` knows no tuples).
    tail: list[str] = field(default_factory=list[str])
    fds: int = 0
    threads: int = 0
    growth: float = 0.0
    history: list[Moment] = field(default_factory=list[Moment])
    exits: list[str] = field(default_factory=list[str])


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

    def read(self) -> Sample:
        """Measure it; `NOTHING` once it is gone."""
        if self._process is None:
            return NOTHING
        try:
            with self._process.oneshot():
                times, rss = self._process.cpu_times(), self._process.memory_info().rss
                fds, threads = self._process.num_fds(), self._process.num_threads()
        except psutil.Error:
            return NOTHING
        now, used = time.time(), times.user + times.system
        elapsed, share = now - self._looked, used - self._used
        self._looked, self._used = now, used
        return Sample(rss, 100 * share / elapsed if elapsed > 0 else 0.0, fds, threads)


class History:
    """The latest samples of one process, from which a leak can be told."""

    def __init__(self, kept: int = _KEPT) -> None:
        """Know nothing yet.

        Args:
            kept: How many moments; the oldest ones make room.
        """
        self._moments: deque[Moment] = deque(maxlen=kept)
        self._begun: float | None = None

    def add(self, now: float, sample: Sample) -> None:
        """Take a sample.

        Args:
            now: When it was taken, in seconds of any clock that only goes forward.
            sample: What was measured.
        """
        if self._begun is None:
            self._begun = now
        self._moments.append(Moment(now - self._begun, sample.cpu, sample.rss))

    def moments(self) -> list[Moment]:
        """Give them all, oldest first."""
        return list(self._moments)

    def trend(self) -> float:
        """Give the growth of resident memory in bytes an hour; 0 where there is none to tell of.

        The slope of the line that fits all moments best (least squares), which one that stands out,
        at the end of a burst of work, moves less than it moves a difference.
        """
        count = len(self._moments)
        if count < 2:
            return 0.0
        middle = sum(moment.at for moment in self._moments) / count
        weights = [moment.at - middle for moment in self._moments]
        spread = sum(weight * weight for weight in weights)
        if not spread:
            return 0.0
        # Relative to one of them: sums of squares of whole gigabytes would lose the digits.
        base = self._moments[0].rss
        pairs = zip(weights, self._moments, strict=True)
        growth = sum(weight * (moment.rss - base) for weight, moment in pairs)
        return _HOUR_SECONDS * growth / spread
