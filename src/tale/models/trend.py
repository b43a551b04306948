"""What the models did lately, as a chart shows it: each request that ended, and sums by the hour.

Values only. Above: `servers.usage_api`. Below: `ledger_file`, which reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["LEAST_TOKENS", "MOST_ENDED", "Ended", "Hour", "Trend"]

LEAST_TOKENS: Final = 8
"""Of a shorter answer the speed says more about the timer than about the model."""
MOST_ENDED: Final = 720
"""Most requests that are given at a time: one each five seconds of an hour."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One request.

    Attributes:
        number: Grows with each.
        at: When it ended, Unix time.
        model: Who answered.
        ttft_ms: Milliseconds to its first token, waiting for a slot included; None if none came.
        speed: Tokens a second after that; None where the answer was too short to tell.
    """

    number: int
    at: float
    model: str
    ttft_ms: float | None
    speed: float | None


@dataclass(frozen=True, slots=True)
class Hour:
    """All requests of an hour; tokens unless said otherwise.

    Attributes:
        at: Its beginning, Unix time.
        requests: How many.
        prompt: Sent.
        cached: Of those, not computed.
        completion: Generated.
        naive: In and out of the naive loop.
    """

    at: float
    requests: int
    prompt: int
    cached: int
    completion: int
    naive: int


@dataclass(frozen=True, slots=True)
class Trend:
    """Both, oldest first; hours without a request are left out."""

    ended: tuple[Ended, ...] = ()
    hours: tuple[Hour, ...] = ()
