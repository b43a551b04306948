"""Room for a further model: a pure decision on who goes so that it fits beside the core pair.

Core models never appear here, so none can be chosen to go. Above: `further`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tale.errors import InsufficientMemory

__all__ = ["Admission", "Evict", "Load", "TooLarge", "WaitForIdle", "admit"]


@dataclass(frozen=True, slots=True)
class Admission:
    """An optional model that is resident, the least recently used first in a sequence of them."""

    name: str
    memory_bytes: int
    busy: bool


@dataclass(frozen=True, slots=True)
class Load:
    """There is room."""


@dataclass(frozen=True, slots=True)
class Evict:
    """Unload this one, then look again."""

    name: str


@dataclass(frozen=True, slots=True)
class WaitForIdle:
    """Room comes when a request in flight ends."""


@dataclass(frozen=True, slots=True)
class TooLarge:
    """It doesn't fit even with every other optional model gone."""

    error: InsufficientMemory


def admit(
    name: str, need: int, available: int, reserve: int, residents: Sequence[Admission]
) -> Load | Evict | WaitForIdle | TooLarge:
    """Decide what has to happen before an optional model may load.

    Args:
        name: The model, for the error's words.
        need: Bytes that it takes.
        available: Bytes that can be taken now without swapping; the core pair is resident already.
        reserve: Bytes that must stay free.
        residents: The optional models, the least recently used first.
    """
    if available - reserve >= need:
        return Load()
    held = sum(resident.memory_bytes for resident in residents)
    if available + held - reserve < need:
        return TooLarge(
            InsufficientMemory(
                f"{name} needs {_mib(need)}; beside the core models {_mib(available + held)} "
                f"are free, of which {_mib(reserve)} stay in reserve.",
                hint="Take a smaller model, or lower models.reserve_mb.",
            )
        )
    for resident in residents:
        if not resident.busy:
            return Evict(resident.name)
    return WaitForIdle()


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
