"""The client's side of the daemon: find it, start it, ask it, stop it.

Standard library only, so that a command that just asks something stays quick. The other side is
`control`; who the daemon is stands in the runtime file, which `instance` writes. Above: `cli`.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import TypeAlias

from tale import __version__
from tale.errors import (
    DaemonError,
    DaemonUnreachable,
    DaemonVersionMismatch,
    StorageError,
    TaleError,
    error_from_code,
)
from tale.orchestration.detach import read_line, spawn_detached, wait_gone
from tale.orchestration.logfile import last_lines, open_log
from tale.paths import Paths

__all__ = [
    "Json",
    "Runtime",
    "check_version",
    "control",
    "daemon_environment",
    "daemon_log",
    "daemon_pid",
    "ensure_daemon",
    "read_runtime",
    "start_daemon",
    "stop_daemon",
]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_CONNECT_SECONDS = 5.0
# The daemon ends a wait when the caller's time is up; its answer needs a moment to arrive.
_ANSWER_SECONDS = 2.0
_LOG_NAME = "daemon"
# -P: nothing is ever imported from the folder in which somebody typed the command.
_COMMAND = (sys.executable, "-P", "-m", "tale.orchestration.daemon")
_LOG_LINES = 15


@dataclass(frozen=True, slots=True)
class Runtime:
    """How to reach the running daemon.

    Attributes:
        pid: The supervisor's process.
        version: Its version of tale.
        token: The bearer token of all its servers.
        control: Host and port of the control endpoint.
        gateway: The gateway server's URL; empty until known.
        models: The models server's URL; empty until known.
        started: When, ISO 8601.
    """

    pid: int
    version: str
    token: str = field(repr=False)
    control: str
    gateway: str
    models: str
    started: str


def read_runtime(paths: Paths) -> Runtime | None:
    """Find the running daemon; None if there is none, or it is about to leave.

    What a killed daemon left behind doesn't count: the lock tells.
    """
    try:
        runtime = _runtime(json.loads(paths.runtime_file.read_bytes()))
    except (OSError, ValueError):
        return None
    return runtime if daemon_pid(paths) is not None else None


def daemon_pid(paths: Paths) -> int | None:
    """Give the process that holds this installation's lock, starting and stopping included."""
    try:
        with paths.lock_file.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read(32).strip()
                return int(text) if text.isdigit() else 0
    except OSError:
        pass
    return None


def check_version(runtime: Runtime) -> None:
    """Refuse a daemon of another version.

    Raises:
        DaemonVersionMismatch: It is.
    """
    if runtime.version != __version__:
        raise DaemonVersionMismatch(
            f"The running daemon is tale {runtime.version}, this command is tale {__version__}.",
            hint="Run `tale restart`.",
        )


def control(runtime: Runtime, op: str, timeout: float = 30.0, **arguments: Json) -> Json:
    """Ask the daemon for one thing; the operations are in `control`.

    Args:
        runtime: Which daemon.
        op: `status`, `wait`, `restart` or `stop`.
        timeout: Seconds until the daemon gives up.
        **arguments: The operation's own.

    Raises:
        DaemonUnreachable: Nobody answers.
        TaleError: What the daemon reported.
    """
    host, _, port = runtime.control.rpartition(":")
    request = {**arguments, "token": runtime.token, "op": op, "timeout": timeout}
    try:
        with socket.create_connection((host, int(port)), _CONNECT_SECONDS) as connection:
            connection.settimeout(timeout + _ANSWER_SECONDS)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
    except (OSError, ValueError) as error:
        raise _unreachable(runtime, str(error)) from error
    return _unpack(line, runtime)


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
        return _runtime(_unpack(report, None))
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
    if runtime := read_runtime(paths):
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
    return str(paths.log_of(_LOG_NAME))


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


def _spawn(paths: Paths, environ: Mapping[str, str], command: Sequence[str], notify_fd: int) -> int:
    try:
        log = open_log(paths.log_of(_LOG_NAME))
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
    lines = "\n".join(last_lines(paths.log_of(_LOG_NAME), _LOG_LINES))
    return DaemonError(
        f"The daemon {what}. The end of its log:\n{lines}\n",
        hint=f"The whole log is {daemon_log(paths)}; `tale doctor` checks the machine.",
    )


def _runtime(table: object) -> Runtime:
    """Read a runtime file; raises `ValueError` if it isn't one."""
    try:
        values = {part.name: table[part.name] for part in fields(Runtime)}  # type: ignore[index]
        return Runtime(**values)  # pyright: ignore[reportUnknownArgumentType]
    except (KeyError, TypeError) as error:
        raise ValueError("not a runtime file") from error


def _unpack(line: bytes, runtime: Runtime | None) -> Json:
    """Take the answer out of its envelope."""
    try:
        envelope: dict[str, Json] = json.loads(line)
        if "error" not in envelope:
            return envelope["ok"]
        fault = envelope["error"]
    except (ValueError, KeyError, TypeError) as error:
        raise _unreachable(runtime, "its answer can't be read") from error
    table = fault if isinstance(fault, dict) else {}
    raise error_from_code(
        str(table.get("code")), str(table.get("message")), str(table.get("hint", ""))
    )


def _unreachable(runtime: Runtime | None, reason: str) -> DaemonUnreachable:
    where = f" (process {runtime.pid}, {runtime.control})" if runtime else ""
    return DaemonUnreachable(
        f"The daemon{where} does not answer: {reason}.",
        hint="`tale restart` starts it anew; `tale logs daemon` says what it was doing.",
    )
