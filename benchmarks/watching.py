"""How long after it happened an event is shown by `tale watch`, in real processes with real models.

From the moment that the gateway heard of it from the execution server, as the event says, to the
line that `tale watch --json` has written. Beside it, at the same time, who reads the gateway's
stream itself and does nothing with it.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
from collections.abc import Iterable
from datetime import UTC, datetime

from benchmarks.installation import TALE, Installation
from benchmarks.report import Figure, Report, median, spread

_TASKS = 4
_TEXT = "Tell me a story about the sea in two hundred words."
_REACH = 0.1


def measure(report: Report) -> None:
    shown: list[float] = []
    raw: list[float] = []
    with Installation.fresh() as installation:
        installation.tale("submit", "hello world")  # the daemon is up and the models are warm
        for _ in range(_TASKS):
            task = installation.tale("submit", "--no-wait", _TEXT).strip()
            reader = threading.Thread(target=_read, args=(installation, task, raw))
            reader.start()
            with subprocess.Popen(
                [TALE, "watch", task, "--json"],
                env=dict(installation.environment),
                stdout=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
            ) as watcher:
                shown += _delays(watcher.stdout or ())
            reader.join()
    late = _p95(shown)
    report.add(
        Figure(
            "event heard by the gateway, shown by `tale watch`, p95",
            late * 1000,
            "ms",
            "< 100 ms",
            late < _REACH,
            "the stream alone",
            _p95(raw) * 1000,
            len(shown),
            (spread(shown)[0] * 1000, spread(shown)[1] * 1000),
        )
    )
    report.console.print(
        f"    median {median(shown) * 1000:.1f} ms, {len(raw)} events in the stream"
    )


def _read(installation: Installation, task: str, delays: list[float]) -> None:
    """Read a task's events as they come over HTTP."""
    connection = http.client.HTTPConnection(
        installation.url_of("gateway").removeprefix("http://"), timeout=300
    )
    headers = {"Authorization": f"Bearer {installation.runtime.token}"}
    connection.request("GET", f"/api/events?task={task}&progress=1", headers=headers)
    try:
        response = connection.getresponse()
        lines = iter(response.readline, b"")
        delays += _delays(line[6:] for line in lines if line.startswith(b"data: "))
    finally:
        connection.close()


def _delays(lines: Iterable[bytes]) -> list[float]:
    """Give how long ago each event was when its line came; what had happened before is left out."""
    there: datetime | None = None
    delays: list[float] = []
    for line in lines:
        now = datetime.now(UTC)
        at = datetime.fromisoformat(json.loads(line)["at"])
        # The first line comes once the reader is there.
        there = there or now
        if at >= there:
            delays.append((now - at).total_seconds())
    return delays


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]
