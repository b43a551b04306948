"""What a running program takes, looked at from outside, and whether that is too much.

The kernel's own limits count for one process and one file, so all of a program's processes are
added up, twenty times a second. It reads nothing that a program could hold back by holding its
memory map, such as `smaps`. `excess` decides and is pure, `Watch` looks. Above: `sandbox_process`.
Below: /proc, or psutil where there is none.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from tale.tasks.sandbox import Limits, Stopped

__all__ = ["Taken", "Watch", "excess"]

_PROC: Final = Path("/proc")
_BLOCK: Final = 512  # of `st_blocks`, whatever the file system's are (stat(2))
_FREE_FLOOR: Final = 64 * 1024 * 1024
_CLOCK_GRAIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What the processes of a program have at one moment; sizes in bytes.

    Attributes:
        memory: Resident, with files that exist in memory only.
        written: To the workspace since the start.
        free: What is left on the workspace's disk.
    """

    processes: int
    memory: int
    written: int
    free: int


def excess(taken: Taken, limits: Limits) -> Stopped | None:
    """Say which limit is passed, if any."""
    if taken.processes > limits.processes:
        return "processes"
    if taken.memory > limits.memory:
        return "memory"
    # A disk that was full before isn't the program's doing.
    if taken.written > limits.disk or (taken.free < _FREE_FLOOR and taken.written > _FREE_FLOOR):
        return "disk"
    return None


class Watch:
    """Looks at the descendants of one process and at the folder they write to."""

    def __init__(self, pid: int, workspace: Path, limits: Limits) -> None:
        self._pid = pid
        self._workspace = workspace
        self._limits = limits
        # The kernel stamps files by a clock that lags by up to a tick.
        self._since = time.time() - _CLOCK_GRAIN
        self._free = self._lowest = _free(workspace)
        self._device = workspace.stat().st_dev
        self._written = 0

    def look(self) -> Taken:
        """Add up what is taken now. Blocks for a few milliseconds."""
        limits, pids = self._limits, self.pids()
        if len(pids) > limits.processes:  # a fork bomb: no time for its memory
            return Taken(len(pids), 0, 0, self._free)
        nameless = {key: size for pid in pids for key, size in _nameless(pid)}
        on_disk = sum(size for (device, _), size in nameless.items() if device == self._device)
        in_memory = sum(nameless.values()) - on_disk
        memory = sum(map(_resident, pids)) + in_memory
        free = _free(self._workspace)
        # Walking a folder of ten thousand files takes longer than all else: only when the disk
        # shrank by enough for it to matter.
        if self._lowest - free > min(limits.disk // 8, _FREE_FLOOR):
            self._lowest = free
            self._written = changed_since(self._workspace, self._since)
        return Taken(len(pids), memory, self._written + on_disk, free)

    def pids(self) -> list[int]:
        """Give the processes below the first one, itself included."""
        if not sys.platform.startswith("linux"):
            return _pids_by_psutil(self._pid)
        found, seen = [self._pid], 0
        while seen < len(found) and len(found) <= self._limits.processes:
            found += _children(found[seen])
            seen += 1
        return found


def changed_since(folder: Path, since: float) -> int:
    """Add up what the files that changed since then take on disk.

    The change time is the kernel's and can't be set, unlike the time of the last write.
    """
    total, folders = 0, [str(folder)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                        continue
                    status = entry.stat(follow_symlinks=False)
                    if status.st_ctime >= since:
                        total += status.st_blocks * _BLOCK
    return total


def _free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                yield from map(int, (task / "children").read_text().split())


def _resident(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


def _nameless(pid: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Give device, number and size of open files that have no name; elsewhere than on disk too."""
    with suppress(OSError):
        for opened in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                status = opened.stat()
                if not status.st_nlink and stat.S_ISREG(status.st_mode):
                    yield (status.st_dev, status.st_ino), status.st_blocks * _BLOCK


def _pids_by_psutil(pid: int) -> list[int]:
    with suppress(psutil.Error):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return [pid]
