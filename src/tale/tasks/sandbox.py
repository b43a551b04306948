"""A program that a task runs: what it may use, what came of it, and the seam behind which it runs.

Values and a Protocol; nothing here starts a process. `sandbox_bwrap` shuts a program in,
`sandbox_bare` only limits it, and is the choice of a user who has no other way. Above:
`tasks.tools`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

__all__ = ["Command", "Limits", "Ran", "Sandbox", "Stopped", "why_stopped"]

_MIB: Final = 1024 * 1024

Stopped = Literal["seconds", "memory", "processes", "disk", "output"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program and its children may take; sizes in bytes.

    Attributes:
        memory: Of all of them together; each alone is refused more than that by the kernel.
        file: The largest file that may be written.
        disk: What may be written to the workspace in all, also as files that were deleted since.
        scratch: The size of each of its private folders in memory, `/tmp` and `/dev/shm`.
        processes: Processes at a time.
        open_files: Files that one of them may have open.
        output: What of the output is kept for the reader: its beginning and its end.
        overflow: Output past which the program is stopped; up to there it is kept in a file.
    """

    memory: int = 4096 * _MIB
    file: int = 1024 * _MIB
    disk: int = 2048 * _MIB
    scratch: int = 512 * _MIB
    processes: int = 256
    open_files: int = 1024
    output: int = 32 * 1024
    overflow: int = 64 * _MIB


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run in a workspace.

    Attributes:
        argv: Program and arguments.
        workspace: Absolute path of the folder it runs in, the only one that it may write to.
        seconds: Wall-clock limit.
        network: Whether it may reach what the user can reach, services of this machine included.
        stdin: What it reads.
        spill: Folder outside the workspace for output that is too long; without, it is dropped.
    """

    argv: tuple[str, ...]
    workspace: Path
    seconds: float = 120.0
    limits: Limits = field(default_factory=Limits)
    network: bool = False
    stdin: bytes = b""
    spill: Path | None = None

    @classmethod
    def line(cls, line: str, workspace: Path, *, seconds: float = 120.0) -> Command:
        """Make a command of a shell line."""
        return cls(("/bin/sh", "-c", line), workspace, seconds)


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command.

    Attributes:
        exit: Exit status, 128 and more for a signal; None where it was stopped here.
        output: What it wrote to both outputs, in order; beginning and end where it was too long.
        seconds: How long it ran.
        stopped: Which limit it was stopped at.
        left_out: Bytes of output that are not in `output`.
        overflow: The file that holds all of the output, where some was left out.
    """

    exit: int | None
    output: str
    seconds: float
    stopped: Stopped | None = None
    left_out: int = 0
    overflow: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether it ended by itself, and with 0."""
        return self.exit == 0

    @property
    def truncated(self) -> bool:
        """Whether `output` isn't all of it."""
        return self.left_out > 0

    @property
    def timed_out(self) -> bool:
        """Whether it took too long."""
        return self.stopped == "seconds"


class Sandbox(Protocol):
    """Runs programs; what a program does wrong is a `Ran`, not an error."""

    async def run(self, command: Command) -> Ran:
        """Run it to its end, or to its limit. Nothing of it is left afterwards.

        Raises:
            SandboxUnavailable: Programs can't be run here safely; says why, and what to do.
            WorkspaceUnusable: The workspace isn't there.
        """
        ...


def why_stopped(command: Command, stopped: Stopped) -> str:
    """Say in words at which limit a command was stopped."""
    limits = command.limits
    match stopped:
        case "seconds":
            return f"it did not end within {command.seconds:g} s"
        case "memory":
            return f"it took more than {limits.memory // _MIB:,} MiB of memory"
        case "processes":
            return f"it ran more than {limits.processes} processes at a time"
        case "disk":
            return f"it wrote more than {limits.disk // _MIB:,} MiB, or filled the disk"
        case "output":
            return f"it printed more than {limits.overflow // _MIB:,} MiB"
