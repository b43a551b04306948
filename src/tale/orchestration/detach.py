"""Processes that outlive their starter: start one, hear its first line, wait until one is gone.

Standard library only, and not even `subprocess`, so that it costs the command line nothing.
Above: `background`.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

__all__ = ["poll_gone", "read_line", "spawn_detached", "wait_gone"]

_LOOK_SECONDS = 0.05
# What a shell may have told its children to ignore.
_RESET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)


def spawn_detached(
    command: Sequence[str], environ: Mapping[str, str], log: int, keep: Sequence[int] = ()
) -> int:
    """Start a process in a session of its own, without a terminal, and give its id.

    Args:
        command: An absolute program, and its arguments.
        environ: Its whole environment.
        log: Descriptor that becomes its standard output and error.
        keep: Further descriptors that it inherits.
    """
    for fd in keep:
        os.set_inheritable(fd, True)
    return os.posix_spawn(
        command[0],
        list(command),
        environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ],
        setsid=True,
        setsigdef=_RESET,
    )


def read_line(fd: int, timeout: float) -> bytes:
    """Read one line; empty if the writer went away before its end, or time ran out."""
    deadline = time.monotonic() + timeout
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        if not readable or not (data := os.read(fd, 65536)):
            return b""
        line += data
    return line


def wait_gone(pid: int, timeout: float) -> bool:
    """Wait until a process is gone, and reap it if it was ours; False if time ran out."""
    if not hasattr(os, "pidfd_open"):
        return poll_gone(pid, timeout)
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        gone = bool(select.select([fd], [], [], max(0.0, timeout))[0])
    finally:
        os.close(fd)
    if gone:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return gone


def poll_gone(pid: int, timeout: float) -> bool:
    """Do what `wait_gone` does where the kernel has no pidfd."""
    deadline = time.monotonic() + timeout
    while True:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS)
