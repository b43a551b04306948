"""`python -m benchmarks [NAME…]`: measure, print each figure beside its baseline, keep the result.

Exits with 1 where a figure is missed, so that a script can tell; a noisy machine misses some.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from benchmarks.installation import model_file
from benchmarks.report import Report

_ALL = (
    "startup",
    "answers",
    "recovery",
    "supervision",
    "wire",
    "routing",
    "sandbox",
    "scheduling",
    "eta",
    "watching",
    "dashboard",
    "windows",
    "session",
    "checkpoints",
    "agent",
    "plans",
    "edges",
    "memory",
    "chaos",
    "crashes",
    "soak",
)
_RESULTS = Path(__file__).parent / "results" / "latest.json"


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all."""
    if unknown := set(names) - set(_ALL):
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(_ALL)}", file=sys.stderr)
        return 2
    for role in ("ux", "task"):
        if not model_file(role).exists():
            print("The embedded pair isn't here yet: tale models pull pair", file=sys.stderr)
            return 2
    report = Report()
    for name in names or _ALL:
        report.console.rule(name)
        importlib.import_module(f"benchmarks.{name}").measure(report)
    report.show()
    report.save(_RESULTS)
    return 0 if all(figure.reached for figure in report.figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
