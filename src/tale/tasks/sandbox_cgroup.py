"""A bound on processes for programs that root runs, whom the kernel exempts from RLIMIT_NPROC.

A fork bomb doubles faster than anybody can look; only the kernel can stop it. So root, who may,
makes a control group for each program (pids controller, of cgroup v1 or v2). Where that fails, the
watch is what is left. Above: `sandbox_process`.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

__all__ = ["bounded", "joining"]

_ROOTS: Final = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))
# bubblewrap's own, and the shells that become the program.
_OVERHEAD: Final = 4
_END_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.002


@asynccontextmanager
async def bounded(processes: int, roots: Sequence[Path] = _ROOTS) -> AsyncGenerator[Path | None]:
    """Make a control group for at most so many processes; None where it isn't needed or possible.

    Leaving ends what is left in it.

    Args:
        processes: How many.
        roots: Where control groups may be made; the first that takes one is used.
    """
    group = _make(processes, roots) if os.geteuid() == 0 else None
    try:
        yield group
    finally:
        if group is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_clear, group)


def joining(group: Path | None, argv: Sequence[str]) -> tuple[str, ...]:
    """Put a shell before a program that joins the group and becomes that program."""
    if group is None:
        return tuple(argv)
    line = 'echo $$ > "$0" && exec "$@"'
    return ("/bin/sh", "-c", line, str(group / "cgroup.procs"), *argv)


def _make(processes: int, roots: Sequence[Path]) -> Path | None:
    for root in roots:
        _sweep(root)
        group = root / f"tale-{os.getpid()}-{secrets.token_hex(6)}"
        with suppress(OSError):
            group.mkdir()
            try:
                (group / "pids.max").write_text(str(processes + _OVERHEAD))
                return group
            except OSError:
                group.rmdir()
                raise
    return None


def _sweep(root: Path) -> None:
    """Remove what owners that were killed left; their programs died with them."""
    for group in root.glob("tale-*-*"):
        owner = group.name.split("-")[1]
        if not Path("/proc", owner).exists():
            with suppress(OSError):
                group.rmdir()


def _clear(group: Path) -> None:
    """Kill until nothing is left, and remove the group; a process takes a moment to end."""
    end = time.monotonic() + _END_SECONDS
    with suppress(OSError):
        while (left := (group / "cgroup.procs").read_text().split()) and time.monotonic() < end:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(_PAUSE_SECONDS)
        group.rmdir()
