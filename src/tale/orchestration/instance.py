"""There is one daemon for each installation: its folders, its locks, its ports, its runtime file.

Two locks, which the kernel takes from a process that dies: `daemon.lock` for as long as the daemon
lives, `starting.lock` until it can be asked things. So a second daemon that finds the first one
still starting waits for it, reports "already running", and whoever started the second one finds the
first one's runtime file. A daemon that stops takes its runtime file away first, so a second one
knows that waiting for the lock pays.

Below: nothing. Above: `daemon`. Readers of the runtime file are in `control_client`.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import psutil

from tale.config import Settings
from tale.errors import ConfigError, DaemonError, PortInUse, StorageError
from tale.orchestration.control_client import Runtime
from tale.paths import Paths
from tale.whole_file import write_whole

__all__ = ["Instance", "check_ports", "claim"]

# Readers hold the lock for microseconds to see whether anybody else does.
_PROBE_SECONDS = 0.25
# Longer than any daemon takes to start or to stop.
_TURN_SECONDS = 60.0
# Servers of a daemon that was killed leave at once, but not in no time.
_PORT_SECONDS = 1.0
_LOOK_SECONDS = 0.02
_TOKEN_BYTES = 32


class Instance:
    """The right to be this installation's daemon."""

    def __init__(self, paths: Paths, starting: int) -> None:
        """Hold what `claim` has acquired.

        Args:
            paths: Which installation.
            starting: Descriptor of the lock that says that it is starting.
        """
        self._paths = paths
        self._starting = starting

    def token(self) -> str:
        """Give the bearer token; made once, so that what a user configured with it goes on.

        Raises:
            StorageError: It can't be read or written.
        """
        file = self._paths.token_file
        try:
            kept = file.read_text(encoding="ascii").strip() if file.exists() else ""
            if len(kept) >= _TOKEN_BYTES:
                file.chmod(0o600)
                return kept
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(
                f"The token file {file} can't be used: {error}.",
                hint="Remove it; a new token is made at the next start.",
            ) from error
        made = secrets.token_urlsafe(_TOKEN_BYTES)
        try:
            write_whole(file, made, private=True)
        except OSError as error:
            raise _unwritable(file.parent, error) from error
        return made

    def publish(self, runtime: Runtime) -> None:
        """Write the runtime file, whole or not at all, readable by its owner alone.

        Raises:
            StorageError: It can't be written.
        """
        file = self._paths.runtime_file
        try:
            write_whole(file, json.dumps(asdict(runtime)), private=True)
        except OSError as error:
            raise _unwritable(file.parent, error) from error

    def started(self) -> None:
        """Let others see that this daemon can be asked things."""
        fcntl.flock(self._starting, fcntl.LOCK_UN)

    def withdraw(self) -> None:
        """Take away what holds only as long as the daemon: its address, and its models' plan."""
        for file in (self._paths.runtime_file, self._paths.model_plan):
            with suppress(OSError):
                file.unlink(missing_ok=True)


@contextmanager
def claim(paths: Paths, *, turn: float = _TURN_SECONDS) -> Generator[Instance]:
    """Become this installation's daemon.

    Args:
        paths: Which installation.
        turn: Seconds to wait for one that is just starting or stopping.

    Raises:
        DaemonError: There is one already.
        StorageError: The folders can't be used.
    """
    for folder in (paths.data, paths.logs, paths.runtime):
        _prepare(folder, private=folder == paths.runtime)
    with ExitStack() as stack:
        starting = _open(stack, paths.lock_file.with_name("starting.lock"))
        lock = _open(stack, paths.lock_file)
        if not _acquire(starting, turn):
            raise DaemonError(f"Another daemon has been starting for {turn:g} s.")
        serving = paths.runtime_file.exists()
        if not _acquire(lock, _PROBE_SECONDS if serving else turn):
            pid = os.pread(lock, 32, 0).decode().strip() or "unknown"
            raise DaemonError(
                f"tale is running already (process {pid}).",
                hint="`tale status` shows it, `tale stop` ends it.",
            )
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
        except OSError as error:
            raise _unwritable(paths.runtime, error) from error
        instance = Instance(paths, starting)
        instance.withdraw()  # what a killed one left
        stack.callback(instance.withdraw)
        yield instance


def check_ports(settings: Settings, paths: Paths, *, patience: float = _PORT_SECONDS) -> None:
    """See that the configured ports are free before anything is started.

    Args:
        settings: Which ports.
        paths: Names the file to change in messages.
        patience: Seconds to wait for a port that is still being given up.

    Raises:
        PortInUse: Another program has one.
        ConfigError: Two servers are to have the same.
    """
    wanted = [
        ("gateway", "gateway", settings.gateway.port),
        ("models server", "model_server", settings.model_server.port),
    ]
    numbers = [port for _, _, port in wanted if port]
    if len(set(numbers)) < len(numbers):
        raise ConfigError(
            f"{paths.config_file}: gateway.port and model_server.port are both {numbers[0]}.",
            hint="Give each server a port of its own.",
        )
    for title, section, port in wanted:
        if port and not _free(port, patience):
            raise PortInUse(
                f"Port {port} on 127.0.0.1, which the {title} needs, is held by {_holder(port)}.",
                hint=f"Stop that program, or set another port in {paths.config_file}: "
                f"[{section}] port = {port + 100 if port < 65000 else 0}.",
            )


def _prepare(folder: Path, *, private: bool) -> None:
    try:
        folder.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"The folder {folder} can't be written: {error.strerror}.",
        hint="Make it writable or free space, or set TALE_HOME to another folder.",
    )


def _open(stack: ExitStack, file: Path) -> int:
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, fd)
    return fd


def _acquire(fd: int, seconds: float) -> bool:
    """Take a lock. The kernel's waiting knows no deadline, hence the repeated looks."""
    return _within(seconds, lambda: _try_lock(fd))


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free(port: int, seconds: float) -> bool:
    return _within(seconds, lambda: _try_bind(port))


def _try_bind(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
            sock.listen(1)
        except OSError:
            return False
    return True


def _within(seconds: float, attempt: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not attempt():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _holder(port: int) -> str:
    """Name the program that listens on a port, as far as the system tells."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp4"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()!r} (process {connection.pid})"
    return "another program"
