"""Starting a process, hearing of its death, and ending it: where the operating system is.

Each process has its own session and process group, its leash as standard input, and its log as
standard output and error. Its death is the kernel's word (a pidfd that becomes readable), never
found by looking. Above: `server_manager`, which knows only the `Spawner` protocol.

Spawn from the main thread: children ask the kernel to die with the thread that made them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread

from tale.orchestration import orphans
from tale.orchestration.foreign import free_port, with_port
from tale.orchestration.logfile import last_lines, open_log, rotate
from tale.orchestration.near_end import NearEnd
from tale.orchestration.specs import ServerSpec
from tale.orchestration.sweeping import Sweeper
from tale.paths import Paths
from tale.telemetry import get_logger
from tale.wire.child import die_with_parent

__all__ = ["OsSpawner", "Running", "Spawner", "Streams"]

log = get_logger(__name__)

_TAIL_LINES = 5


class Running(Protocol):
    """A process that has been started."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def leash(self) -> NearEnd:
        """The line to it; silent where it speaks none."""
        ...

    @property
    def url(self) -> str:
        """Where it was told to serve; empty where it says so itself."""
        ...

    async def wait(self) -> int:
        """Wait until it is gone, and its group with it; give the exit code, or minus the signal."""
        ...

    def terminate(self, number: int) -> None:
        """Ask the process, not its group, to leave, by this signal."""
        ...

    def kill(self) -> None:
        """End its process group (SIGKILL)."""
        ...


class Spawner(Protocol):
    """Makes processes."""

    def spawn(self, spec: ServerSpec) -> Running:
        """Start one; raises `OSError` if that can't be done."""
        ...

    def tail(self, spec: ServerSpec) -> Sequence[str]:
        """Give the last lines that it wrote to standard output and error."""
        ...

    def rotate(self, name: str) -> None:
        """Put the log of that name aside if it has grown large."""
        ...

    def bury(self, known: Collection[int]) -> None:
        """Reap the dead and end the living that processes left behind and that nobody knows."""
        ...


@dataclass(frozen=True, slots=True)
class Streams:
    """What a new process is connected by.

    Attributes:
        near: The supervisor's end of its leash.
        far: Its own end, its standard input.
        log: Descriptor of its log, its standard output and error.
    """

    near: socket.socket
    far: socket.socket
    log: int


class OsSpawner:
    """Makes real processes."""

    def __init__(
        self,
        paths: Paths,
        environ: Mapping[str, str] = os.environ,
        *,
        pidfd: bool = hasattr(os, "pidfd_open"),
        subreaper: bool = False,
        inherited: Iterable[int] = (),
    ) -> None:
        """Make nothing yet.

        Args:
            paths: Where the logs are.
            environ: What every process inherits.
            pidfd: Hear of deaths by pidfd (Linux); else by a thread in waitpid.
            subreaper: Orphans fall to this process, which owes them an end.
            inherited: Children that it had before it began, which are not its to end.
        """
        self._paths = paths
        self._environ = environ
        self._pidfd = pidfd
        self._subreaper = subreaper
        self._inherited = frozenset(inherited)
        self._sweeper: Sweeper | None = None

    def spawn(
        self,
        spec: ServerSpec,
        *,
        pass_fds: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a process; takes a few milliseconds and waits for nothing but exec.

        Args:
            spec: What to start.
            pass_fds: Further descriptors that it inherits.
            environment: Added to the spec's.
        """
        port = 0 if spec.leash else free_port()
        variables = {} if spec.leash else {"PORT": str(port)}
        with self.streams(spec) as streams:
            popen = subprocess.Popen(  # noqa: S603  (the specs are ours, or their user's)
                spec.command if spec.leash else with_port(spec, port),
                stdin=streams.far.fileno() if spec.leash else subprocess.DEVNULL,
                stdout=streams.log,
                stderr=streams.log,
                env={**self._environ, **variables, **spec.environment, **(environment or {})},
                start_new_session=True,
                pass_fds=pass_fds,
                # A program that can't ask for it itself; the supervisor has no thread that matters.
                preexec_fn=None if spec.leash else die_with_parent,  # noqa: PLW1509
            )
            if spec.leash:
                return self._process(popen.pid, popen.wait, spec, streams)
            self._watch(popen.pid)
            url = f"http://127.0.0.1:{port}"
            forget = partial(self._forget, popen.pid)
            return self._process(popen.pid, popen.wait, spec, streams, url=url, on_gone=forget)

    def tail(self, spec: ServerSpec) -> Sequence[str]:
        """Give the last lines of its log."""
        return last_lines(self._paths.log_of(spec.name), _TAIL_LINES)

    def rotate(self, name: str) -> None:
        """Put the log of that name aside if it has grown large."""
        try:
            rotate(self._paths.log_of(name))
        except OSError as error:
            log.warning("log.not_rotated", name=name, reason=str(error))

    def bury(self, known: Collection[int]) -> None:
        """Reap and end what fell to this process, where anything does."""
        if self._subreaper:
            ours = {*known, self._sweeper.pid} if self._sweeper else known
            orphans.reap(ours)
            if self._inherited:  # as long as they are there: their numbers are given out again
                self._inherited &= set(orphans.children())
            orphans.sweep({*ours, *self._inherited})

    def _watch(self, pid: int) -> None:
        """Have a foreign program's group ended even if this process is killed."""
        if self._sweeper is None:
            self._sweeper = Sweeper()
        self._sweeper.watch(pid)

    def _forget(self, pid: int) -> None:
        if self._sweeper:
            self._sweeper.forget(pid)

    def adopt(self, pid: int, spec: ServerSpec, streams: Streams) -> Running:
        """Take over a process that was made in another way but is a child of this one."""
        return self._process(pid, _Waiter(pid).wait, spec, streams)

    @contextmanager
    def streams(self, spec: ServerSpec) -> Generator[Streams]:
        """Open what a process of this spec gets as its standard streams."""
        near, far = socket.socketpair()
        with far:
            try:
                log = open_log(self._paths.log_of(spec.name))
                try:
                    yield Streams(near, far, log)
                finally:
                    os.close(log)
            except BaseException:
                near.close()
                raise

    def _process(
        self,
        pid: int,
        reap: Callable[[], int],
        spec: ServerSpec,
        streams: Streams,
        *,
        url: str = "",
        on_gone: Callable[[], None] = lambda: None,
    ) -> Running:
        _adjust(pid, spec)
        return _OsProcess(pid, reap, NearEnd(streams.near), url, on_gone, pidfd=self._pidfd)


class _Waiter:
    """Reaps a child that `subprocess` knows nothing of."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def wait(self) -> int:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        except ChildProcessError:  # somebody else has buried it: how it ended is lost
            log.warning("process.not_ours", pid=self._pid)
            return -signal.SIGKILL


class _OsProcess:
    def __init__(
        self,
        pid: int,
        reap: Callable[[], int],
        leash: NearEnd,
        url: str,
        on_gone: Callable[[], None],
        *,
        pidfd: bool,
    ) -> None:
        self._pidfd = os.pidfd_open(pid) if pidfd else -1
        self._reap = reap
        self._on_gone = on_gone
        self._gone = False
        self.pid = pid
        self.leash = leash
        self.url = url

    async def wait(self) -> int:
        if self._pidfd < 0:
            code = await anyio.to_thread.run_sync(
                self._reap, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )
            self._gone = True
            self._on_gone()
            # Its number is not given out again for as long as its group has members.
            self._signal_group()
            return code
        try:
            await anyio.wait_readable(self._pidfd)
        finally:
            os.close(self._pidfd)
        # Before it is reaped its number can't be anybody else's; what it left behind goes with it.
        self._signal_group()
        self._gone = True
        self._on_gone()
        code = self._reap()
        self._reap_orphans()
        return code

    def terminate(self, number: int) -> None:
        if not self._gone:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        if not self._gone:
            self._signal_group()

    def _reap_orphans(self) -> None:
        """Bury what else died in its group; a subreaper gets these as its own children."""
        with suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass

    def _signal_group(self) -> None:
        # The group is gone, or all that is left of it is another user's.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def _adjust(pid: int, spec: ServerSpec) -> None:
    """Set what the child inherits to its threads and children; it has none of either yet."""
    if spec.nice:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, spec.nice)
    if spec.oom_score:
        with suppress(OSError):  # not Linux, or already gone
            Path(f"/proc/{pid}/oom_score_adj").write_text(str(spec.oom_score))
