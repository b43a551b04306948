"""One server as the manager holds it: its spec, its state, its living process."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

import anyio

from tale.orchestration.facts import NOTHING, Gauge, History, Sample, ServerStatus
from tale.orchestration.process import Process
from tale.orchestration.spawn import Running
from tale.orchestration.specs import ServerSpec
from tale.telemetry import get_logger
from tale.wire.leash import FailedStart, Fault, Peer

__all__ = ["Child"]

log = get_logger(__name__)

_EXITS_KEPT = 5


class Child:
    """A server's past and present; written by `server_manager` alone.

    Attributes:
        spec: What it should be.
        process: The state machine's state.
        running: The living process.
        last_words: Why the process that ended last could not serve, if it said so.
        tail: In a crash loop, the end of its log.
    """

    def __init__(self, spec: ServerSpec) -> None:
        """Describe a server that has not been started.

        Args:
            spec: What it should be.
        """
        self.spec = spec
        self.process = Process()
        self.running: Running | None = None
        self.last_words: Fault | None = None
        self.tail: tuple[str, ...] = ()
        self._words: Fault | None = None
        self._timer: anyio.CancelScope | None = None
        self._gauge: Gauge | None = None
        self._history = History()
        self._exits: deque[str] = deque(maxlen=_EXITS_KEPT)
        self._started = 0.0

    def take(self, running: Running) -> None:
        """Hold a new process."""
        self.running, self._gauge, self._started = running, None, anyio.current_time()
        self._history = History()

    def hear(self, fault: Fault) -> None:
        """Take down why the living process can't serve."""
        self._words = fault

    def explain(self, tail: Sequence[str]) -> None:
        """Take down how a process in a crash loop ended, and say so."""
        self.tail = tuple(tail)
        log.error(
            "server.crash_looping",
            name=self.spec.name,
            failures=self.process.failures,
            last_exit=self.process.last_exit,
            tail="\n".join(tail),
        )

    def measure(self) -> str:
        """Look at what the process takes; gives a reason in words where that is too much."""
        if not self.process.pid:
            return ""
        sample = self._read()
        self._history.add(anyio.current_time(), sample)
        rss, limit = sample.rss, self.spec.max_rss
        if not limit or rss <= limit or self.process.state != "ready":
            return ""
        return f"grew to {rss >> 20} MiB, its limit is {limit >> 20} MiB"

    def gone(self, reason: str) -> None:
        """Let go of the process, which has ended for this reason."""
        self.running = None
        self._exits.append(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {reason}")
        self.last_words, self._words = self._words, None

    def set_timer(self) -> anyio.CancelScope:
        """Give the scope in which a new timer waits; the one before ends."""
        self.cancel_timer()
        self._timer = anyio.CancelScope()
        return self._timer

    def cancel_timer(self) -> None:
        """End the wait for the timer that is set."""
        if self._timer is not None:
            self._timer.cancel()

    def needs(self, other: Child) -> bool:
        """Whether this one must be gone before the other is stopped."""
        names = {dependency.name for dependency in self.spec.depends_on}
        # Replicas that were started one after the other are stopped side by side.
        named = other.spec.name in names or other.spec.service in names
        if named and other.spec.service != self.spec.service:
            return True
        return other.spec.owner == self.spec.name

    def answers_to(self, name: str | None) -> bool:
        """Whether a user means this one by a server's or service's name; None means all."""
        return name is None or name in (self.spec.name, self.spec.service)

    def peer(self) -> Peer | None:
        """Describe it to the others while it is ready."""
        process = self.process
        if process.state != "ready":
            return None
        return Peer(
            service=self.spec.service,
            name=self.spec.name,
            url=process.url,
            pid=process.pid,
            starts=process.starts,
        )

    def failed_start(self) -> FailedStart | None:
        """Describe its latest start to the others if that failed."""
        process = self.process
        if not process.start_fault:
            return None
        return FailedStart(
            name=self.spec.name,
            number=process.failed_starts,
            reason=process.start_fault,
            fault=self.last_words,
        )

    def status(self) -> ServerStatus:
        """Describe it, with the machine's figures."""
        process = self.process
        sample = self._read()
        # It counts as stable only after a while, but one that is ready is not shown as failing.
        looping = process.looping and process.state != "ready"
        return ServerStatus(
            name=self.spec.name,
            service=self.spec.service,
            state=process.state,
            pid=process.pid or None,
            url=process.url,
            restarts=max(0, process.starts - 1),
            starts=process.starts,
            uptime=anyio.current_time() - self._started if process.pid else 0.0,
            rss=sample.rss,
            cpu=sample.cpu,
            last_exit=process.last_exit or None,
            foreign=not self.spec.leash,
            crash_looping=looping,
            tail=list(self.tail) if looping else [],
            fds=sample.fds,
            threads=sample.threads,
            growth=self._history.trend(),
            history=self._history.moments(),
            exits=list(self._exits),
        )

    def _read(self) -> Sample:
        if self.process.pid and self._gauge is None:
            self._gauge = Gauge(self.process.pid)
        return self._gauge.read() if self.process.pid and self._gauge else NOTHING

    def log_state(self) -> None:
        """Write down that its state has changed; what lasts no time is left out."""
        process = self.process
        if not process.pid and (process.state == "starting" or not process.starts):
            return
        log.info(
            f"server.{self.process.state}",  # noqa: G004  one event for each state
            name=self.spec.name,
            pid=self.process.pid,
            starts=self.process.starts,
            last_exit=self.process.last_exit,
        )
