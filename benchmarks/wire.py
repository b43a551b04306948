"""Calls a second between two processes, beside the MCP SDK's client used plainly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from pydantic import BaseModel

from benchmarks.report import Figure, Report, median, spread
from tale.wire.leash import Peer
from tale.wire.peers import FixedPeers
from tale.wire.pool import Services
from tale.wire.tool import Tool

__all__ = ["BATCHED", "ECHO", "TOKEN", "Echo", "measure"]

TOKEN = "benchmark"  # noqa: S105 - of a server that lives for a minute
_ROUNDS = 5
_SEQUENTIAL = 200
_IN_FLIGHT = 32
_PARALLEL = 640
_TOGETHER = 3200
_NEW = 20

Call = Callable[[], Awaitable[object]]


class Echo(BaseModel):
    """What is said, and said back."""

    text: str = "hello"


ECHO = Tool("echo", "echo", "Say it back.", Echo, Echo, idempotent=True)
BATCHED = Tool(
    "echo", "say", "Say it back, many at once.", Echo, Echo, idempotent=True, batched=True
)


def measure(report: Report) -> None:
    """Measure our pool and the SDK's client in turn, against one server process."""
    with _server() as url:
        anyio.run(_measure, report, url, backend_options={"use_uvloop": True})


async def _measure(report: Report, url: str) -> None:
    ours: dict[str, list[float]] = {"one after another": [], f"{_IN_FLIGHT} in flight": []}
    plain: dict[str, list[float]] = {key: [] for key in ours}
    batched: list[float] = []
    async with _services(url) as (pooled, together), _client(url) as kept:
        for number in range(_ROUNDS):
            batched.append(await _rate(together, _TOGETHER, _IN_FLIGHT))
            for call, rates in ((pooled, ours), (kept, plain))[:: 1 if number % 2 else -1]:
                rates["one after another"].append(await _rate(call, _SEQUENTIAL, 1))
                rates[f"{_IN_FLIGHT} in flight"].append(await _rate(call, _PARALLEL, _IN_FLIGHT))
    for (key, mine), reach in zip(ours.items(), (1.0, 1.4), strict=True):
        ratio = median(mine) / median(plain[key])
        report.add(
            Figure(
                f"calls a second, {key}",
                median(mine),
                "/s",
                f"≥ {reach} of the SDK's client",
                ratio >= reach,
                "one SDK client kept open",
                median(plain[key]),
                len(mine),
                spread(mine),
            )
        )
    single = ours[f"{_IN_FLIGHT} in flight"]
    report.add(
        Figure(
            f"batched calls a second, {_IN_FLIGHT} callers",
            median(batched),
            "/s",
            "≥ 5 of single ones",
            median(batched) >= 5 * median(single),
            "the same pool, single calls",
            median(single),
            len(batched),
            spread(batched),
        )
    )
    new = [await _rate(lambda: _call_with_new_client(url), _NEW, 1) for _ in range(3)]
    mine = ours["one after another"]
    report.add(
        Figure(
            "calls a second, against a new client for each",
            median(mine),
            "/s",
            "≥ 15 of it",
            median(mine) >= 15 * median(new),
            "a new SDK client for each call",
            median(new),
            len(mine),
            spread(mine),
        )
    )


async def _rate(call: Call, calls: int, in_flight: int) -> float:
    """Make calls, so many at a time; gives how many a second."""
    left = calls

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    begun = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(in_flight):
            tasks.start_soon(caller)
    return calls / (time.perf_counter() - begun)


@asynccontextmanager
async def _services(url: str) -> AsyncGenerator[tuple[Call, Call]]:
    peer = Peer(service="echo", name="echo", url=url, pid=os.getpid(), starts=1)
    async with Services(FixedPeers(peer), services={"echo"}, token=TOKEN).open() as services:
        yield (
            lambda: services.call(ECHO, Echo(), deadline=30),
            lambda: services.call(BATCHED, Echo(), deadline=30),
        )


@asynccontextmanager
async def _client(url: str) -> AsyncGenerator[Call]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode="2026-07-28") as client,
    ):
        await client.list_tools()
        yield lambda: client.call_tool("echo", {"text": "hello"}, read_timeout_seconds=30)


async def _call_with_new_client(url: str) -> None:
    async with _client(url) as call:
        await call()


@contextmanager
def _server() -> Generator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.echo_server"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()
        if process.stdout:
            process.stdout.close()
