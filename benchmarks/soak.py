"""Ten minutes at half load: what grows? Memory, descriptors and tasks of supervisor and servers.

TALE_SOAK_SECONDS makes it shorter, or longer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.report import Figure, Report, median, spread

__all__ = ["measure"]

_ROOT = Path(__file__).parents[1]
_SECONDS = os.environ.get("TALE_SOAK_SECONDS", "600")
_REPLICAS, _CALLERS = 4, 32
# Half of the calls a second that 32 callers get out of two cores.
_RATE = 600
# Caches and pools fill in the first minute. Allocators move by a few pages for ever.
_WARM, _LAST = 10, 10
_NOISE = {"rss": 4.0, "fds": 2.0, "tasks": 2.0}
# Each of the replicas has its own busiest moment, and keeps its connections for a minute after it.
_MOST_CONNECTIONS = 2 * _CALLERS
_UNITS = {"rss": "MB", "fds": "descriptors", "tasks": "tasks"}


def measure(report: Report) -> None:
    """Measure the growth from the second minute to the last."""
    words = ["soak", str(_REPLICAS), str(_CALLERS), str(_RATE), _SECONDS]
    command = [sys.executable, "-m", "benchmarks.small_server", *words]
    run = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, check=True)
    found = json.loads(run.stdout)
    report.console.print(f"  {found['made']} calls in {_SECONDS} s, {found['failed']} failed")
    for what, noise in _NOISE.items():
        values: list[float] = [sample[what] for sample in found["taken"]]
        before, after = median(values[_WARM : 2 * _WARM]), median(values[-_LAST:])
        report.add(
            Figure(
                f"soak of {_SECONDS} s at half load: growth of {what}",
                after - before,
                _UNITS[what],
                f"none (≤ {noise:g})",
                after - before <= noise,
                "in the second minute",
                before,
                len(values),
                spread(values),
            )
        )
    connections: list[float] = [sample["connections"] for sample in found["taken"]]
    report.add(
        Figure(
            f"soak of {_SECONDS} s at half load: connections, at most",
            max(connections),
            "",
            f"≤ {_MOST_CONNECTIONS}",
            max(connections) <= _MOST_CONNECTIONS,
            runs=len(connections),
            spread=spread(connections),
        )
    )
