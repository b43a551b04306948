"""Children that nobody asked for: what a server leaves behind falls to this process.

As child subreaper, or as process 1 of a container, the supervisor inherits every descendant whose
parent has died. `reap` buries those that are dead; `sweep` ends those that live, for what a server
leaves behind goes with it, even if it left the server's process group. Neither touches a known
child: its exit status is its owner's.

Call both after a known child has been reaped, and at SIGCHLD. Above: whoever owns the children.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from tale.telemetry import get_logger

__all__ = ["children", "reap", "sweep"]

log = get_logger(__name__)

_TASKS: Final = Path("/proc/self/task")


def reap(known: Container[int]) -> list[int]:
    """Bury dead children that are nobody's, without waiting, and give their process ids.

    A dead child that is known hides those behind it, and stays for its owner, who calls again.

    Args:
        known: Process ids whose exit status somebody waits for.
    """
    buried: list[int] = []
    while (pid := _next_dead()) and pid not in known:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        buried.append(pid)
    return buried


def sweep(known: Container[int]) -> list[int]:
    """End (SIGKILL) living children that are nobody's, and give their process ids.

    Left alone is what belongs to the session or process group of a known child, which may have
    started it in the background. What an ended one leaves behind in turn falls to this process
    when it dies, so sweep again then.

    Args:
        known: Process ids of children that are to live.
    """
    ended: list[int] = []
    for pid in children():
        if pid in known:
            continue
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) in known or os.getpgid(pid) in known:
                continue
            # It is a child and not yet reaped, so its number can't be anybody else's.
            os.kill(pid, signal.SIGKILL)
            ended.append(pid)
    if ended:
        log.info("orphans.ended", pids=ended)
    return ended


def children(tasks: Path = _TASKS) -> list[int]:
    """List the direct children of this process, dead ones that are not yet reaped included.

    Args:
        tasks: Where the kernel lists them, thread by thread; the process table is read otherwise.
    """
    try:
        # A file for each thread: the children that it made, or that fell to it.
        files = [task / "children" for task in tasks.iterdir()]
        return [int(pid) for file in files for pid in file.read_text().split()]
    except OSError:  # not Linux, built without it, or a thread has just ended
        return [process.pid for process in psutil.Process().children()]


def _next_dead() -> int:
    """Give the process id of a dead child, which stays to be reaped; 0 if there is none."""
    if sys.platform == "darwin" or not hasattr(os, "waitid"):
        return 0  # no orphan falls to a process there
    try:
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return dead.si_pid if dead else 0
