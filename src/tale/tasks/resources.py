"""What steps need of what there is only so much of, and whether one can begin beside others. Pure.

There are lanes of each model, and files: a step waits while another writes what it reads or writes,
or reads what it writes. An execution server takes any number of steps, and memory is taken by the
programs that a step runs now and then, which wait for it themselves (`tasks.programs_in_turn`).
Above: `tasks.scheduler`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tale.tasks.task import Role

__all__ = ["Claim", "Files", "Room", "compete"]


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a step, compared by their names alone: links are not followed.

    Attributes:
        writes: Absolute paths, or such as begin with what stands for their folder.
        touches: Those that it writes or reads.
        around_writes: What it writes, and all folders around that.
        around_touches: The same of what it touches.
    """

    writes: frozenset[str] = frozenset()
    touches: frozenset[str] = frozenset()
    around_writes: frozenset[str] = frozenset()
    around_touches: frozenset[str] = frozenset()

    @classmethod
    def of(cls, folder: str, *, reads: Iterable[str] = (), writes: Iterable[str] = ()) -> Files:
        """Name a step's files by what it says of them, which is relative to its folder."""
        written = frozenset(posixpath.normpath(posixpath.join(folder, one)) for one in writes)
        read = frozenset(posixpath.normpath(posixpath.join(folder, one)) for one in reads)
        touched = written | read
        return cls(written, touched, _around(written), _around(touched)) if touched else _NONE

    def clash(self, other: Files) -> bool:
        """Say whether one of both writes what the other touches, a folder around it, or in it."""
        return _writes(self, other) or _writes(other, self)


_NONE = Files()


@dataclass(frozen=True, slots=True)
class Claim:
    """What a step takes while it runs.

    Attributes:
        role: The model whose lane it runs in.
    """

    role: Role
    files: Files = _NONE


@dataclass(frozen=True, slots=True)
class Room:
    """What there is in all.

    Attributes:
        lanes: Steps that each model takes at a time.
    """

    lanes: Mapping[Role, int]

    def free(self, running: Collection[Claim]) -> set[Role]:
        """Name the lanes in which a step may begin."""
        busy = [one.role for one in running]
        return {role for role, lanes in self.lanes.items() if busy.count(role) < lanes}

    def fits(self, one: Claim, running: Collection[Claim], kept: Collection[Claim] = ()) -> bool:
        """Say whether a step can begin beside those that run.

        Args:
            one: What it takes.
            running: What those take that run.
            kept: Steps that wait and go first: their files are not taken.
        """
        if sum(other.role == one.role for other in running) >= self.lanes[one.role]:
            return False
        return not any(one.files.clash(other.files) for other in (*running, *kept))


def compete(one: Claim, other: Claim) -> bool:
    """Say whether one takes something of which there may then be too little for the other."""
    return one.role == other.role or one.files.clash(other.files)


def _around(paths: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for path in paths:
        here = path
        while here and here not in found:
            found.add(here)
            here = here[: max(here.rfind("/"), 0)]
    return frozenset(found)


def _writes(one: Files, other: Files) -> bool:
    """Say whether what one writes is, holds or is held by what the other touches."""
    return bool(one.writes) and not (
        one.writes.isdisjoint(other.around_touches) and one.around_writes.isdisjoint(other.touches)
    )
