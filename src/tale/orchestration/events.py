"""What can happen to a process, and what can be done to one.

Events go into the state machine in `process`, effects come out of it; `server_manager` brings the
ones and performs the others.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Announced",
    "Answered",
    "DependenciesReady",
    "Effect",
    "Event",
    "Exited",
    "Kill",
    "LeashLost",
    "Outgrown",
    "Publish",
    "RestartRequested",
    "SetTimer",
    "Spawn",
    "SpawnFailed",
    "Spawned",
    "StartRequested",
    "StopRequested",
    "Terminate",
    "TimerElapsed",
    "Unanswered",
]


@dataclass(frozen=True, slots=True)
class StartRequested:
    """It is wanted."""


@dataclass(frozen=True, slots=True)
class DependenciesReady:
    """Nothing it depends on is missing."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """The operating system made the process."""

    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """The operating system refused."""

    reason: str


@dataclass(frozen=True, slots=True)
class Announced:
    """It serves at `url`, and a first probe was answered where it has probes."""

    url: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A probe got its answer in time."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A probe did not get its answer in time; says what it got."""

    reason: str


@dataclass(frozen=True, slots=True)
class Outgrown:
    """It takes more memory than it may; says how much."""

    reason: str


@dataclass(frozen=True, slots=True)
class LeashLost:
    """It lives, but closed its line or wrote nonsense without end: it can't be led any more."""


@dataclass(frozen=True, slots=True)
class Exited:
    """It is gone and reaped; a negative code is the signal that ended it."""

    code: int


@dataclass(frozen=True, slots=True)
class TimerElapsed:
    """The timer of that number ran out; an old number means nothing any more."""

    number: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """It is not wanted any more; with `kill`, without grace."""

    kill: bool = False


@dataclass(frozen=True, slots=True)
class RestartRequested:
    """A new one is wanted in its place, without backoff; with `kill`, without grace."""

    kill: bool = False


Event = (
    StartRequested
    | DependenciesReady
    | Spawned
    | SpawnFailed
    | Announced
    | Answered
    | Unanswered
    | Outgrown
    | LeashLost
    | Exited
    | TimerElapsed
    | StopRequested
    | RestartRequested
)


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the process; answered by `Spawned` or `SpawnFailed` before any other event."""


@dataclass(frozen=True, slots=True)
class Terminate:
    """The stop signal to the process, SIGTERM unless its spec names another."""


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL to its process group."""


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send `TimerElapsed(number)` after `seconds`. Replaces the timer set before."""

    number: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Publish:
    """Who is ready, or failed to become so, has changed: tell everybody."""


Effect = Spawn | Terminate | Kill | SetTimer | Publish
