"""How patient the supervisor is with one process, and how long it waits before the next attempt.

Pure. Above: `process`, which decides with it. Specs carry one each.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Policy", "Random", "describe_exit", "recent", "restart_delay"]

Random = Callable[[], float]
"""Uniform between 0 and 1."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the supervisor is with one process. Times are in seconds.

    Attributes:
        patience: Longest wait for dependencies; then it is started without them.
        start: From spawned to ready; a process that takes longer is killed.
        settle: From out of the peers' picture to the stop signal: until then calls still come in.
        grace: From the stop signal to SIGKILL.
        stable: Ready for that long, a process has its failures forgiven.
        base: Upper bound of the delay before the second restart in a row; doubles with each more.
        cap: Upper bound of any delay, and the interval at which a crash loop is retried.
        intensity: More failures than this within `period` are a crash loop. Both numbers are
            systemd's defaults (StartLimitBurst=, StartLimitIntervalSec=), which gives up there.
        period: See `intensity`.
        misses: Probes in a row without an answer after which a process counts as dead.
    """

    patience: float = 15
    start: float = 60
    settle: float = 0.05
    grace: float = 10
    stable: float = 5
    base: float = 0.1
    cap: float = 30
    intensity: int = 5
    period: float = 10
    misses: int = 3


def recent(failures: tuple[float, ...], now: float, policy: Policy) -> tuple[float, ...]:
    """Keep the times of those failures that count towards a crash loop."""
    # One more than the intensity says it all; a policy of many seconds must not keep thousands.
    return tuple(at for at in failures if now - at < policy.period)[-policy.intensity - 1 :]


def restart_delay(failures: int, policy: Policy, random: Random, *, looping: bool = False) -> float:
    """Seconds until the next attempt: none after one failure, then full jitter.

    Full jitter (uniform between zero and an exponentially growing bound) spreads servers that died
    together better than any narrower choice; see "Exponential Backoff And Jitter", AWS, 2015. A
    crash loop is retried at the upper half of the cap.
    """
    if looping:
        return policy.cap * (1 + random()) / 2
    if failures <= 1:
        return 0.0
    # The exponent is bounded only so that the power stays a float.
    return random() * min(policy.cap, policy.base * 2.0 ** min(failures - 2, 64))


def describe_exit(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"exit {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
