"""The client's side of a running daemon: find it, ask it.

Standard library only, so that a command that just asks something stays quick. The other side is
`control`; who the daemon is stands in the runtime file, which `instance` writes. Above: `cli`, and
`background`, which starts and stops it.
"""

from __future__ import annotations

import fcntl
import json
import socket
from dataclasses import dataclass, field, fields
from typing import TypeAlias

from tale import __version__
from tale.errors import DaemonUnreachable, DaemonVersionMismatch, error_from_code
from tale.paths import Paths

__all__ = [
    "Json",
    "Runtime",
    "check_version",
    "control",
    "daemon_pid",
    "read_answer",
    "read_runtime",
]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_CONNECT_SECONDS = 5.0
# The daemon ends a wait when the caller's time is up; its answer needs a moment to arrive.
_ANSWER_SECONDS = 2.0


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

    @classmethod
    def read(cls, table: object) -> Runtime:
        """Read a runtime file; raises `ValueError` if it isn't one."""
        try:
            values = {part.name: table[part.name] for part in fields(cls)}  # type: ignore[index]
            return cls(**values)  # pyright: ignore[reportUnknownArgumentType]
        except (KeyError, TypeError) as error:
            raise ValueError("not a runtime file") from error


def read_runtime(paths: Paths) -> Runtime | None:
    """Find the running daemon; None if there is none, or it is about to leave.

    What a killed daemon left behind doesn't count: the lock tells.
    """
    try:
        runtime = Runtime.read(json.loads(paths.runtime_file.read_bytes()))
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
    return read_answer(line, runtime)


def read_answer(line: bytes, runtime: Runtime | None = None) -> Json:
    """Take a daemon's answer, or its report at its start, out of its envelope.

    Raises:
        DaemonUnreachable: It can't be read.
        TaleError: What the daemon reported.
    """
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
