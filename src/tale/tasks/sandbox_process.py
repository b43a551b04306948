"""One program from its start to its end: output read, watched, stopped at its limits, cleared away.

Above: `sandbox_bwrap` and `sandbox_bare`, which say what is started. Below: `sandbox_output`,
`sandbox_watch`, `sandbox_cgroup`.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

import anyio
import anyio.abc
import anyio.to_thread

from tale.errors import WorkspaceUnusable
from tale.tasks.sandbox import Command, Limits, Ran, Stopped
from tale.tasks.sandbox_cgroup import bounded, joining
from tale.tasks.sandbox_output import Output
from tale.tasks.sandbox_watch import Watch, excess

__all__ = ["environment", "limited", "supervise", "usable"]

_WATCH_SECONDS: Final = 0.05
_DRAIN_SECONDS: Final = 0.5
_END_SECONDS: Final = 5.0
_CHUNK: Final = 64 * 1024


def environment(home: str, scratch: str, workspace: Path) -> dict[str, str]:
    """Make the whole environment of a program: nothing is passed on, so no secret is.

    A virtual environment of the workspace's own comes first, as where its user works.
    """
    venv = workspace / ".venv" / "bin"
    own = [str(venv)] if (venv / "python").exists() else []
    own += [str(Path(prefix) / "bin") for prefix in dict.fromkeys((sys.prefix, sys.base_prefix))]
    return {
        "PATH": os.pathsep.join(dict.fromkeys((*own, "/usr/local/bin", "/usr/bin", "/bin"))),
        "HOME": home,
        "TMPDIR": scratch,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        # What was printed before a time-out is what shows where it hung.
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # `python -m py_compile`, a usual check, writes all the same: but not into the workspace.
        "PYTHONPYCACHEPREFIX": f"{scratch}/pycache",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "GIT_TERMINAL_PROMPT": "0",
    }


def limited(argv: Sequence[str], limits: Limits, seconds: float) -> tuple[str, ...]:
    """Put a shell before a program that sets the kernel's limits and becomes that program.

    Between fork and exec of a process with threads, Python may not run; a shell may. What a shell
    doesn't know is left out: `-u` is `-p` in dash. Memory is what can be written to (`-d`), not the
    address space, of which Go, Java and JavaScript reserve far more than they use.
    """
    processors = os.cpu_count() or 1
    kib = 1024
    wanted = (
        "ulimit -c 0",
        f"ulimit -t {math.ceil(seconds * processors) + 1}",
        f"ulimit -f {limits.file // 512}",
        f"ulimit -d {limits.memory // kib}",
        f"ulimit -n {limits.open_files}",
        f"ulimit -u {limits.processes} || ulimit -p {limits.processes}",
    )
    line = "; ".join(f"{{ {one}; }} 2>/dev/null" for one in wanted)
    return ("/bin/sh", "-c", f'{line}; exec "$@"', "sh", *argv)


def usable(workspace: Path) -> Path:
    """Give the workspace's real path.

    Raises:
        WorkspaceUnusable: It isn't there.
    """
    real = Path(os.path.realpath(workspace))
    if not real.is_dir():
        raise WorkspaceUnusable(
            f"{workspace} is not there any more.", hint="Restore it, or submit the task again."
        )
    return real


async def supervise(
    argv: Sequence[str],
    command: Command,
    *,
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
) -> Ran:
    """Run `argv` as what `command` stands for; nothing of it is left when this returns.

    Args:
        argv: What is really started.
        command: Its workspace and limits.
        env: The whole environment.
        pass_fds: Descriptors that it inherits.
    """
    limits, started = command.limits, time.monotonic()
    stopped: Stopped | None = None
    async with bounded(limits.processes) as group:
        with (
            _readable(command.stdin) as stdin,
            Output(limits.output, limits.overflow, command.spill) as output,
        ):
            process = await anyio.open_process(
                joining(group, argv),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=command.workspace,
                start_new_session=True,
                pass_fds=pass_fds,
            )
            watch = Watch(process.pid, command.workspace, limits)
            try:
                with anyio.move_on_after(command.seconds) as timer:
                    stopped = await _until_end(process, output, watch, limits)
                if timer.cancelled_caught:
                    stopped = "seconds"
            finally:
                with anyio.CancelScope(shield=True):
                    await _end(process, watch)
            code = process.returncode
            return Ran(
                None if stopped or code is None else code if code >= 0 else 128 - code,
                output.text(),
                time.monotonic() - started,
                stopped,
                output.left_out,
                output.path,
            )


def _readable(data: bytes) -> BinaryIO:
    """Give a file without a name that holds `data`."""
    file = tempfile.TemporaryFile() if data else Path(os.devnull).open("rb")  # noqa: SIM115
    if data:
        file.write(data)
        file.seek(0)
    return cast("BinaryIO", file)


async def _until_end(
    process: anyio.abc.Process, output: Output, watch: Watch, limits: Limits
) -> Stopped | None:
    """Read until the program has ended, or say at which limit it must be stopped."""
    stopped: Stopped | None = None
    drained = anyio.Event()
    async with anyio.create_task_group() as group:

        async def look() -> None:
            nonlocal stopped
            while True:
                await anyio.sleep(_WATCH_SECONDS)
                # Looking may take long on a busy disk; the time limit holds all the same.
                taken = await anyio.to_thread.run_sync(watch.look, abandon_on_cancel=True)
                if stopped := excess(taken, limits):
                    group.cancel_scope.cancel()

        async def read() -> None:
            nonlocal stopped
            stream = process.stdout
            with suppress(anyio.EndOfStream, anyio.ClosedResourceError):
                while stream is not None and output.feed(await stream.receive(_CHUNK)):
                    pass
                stopped = "output"
                group.cancel_scope.cancel()
            drained.set()

        group.start_soon(look)
        group.start_soon(read)
        await process.wait()
        # A child that outlives it may hold the pipe open.
        with anyio.move_on_after(_DRAIN_SECONDS):
            await drained.wait()
        group.cancel_scope.cancel()
    return stopped


async def _end(process: anyio.abc.Process, watch: Watch) -> None:
    """Kill what is left: the group, and what moved out of it. There is nothing to save."""
    left = [] if process.returncode is not None else watch.pids()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pid in left:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    with anyio.move_on_after(_END_SECONDS):
        await process.aclose()
