"""What a killed model costs, and what tale itself takes of the machine."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any
from urllib.request import Request, urlopen

import psutil

from benchmarks.installation import Installation, bare_server, first_token
from benchmarks.report import Figure, Report, median, spread

__all__ = ["measure"]

_KILLS = 5
_LOOK_SECONDS = 0.01
_STABLE_SECONDS = 6.0


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
        # A process that dies young waits before it is started again; here the first death counts.
        while installation.servers()["model-ux"]["uptime"] < _STABLE_SECONDS:
            time.sleep(_LOOK_SECONDS)
        os.kill(installation.servers()["model-ux"]["pid"], signal.SIGKILL)
        begun = time.perf_counter()
        _until_back(url, token)
        if first_token(url, token).model != model:
            raise RuntimeError("another model answered")
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


def _until_back(url: str, token: str) -> None:
    """Wait until the ux model is ready again.

    Requests would be answered by the task model meanwhile, which takes the processor from the load.
    """
    request = Request(f"{url}/pool", headers={"Authorization": f"Bearer {token}"})
    seen_down = False
    while True:
        with urlopen(request) as response:
            models: list[dict[str, Any]] = json.load(response)["models"]
        ready = all(model["state"] == "ready" for model in models if model["role"] == "ux")
        if ready and seen_down:
            return
        seen_down = seen_down or not ready
        time.sleep(_LOOK_SECONDS)


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
