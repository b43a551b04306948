"""What the pool measures: time to first token, decode speed, load time, and what switching costs.

Only sums up; `resident` feeds it, `ModelPool.status` shows it. Medians over the last requests, so
that one slow outlier doesn't speak for the model.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from tale.models.backend import Role, Usage
from tale.models.condition import State

__all__ = ["ModelStats", "ModelStatus", "PoolStatus", "Sample", "Switching", "SwitchingStats"]

_WINDOW: Final = 200
# Fewer tokens than this say more about the timer than about the model.
_LEAST_TOKENS: Final = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """One request as it was measured.

    Attributes:
        ttft: Seconds from the request's going to the backend to its first token.
        decode: Seconds from the first token to the last.
        chunks: Chunks with text; stands in for tokens where the backend doesn't count.
        first: It was the first since the model was loaded.
        usage: What the backend counted.
    """

    ttft: float
    decode: float
    chunks: int
    first: bool
    usage: Usage | None = None

    @property
    def cold(self) -> bool:
        """Whether most of the prompt had to be computed.

        Backends that don't tell (cached 0 of a known prompt) are believed only for the first
        request after a load.
        """
        usage = self.usage
        known = usage is not None and usage.prompt > 0 and usage.cached > 0
        return usage.cached * 2 < usage.prompt if known and usage else self.first

    @property
    def tokens_per_second(self) -> float | None:
        """Decode speed; None where the answer was too short to tell."""
        tokens = self.usage.completion if self.usage and self.usage.completion else self.chunks
        if tokens < _LEAST_TOKENS or self.decode <= 0:
            return None
        return (tokens - 1) / self.decode


def _window() -> deque[float]:
    return deque(maxlen=_WINDOW)


@dataclass(slots=True)
class ModelStats:
    """One model's figures. Times in seconds inside, milliseconds where they are shown."""

    requests: int = 0
    fallbacks: int = 0
    recoveries: int = 0
    load_seconds: float | None = None
    last_error: str = ""
    _cold: deque[float] = field(default_factory=_window)
    _warm: deque[float] = field(default_factory=_window)
    _speed: deque[float] = field(default_factory=_window)

    def record(self, sample: Sample) -> None:
        """Take in one request."""
        (self._cold if sample.cold else self._warm).append(sample.ttft)
        if speed := sample.tokens_per_second:
            self._speed.append(speed)

    @property
    def ttft_cold_ms(self) -> float | None:
        """Median time to first token with nothing cached."""
        return _median_ms(self._cold)

    @property
    def ttft_warm_ms(self) -> float | None:
        """Median time to first token with the prefix cached."""
        return _median_ms(self._warm)

    @property
    def tokens_per_second(self) -> float | None:
        """Median decode speed."""
        return median(self._speed) if self._speed else None


@dataclass(frozen=True, slots=True)
class Switching:
    """What changing between the two resident models costs one of them.

    Attributes:
        role: The model whose requests are looked at.
        same_ms: Median time to first token when the request before was its own.
        switched_ms: The same when the request before was the other model's.
        reload_ms: What a switch would cost if the model had to be loaded for it.
    """

    role: Role
    same_ms: float | None
    switched_ms: float | None
    reload_ms: float | None


class SwitchingStats:
    """Sorts warm requests by whether the one before went to the other role."""

    def __init__(self) -> None:
        self._last: Role | None = None
        self._same: dict[Role, deque[float]] = {"ux": _window(), "task": _window()}
        self._switched: dict[Role, deque[float]] = {"ux": _window(), "task": _window()}

    def began(self, role: Role) -> bool | None:
        """Note a request; returns whether it switched, None if it is the first of all."""
        before, self._last = self._last, role
        return None if before is None else before != role

    def record(self, role: Role, sample: Sample, *, switched: bool | None) -> None:
        """Take in a measured request. Cold ones are left out: loading is not switching."""
        if switched is not None and not sample.cold:
            (self._switched if switched else self._same)[role].append(sample.ttft)

    def of(self, role: Role, stats: ModelStats) -> Switching:
        """Sum up for one role."""
        cold, load = stats.ttft_cold_ms, stats.load_seconds
        reload = None if cold is None or load is None else load * 1000 + cold
        return Switching(
            role, _median_ms(self._same[role]), _median_ms(self._switched[role]), reload
        )


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model as `tale models` shows it. Times to first token are medians.

    Attributes:
        role: Its core role; None for an optional model.
        detail: Why it isn't ready, or what it is waiting for.
        memory_bytes: Real memory of its process; None where the backend doesn't say.
        waiting: Requests that wait for one of its slots.
        fallbacks: Requests meant for it that another model answered.
        recoveries: How often it was brought back.
    """

    role: Role | None
    name: str
    backend: str
    state: State
    detail: str
    resident: bool
    memory_bytes: int | None
    pid: int | None
    starts: int
    context: int
    slots: int
    load_seconds: float | None
    ttft_cold_ms: float | None
    ttft_warm_ms: float | None
    tokens_per_second: float | None
    requests: int
    fallbacks: int
    recoveries: int
    last_error: str
    in_flight: int
    waiting: int


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """The pool as it stands. `available_bytes` is what the machine could still give."""

    models: tuple[ModelStatus, ...]
    switching: tuple[Switching, ...]
    available_bytes: int
    reserve_bytes: int


def _median_ms(values: deque[float]) -> float | None:
    return median(values) * 1000 if values else None
