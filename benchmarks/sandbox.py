"""What gets out of the sandbox, and what it costs to start one, beside a bare subprocess."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from tests.escapes import ATTEMPTS, Attempt, open_host

from benchmarks.report import Figure, Report, median, spread
from tale.tasks.sandbox import Command, Sandbox
from tale.tasks.sandbox_bare import Bare
from tale.tasks.sandbox_bwrap import Bubblewrap, Unable, probe

__all__ = ["measure"]

_ROUNDS = 30


def measure(report: Report) -> None:
    """Try every way out, then start programs in turn in a sandbox and without one."""
    found = probe()
    if isinstance(found, Unable):
        report.console.print(f"  skipped: {found.why} {found.mend}")
        return
    anyio.run(_escapes, report)
    anyio.run(_costs, report)


async def _escapes(report: Report) -> None:
    out = [attempt.name for attempt in ATTEMPTS if await _gets_out(attempt, Bubblewrap())]
    for name in out:
        report.console.print(f"  got out: {name}")
    plain = [attempt for attempt in ATTEMPTS if attempt.plain]
    bare = sum([await _gets_out(attempt, Bare()) for attempt in plain])
    report.add(
        Figure(
            f"ways out of the sandbox that succeed, of {len(ATTEMPTS)} tried",
            len(out),
            "",
            "0",
            not out,
            f"without it, of the {len(plain)} that do no harm",
            bare,
        )
    )


async def _gets_out(attempt: Attempt, sandbox: Sandbox) -> bool:
    with tempfile.TemporaryDirectory() as folder, open_host(Path(folder)) as host:
        return bool(attempt.escaped(host, await sandbox.run(attempt.command(host))))


async def _costs(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = Command(("/bin/true",), Path(folder))
        shut_in: list[float] = []
        bare: list[float] = []
        plain: list[float] = []
        for _ in range(_ROUNDS):
            shut_in.append(await _timed(lambda: Bubblewrap().run(command)))
            bare.append(await _timed(lambda: Bare().run(command)))
            plain.append(
                await _timed(lambda: anyio.run_process(["/bin/true"], stdin=subprocess.DEVNULL))
            )
    for name, values in (("in the sandbox", shut_in), ('with sandbox.kind = "none"', bare)):
        report.add(
            Figure(
                f"start and end of a program {name}",
                median(values),
                "ms",
                "< 50 ms",
                median(values) < 50,
                "as a plain subprocess",
                median(plain),
                len(values),
                spread(values),
            )
        )


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    begin = time.perf_counter()
    await work()
    return (time.perf_counter() - begin) * 1000
