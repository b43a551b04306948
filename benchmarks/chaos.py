"""Idempotent calls while replicas are killed and stopped: what their callers see of it.

Thirty-two callers, four server processes, and every two seconds a blow at one of them in turn:
SIGKILL or SIGSTOP. Before the next blow the one before is mended: it goes on, or another process is
forked and announced in its place. Until then it stays announced, which is harsher than the
supervisor, who knows of a death at once.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from benchmarks.report import Figure, Report
from benchmarks.wire import ECHO, TOKEN, Echo
from tale.errors import TaleError
from tale.wire.leash import Peer
from tale.wire.metrics import WireMetrics
from tale.wire.peers import FixedPeers
from tale.wire.pool import Services

__all__ = ["measure"]

_SECONDS = 60.0
_CALLERS = 32
_REPLICAS = 4
_BLOW_EVERY = 2.0
_DEADLINE = 10.0
_REACH_P99 = 1.5


@dataclass
class _Seen:
    """What the callers saw."""

    seconds: list[float] = field(default_factory=list[float])
    errors: list[str] = field(default_factory=list[str])

    def at(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Replicas:
    """The server processes; one of them is down at a time."""

    def __init__(self, source: FixedPeers, nursery: anyio.abc.Process) -> None:
        if nursery.stdin is None or nursery.stdout is None:
            raise RuntimeError("they are pipes")
        self._source = source
        self._orders = nursery.stdin
        self._born = BufferedByteReceiveStream(nursery.stdout)
        self._peers: dict[int, Peer] = {}
        self._names = itertools.count(1)
        self.blows = 0

    async def start(self) -> None:
        """Start all of them."""
        for number in range(_REPLICAS):
            self._peers[number] = await self._fork()
        self._source.set(*self._peers.values())

    async def strike(self) -> None:
        """Deal one blow after another, and mend what the one before has done."""
        for count in itertools.count():
            number = count % _REPLICAS
            victim = self._peers[number]
            # Each of them meets with both in turn.
            stop = (count + count // _REPLICAS) % 2
            _signal(victim.pid, signal.SIGSTOP if stop else signal.SIGKILL)
            self.blows += 1
            await anyio.sleep(_BLOW_EVERY)
            if stop:
                _signal(victim.pid, signal.SIGCONT)
            else:
                self._peers[number] = await self._fork()
                self._source.set(*self._peers.values())

    async def _fork(self) -> Peer:
        await self._orders.send(b"\n")
        pid, port = map(int, (await self._born.receive_until(b"\n", 64)).split())
        name, url = f"echo-{next(self._names)}", f"http://127.0.0.1:{port}"
        return Peer(service="echo", name=name, url=url, pid=pid, starts=1)


def measure(report: Report) -> None:
    """Measure errors and the slowest hundredth."""
    seen, metrics = _Seen(), WireMetrics()
    blows = anyio.run(_measure, seen, metrics, backend_options={"use_uvloop": True})
    (edge,) = metrics.made.view(time.monotonic())
    calls = len(seen.seconds)
    report.console.print(
        f"  {blows} blows, {calls} calls, {edge.retries} retries; "
        f"errors: {sorted(set(seen.errors)) or 'none'}"
    )
    report.add(
        Figure(
            f"errors seen by {_CALLERS} callers while replicas die or hang",
            len(seen.errors),
            "errors",
            "0",
            not seen.errors,
            runs=calls,
        )
    )
    report.add(
        Figure(
            "the slowest hundredth of those calls (median and maximum beside)",
            seen.at(0.99),
            "s",
            f"< {_REACH_P99} s",
            seen.at(0.99) < _REACH_P99,
            runs=calls,
            spread=(seen.at(0.5), max(seen.seconds)),
        )
    )


async def _measure(seen: _Seen, metrics: WireMetrics) -> int:
    source = FixedPeers()
    services = Services(source, services={"echo"}, token=TOKEN, metrics=metrics)
    nursery = [sys.executable, "-m", "benchmarks.echo_server", "--nursery"]
    async with await anyio.open_process(nursery, stderr=None) as process:
        replicas = _Replicas(source, process)
        await replicas.start()
        async with services.open():
            with anyio.move_on_after(_SECONDS):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(replicas.strike)
                    for _ in range(_CALLERS):
                        tasks.start_soon(_call, services, seen)
        return replicas.blows


async def _call(services: Services, seen: _Seen) -> None:
    while True:
        began = time.perf_counter()
        try:
            await services.call(ECHO, Echo(), deadline=_DEADLINE)
        except TaleError as error:
            seen.errors.append(f"{error.code}: {error.message}")
        seen.seconds.append(time.perf_counter() - began)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
