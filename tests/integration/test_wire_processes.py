"""The wire against real server processes that are killed, stopped and cancelled under load."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc
import pytest
from anyio.streams.text import TextReceiveStream

from tale.errors import DeadlineExceeded
from tale.wire.leash import Peer
from tale.wire.metrics import WireMetrics
from tale.wire.peers import FixedPeers
from tale.wire.pool import Services
from tale.wire.tool import Tool
from wire_desk import ECHO, HANG, PUT, TOKEN, Ask, Told

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

DESK = str(Path(__file__).parent.parent / "wire_desk.py")
_CALLERS = 32


@dataclass
class DeskProcess:
    """One server process and what it prints."""

    peer: Peer
    process: anyio.abc.Process
    lines: TextReceiveStream
    said: str = ""

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    async def wait_for(self, word: str) -> None:
        with anyio.fail_after(10):
            while word not in self.said:
                self.said += await self.lines.receive()


@asynccontextmanager
async def desk(number: int = 1) -> AsyncGenerator[DeskProcess]:
    async with await anyio.open_process([sys.executable, DESK], stderr=None) as process:
        assert process.stdout is not None
        lines = TextReceiveStream(process.stdout)
        with anyio.fail_after(30):
            port = int((await lines.receive()).strip())
        url = f"http://127.0.0.1:{port}"
        peer = Peer(service="desk", name=f"desk-{number}", url=url, pid=process.pid, starts=1)
        try:
            yield DeskProcess(peer, process, lines)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


@asynccontextmanager
async def calling(
    *desks: DeskProcess, metrics: WireMetrics | None = None
) -> AsyncGenerator[Services]:
    source = FixedPeers(*(one.peer for one in desks))
    services = Services(source, services={"desk"}, token=TOKEN, metrics=metrics)
    async with services.open():
        yield services


async def test_a_cancelled_caller_cancels_the_work_in_the_other_process() -> None:
    async with desk() as one, calling(one) as services:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: services.call(HANG, Ask(), deadline=60))
            await one.wait_for("hanging")
            tasks.cancel_scope.cancel()
        await one.wait_for("cancelled")


async def test_time_that_runs_out_ends_the_work_in_the_other_process() -> None:
    async with desk() as one, calling(one) as services:
        with pytest.raises(DeadlineExceeded):
            await services.call(HANG, Ask(), deadline=0.3)
        await one.wait_for("cancelled")


@pytest.mark.parametrize("tool", [ECHO, PUT], ids=["a read", "an idempotent call"])
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
async def test_callers_see_nothing_of_instances_that_are_killed_or_stopped(
    blow: signal.Signals, tool: Tool[Ask, Told]
) -> None:
    metrics = WireMetrics()
    async with (
        desk(1) as first,
        desk(2) as second,
        desk(3) as third,
        calling(first, second, third, metrics=metrics) as services,
    ):
        answered: Counter[int] = Counter()
        stop = anyio.Event()

        async def caller() -> None:
            while not stop.is_set():
                told = await services.call(tool, Ask(text="hello"), deadline=15)
                answered[told.pid] += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(_CALLERS):
                tasks.start_soon(caller)
            for one in (first, second):
                answered.clear()
                await _until(lambda one=one: answered[one.process.pid] > 20)
                one.signal(blow)
                await _until(lambda one=one: _breaker(metrics, one) != "closed")
            # Who was held up by the last blow has been answered once all are through.
            stop.set()
        assert _breaker(metrics, third) == "closed"


def _breaker(metrics: WireMetrics, one: DeskProcess) -> str:
    return {seen.name: seen.breaker for seen in metrics.instances()}[one.peer.name]


async def _until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - counters of many callers; nothing to wait on
            await anyio.sleep(0.01)
