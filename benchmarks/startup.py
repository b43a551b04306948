"""From nothing to an answer, and how quick the commands are."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.installation import TALE, Installation, bare_server, first_token
from benchmarks.report import Figure, Report, median, spread

__all__ = ["measure"]

_COLD_RUNS = 5
_WARM_RUNS = 9
_QUICK_RUNS = 15


def measure(report: Report) -> None:
    """Measure `tale submit "hello world"` cold and warm, and the commands that only look."""
    with Installation.fresh() as installation:
        installation.timed("submit", "hello world")  # the first start also makes the database
        _cold(report, installation)
        _warm(report, installation)
        _status(report, installation)
    _help(report)


def _cold(report: Report, installation: Installation) -> None:
    seconds: list[float] = []
    bare: list[float] = []
    for _ in range(_COLD_RUNS):
        installation.tale("stop")
        seconds.append(installation.timed("submit", "hello world"))
        installation.tale("stop")
        bare.append(_bare_cold())
    report.add(
        Figure(
            'submit "hello world", nothing running',
            median(seconds),
            "s",
            "< 10 s, aim 5 s",
            median(seconds) < 10,
            "bare llama.cpp: start, load, answer",
            median(bare),
            len(seconds),
            spread(seconds),
        )
    )


def _bare_cold() -> float:
    begun = time.perf_counter()
    with bare_server("ux") as (url, _):
        first_token(url, "", max_tokens=40)
        return time.perf_counter() - begun


def _warm(report: Report, installation: Installation) -> None:
    installation.timed("submit", "hello world")
    token = installation.runtime.token
    model = installation.url_of("model-ux")
    seconds: list[float] = []
    bare: list[float] = []
    for _ in range(_WARM_RUNS):
        seconds.append(installation.timed("submit", "hello world"))
        begun = time.perf_counter()
        first_token(model, token, max_tokens=40)
        bare.append(time.perf_counter() - begun)
    report.add(
        Figure(
            'submit "hello world", daemon running',
            median(seconds),
            "s",
            "< 2 s",
            median(seconds) < 2,
            "the model process alone",
            median(bare),
            len(seconds),
            spread(seconds),
        )
    )


def _status(report: Report, installation: Installation) -> None:
    seconds = [installation.timed("status") for _ in range(_QUICK_RUNS)]
    bare = [_python() for _ in range(_QUICK_RUNS)]
    report.add(
        Figure(
            "tale status",
            median(seconds),
            "s",
            "< 0.4 s",
            median(seconds) < 0.4,
            "python -c 'import typer, rich.table'",
            median(bare),
            len(seconds),
            spread(seconds),
        )
    )


def _help(report: Report) -> None:
    seconds: list[float] = []
    bare: list[float] = []
    for _ in range(_QUICK_RUNS):
        begun = time.perf_counter()
        subprocess.run([TALE, "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - begun)
        bare.append(_python())
    report.add(
        Figure(
            "tale --help",
            median(seconds),
            "s",
            "< 0.25 s",
            median(seconds) < 0.25,
            "python -c 'import typer, rich.table'",
            median(bare),
            len(seconds),
            spread(seconds),
        )
    )


def _python() -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import typer, rich.table"], check=True)
    return time.perf_counter() - begun
