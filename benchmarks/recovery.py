"""What a killed model costs, and what tale itself takes of the machine."""

from __future__ import annotations

import os
import signal
import time

import psutil

from benchmarks.installation import Installation, bare_server, first_token
from benchmarks.report import Figure, Report, median, spread

__all__ = ["measure"]

_KILLS = 5


def measure(report: Report) -> None:
    """Measure recovery after SIGKILL, and memory at rest."""
    loads: list[float] = []
    for _ in range(3):
        with bare_server("ux") as (_, seconds):
            loads.append(seconds)
    with Installation.fresh() as installation:
        installation.timed("submit", "hello world")
        installation.url_of("model-task")
        installation.url_of("ux")
        _memory(report, installation)
        _kill(report, installation, median(loads))


def _kill(report: Report, installation: Installation, load: float) -> None:
    url, token = installation.url_of("models"), installation.runtime.token
    model = first_token(url, token).model
    seconds: list[float] = []
    for _ in range(_KILLS):
        os.kill(installation.servers()["model-ux"]["pid"], signal.SIGKILL)
        begun = time.perf_counter()
        while first_token(url, token).model != model:
            pass  # answered by the other model meanwhile
        seconds.append(time.perf_counter() - begun)
    report.add(
        Figure(
            "kill -9 of the ux model → its next answer",
            median(seconds),
            "s",
            "< 2 load times",
            median(seconds) < 2 * load,
            "load time, llama.cpp alone",
            load,
            len(seconds),
            spread(seconds),
        )
    )


def _memory(report: Report, installation: Installation) -> None:
    servers = installation.servers().values()
    own = [s["pid"] for s in servers if not s["name"].startswith("model-")]
    models = [s["pid"] for s in servers if s["name"].startswith("model-")]
    rss = _megabytes([installation.runtime.pid, *own])
    report.add(
        Figure(
            f"resident memory of supervisor and {len(own)} servers",
            rss,
            "MB",
            "< 600 MB",
            rss < 600,
            "the two model processes",
            _megabytes(models),
        )
    )


def _megabytes(pids: list[int]) -> float:
    return sum(psutil.Process(pid).memory_info().rss for pid in pids) / 1e6
