"""The daemon in the background: start one, make sure that there is one, stop it.

Standard library only, so that a command that finds a running daemon stays quick. What is asked of a
running one goes through `control_client`. Above: `cli`. Below: `detach`, `control_client`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from tale.errors import DaemonError, DaemonUnreachable, StorageError, TaleError
from tale.orchestration.control_client import (
    Runtime,
    check_version,
    control,
    daemon_pid,
    read_answer,
    read_runtime,
)
from tale.orchestration.detach import read_line, spawn_detached, wait_gone
from tale.orchestration.logfile import SUPERVISOR, last_lines, open_log
from tale.paths import Paths

__all__ = ["daemon_environment", "daemon_log", "ensure_daemon", "start_daemon", "stop_daemon"]

# -P: nothing is ever imported from the folder in which somebody typed the command.
_COMMAND = (sys.executable, "-P", "-m", "tale.orchestration.daemon")
_LOG_LINES = 15
_LOOK_SECONDS = 0.05


def start_daemon(
    paths: Paths,
    timeout: float = 30.0,
    *,
    environ: Mapping[str, str] = os.environ,
    command: Sequence[str] = _COMMAND,
) -> Runtime:
    """Start a daemon that outlives the caller, and wait until it can be asked things.

    Args:
        paths: Of which installation.
        timeout: Seconds until it must serve.
        environ: What it inherits.
        command: What to run; it is given `--notify-fd N`.

    Raises:
        TaleError: Why it could not start.
    """
    reader, writer = os.pipe()
    try:
        try:
            pid = _spawn(paths, environ, [*command, "--notify-fd", str(writer)], writer)
        finally:
            os.close(writer)
        report = read_line(reader, timeout)
    finally:
        os.close(reader)
    if not report:
        raise _silent(paths, pid, timeout)
    try:
        return Runtime.read(read_answer(report))
    except TaleError:
        os.waitpid(pid, 0)
        raise


def ensure_daemon(
    paths: Paths,
    timeout: float = 30.0,
    *,
    environ: Mapping[str, str] = os.environ,
    command: Sequence[str] = _COMMAND,
) -> Runtime:
    """Give the running daemon; start one if there is none. Callers may be many at once.

    Raises:
        DaemonVersionMismatch: The running one is of another version.
        TaleError: Why none could be started.
    """
    runtime = read_runtime(paths)
    if runtime is None:
        try:
            runtime = start_daemon(paths, timeout, environ=environ, command=command)
        except DaemonError:
            # Somebody else's was quicker; ours waited until that one served.
            runtime = read_runtime(paths)
            if runtime is None:
                raise
    check_version(runtime)
    return runtime


def stop_daemon(paths: Paths, timeout: float = 60.0) -> bool:
    """Stop the daemon and wait until it is gone, whatever version it is.

    Returns:
        Whether there was one.

    Raises:
        DaemonError: It did not go.
    """
    pid = daemon_pid(paths)
    if pid is None:
        return False
    deadline = time.monotonic() + timeout
    if runtime := _runtime_of(paths, pid, deadline):
        try:
            control(runtime, "stop", timeout)
        except DaemonUnreachable:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    if not wait_gone(pid, deadline - time.monotonic()):
        raise DaemonError(
            f"The daemon (process {pid}) has not stopped after {timeout:g} s.",
            hint=f"`kill -9 {pid}` ends it; its servers leave with it.",
        )
    return True


def daemon_log(paths: Paths) -> str:
    """Name the log of a daemon that was started in the background."""
    return str(paths.log_of(SUPERVISOR))


def daemon_environment(paths: Paths, environ: Mapping[str, str]) -> dict[str, str]:
    """Make sure that the daemon finds the same folders, wherever it runs."""
    inherited = dict(environ)
    if "TALE_HOME" in environ or Paths.from_environment(environ) != paths:
        return {
            **inherited,
            "TALE_HOME": str(paths.data),
            "TALE_CONFIG": str(paths.config_file),
        }
    return inherited


def _runtime_of(paths: Paths, pid: int, deadline: float) -> Runtime | None:
    """Find how a daemon is asked things; one that is just starting is waited for.

    None for one that is leaving, once it has, or when the time is up.
    """
    while True:
        runtime = read_runtime(paths)
        # A successor that somebody has started meanwhile is not meant.
        if runtime is not None and runtime.pid == pid:
            return runtime
        if wait_gone(pid, _LOOK_SECONDS) or time.monotonic() >= deadline:
            return None


def _spawn(paths: Paths, environ: Mapping[str, str], command: Sequence[str], notify_fd: int) -> int:
    try:
        log = open_log(paths.log_of(SUPERVISOR))
    except OSError as error:
        raise StorageError(
            f"The folder {paths.logs} can't be written: {error.strerror}.",
            hint="Make it writable, or set TALE_HOME to another folder.",
        ) from error
    try:
        return spawn_detached(command, daemon_environment(paths, environ), log, [notify_fd])
    finally:
        os.close(log)


def _silent(paths: Paths, pid: int, timeout: float) -> DaemonError:
    """Explain a daemon that did not report, and make sure that it is gone."""
    late = os.waitpid(pid, os.WNOHANG) == (0, 0) and not wait_gone(pid, 1.0)
    if late:
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
    what = f"did not answer within {timeout:g} s" if late else "ended before it could answer"
    lines = "\n".join(last_lines(paths.log_of(SUPERVISOR), _LOG_LINES))
    return DaemonError(
        f"The daemon {what}. The end of its log:\n{lines}\n",
        hint=f"The whole log is {daemon_log(paths)}; `tale doctor` checks the machine.",
    )
