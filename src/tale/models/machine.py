"""What this machine gives to models: memory free without swapping, cores, and time on them.

The effects behind `memory_plan` and `tuning`, which are pure. A control group's limit counts as
the machine's where it is lower, for both versions of Linux control groups.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import psutil

__all__ = ["Cores", "MachineMemory", "waited_for_a_core"]

_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class MachineMemory:
    """Memory in bytes; swap is not part of it.

    Attributes:
        total: What is built in, or the control group's limit.
        available: What can be taken now without pushing anything into swap; cached files count
            as available, because the kernel drops them first.
    """

    total: int
    available: int

    @classmethod
    def read(cls, root: Path = _ROOT) -> MachineMemory:
        """Look now.

        Args:
            root: Where `proc` and `sys` are mounted for the control group's files.
        """
        system = psutil.virtual_memory()
        total, available = system.total, system.available
        for limit, used in _memory_limits(root):
            total = min(total, limit)
            available = min(available, max(0, limit - used))
        return cls(total, available)


@dataclass(frozen=True, slots=True)
class Cores:
    """Processors.

    Attributes:
        physical: Cores of the machine; their hardware threads count once.
        available: Logical processors that this process may use: affinity and quota respected.
    """

    physical: int
    available: int

    @classmethod
    def read(cls, root: Path = _ROOT) -> Cores:
        """Look now; arguments as in `MachineMemory.read`."""
        if hasattr(os, "sched_getaffinity"):
            available = len(os.sched_getaffinity(0))
        else:
            available = os.cpu_count() or 1
        for folder in _group_folders(root, "cpu"):
            match _words(folder / "cpu.max"):
                case [quota, period] if quota.isdigit():
                    available = min(available, ceil(int(quota) / int(period)))
                case _:
                    pass
            quota = _number(folder / "cpu.cfs_quota_us")
            period = _number(folder / "cpu.cfs_period_us")
            if quota and period:
                available = min(available, ceil(quota / period))
        return cls(psutil.cpu_count(logical=False) or available, max(1, available))


def waited_for_a_core(pid: int, root: Path = _ROOT) -> float:
    """Tell for how many seconds since it began a process was ready to run and got no core.

    That of the thread that waited longest; 0 where the system doesn't tell (proc(5), schedstat: the
    second figure, in nanoseconds).
    """
    longest = 0
    for file in (root / "proc" / str(pid) / "task").glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):  # the thread has just ended
            longest = max(longest, int(file.read_text(encoding="ascii").split()[1]))
    return longest / 1e9


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Give (limit, memory that can't be reclaimed) of each control group this process is in."""
    names = (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for folder in _group_folders(root, "memory"):
        for limit_name, used_name, cached_name in names:
            limit, used = _number(folder / limit_name), _number(folder / used_name)
            if limit is not None and used is not None:
                words = _words(folder / "memory.stat")
                cached = dict(zip(words[::2], words[1::2], strict=False)).get(cached_name, "0")
                yield limit, used - int(cached)


def _group_folders(root: Path, controller: str) -> Iterator[Path]:
    """Give the folders of this process's control group and its ancestors, for one controller."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top = mount
        elif controller in controllers.split(","):
            top = mount / controller
        else:
            continue
        # In a container the path may be the host's, of which only the top is mounted here.
        here = top / path.lstrip("/")
        while here != top:
            yield here
            here = here.parent
        yield top


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _number(file: Path) -> int | None:
    """Read a file that holds one non-negative number; None for no file, `max` or -1."""
    match _words(file):
        case [word] if word.isdigit():
            return int(word)
        case _:
            return None
