"""Known faults of the dependencies: `pip-audit` over a lock file, as a gate.

A fault fails it. A vulnerability service that can't be reached doesn't, as on a machine without a
network, but says so: nothing was looked at then.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_SECONDS = 300


def main(lock: str) -> int:
    """Audit; 1 where a fault is known."""
    command = [str(Path(sys.executable).with_name("pip-audit")), "--requirement", lock]
    command += ["--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    try:
        done = subprocess.run(
            [*command, "--format", "json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        print("NOT AUDITED: the vulnerability service can't be reached from here.")
        return 0
    audited = [one for one in found if "skip_reason" not in one]
    faulty = [one for one in audited if one["vulns"]]
    for one in faulty:
        for fault in one["vulns"]:
            mended = ", ".join(fault["fix_versions"]) or "no version"
            print(f"{one['name']} {one['version']}: {fault['id']}, mended in {mended}")
    if not audited:
        print("NOT AUDITED: the vulnerability service knows none of the packages from here.")
    elif not faulty:
        print(f"No fault is known of {len(audited)} packages.")
    if audited and len(audited) < len(found):
        print(f"{len(found) - len(audited)} packages could not be audited.")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
