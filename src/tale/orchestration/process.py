"""One supervised process as a pure state machine: state and event in, state and effects out.

No clock, no randomness and no operating system here: timers are effects that come back as events,
jitter comes from a function that is passed in. Above: `server_manager`, which performs the effects
and feeds the events.

    stopped ──start──▶ waiting ──dependencies──▶ starting ──announced──▶ ready
       ▲                  ▲ ▲                        │                     │
       │         restart, │ └──timer── backoff ◀─────┴────── exited ───────┤
     exited      1st exit │                ▲                               │
       │                  │                │ too late, leash lost          │
       └───────────── stopping ────────────┴──────────◀────stop, restart───┘

A process is never given up: every failure leads back to `waiting`, the first one at once, later
ones after an exponentially growing, fully jittered delay. What follows a stop is kept in `then`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from tale.orchestration.events import (
    Announced,
    DependenciesReady,
    Effect,
    Event,
    Exited,
    Kill,
    LeashLost,
    Publish,
    RestartRequested,
    SetTimer,
    Spawn,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopRequested,
    Terminate,
    TimerElapsed,
)

__all__ = ["Policy", "Process", "State", "describe_exit", "restart_delay", "step"]

State = Literal["waiting", "starting", "ready", "backoff", "stopping", "stopped"]
Random = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the supervisor is with one process. All in seconds.

    Attributes:
        patience: Longest wait for dependencies; then it is started without them.
        start: From spawned to ready; a process that takes longer is killed.
        grace: From SIGTERM to SIGKILL.
        stable: Ready for that long, a process has its failures forgiven.
        base: Upper bound of the delay before the second restart in a row; doubles with each more.
        cap: Upper bound of any delay.
    """

    patience: float = 15
    start: float = 60
    grace: float = 10
    stable: float = 5
    base: float = 0.1
    cap: float = 30


Step = tuple["Process", tuple[Effect, ...]]


@dataclass(frozen=True, slots=True)
class Process:
    """What is known of one process.

    Attributes:
        state: Where in the life cycle it is.
        then: In `stopping`, the state that follows.
        pid: The living process; 0 if there is none.
        url: Where it serves, in `ready`.
        starts: How often it has been spawned.
        served: Which start became ready last; 0 if none has.
        failed_starts: How many starts ended before they were ready.
        start_fault: Why the latest start failed; empty once one is ready.
        failures: Ends that nobody asked for, since it was last stable.
        cause: In `stopping`, why the supervisor ends it as a failure.
        last_exit: Why the latest one ended; empty if none has.
        timers: How many timers have been set; the number of the latest.
        timer: The number of the timer that counts; 0 if none does.
    """

    state: State = "stopped"
    then: Literal["stopped", "waiting", "backoff"] = "stopped"
    pid: int = 0
    url: str = ""
    starts: int = 0
    served: int = 0
    failed_starts: int = 0
    start_fault: str = ""
    failures: int = 0
    cause: str = ""
    last_exit: str = ""
    timers: int = 0
    timer: int = 0

    @property
    def was_ready(self) -> bool:
        """Whether it has been ready at least once."""
        return self.served > 0


def restart_delay(failures: int, policy: Policy, random: Random) -> float:
    """Seconds until the next attempt: none after one failure, then full jitter.

    Full jitter (uniform between zero and an exponentially growing bound) spreads servers that died
    together better than any narrower choice; see "Exponential Backoff And Jitter", AWS, 2015.
    """
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


def step(process: Process, event: Event, policy: Policy, random: Random) -> Step:
    """Decide what an event means. Events that don't fit the state change nothing."""
    if isinstance(event, TimerElapsed):
        if not event.number or event.number != process.timer:
            return process, ()
        process = replace(process, timer=0)
    return _HANDLERS[process.state](process, event, policy, random)


def _stopped(process: Process, event: Event, policy: Policy, _: Random) -> Step:
    match event:
        case StartRequested() | RestartRequested():
            return _wait(process, policy)
        case _:
            return process, ()


def _waiting(process: Process, event: Event, policy: Policy, _: Random) -> Step:
    match event:
        case DependenciesReady() | TimerElapsed():
            starting, timer = _timed(replace(process, state="starting"), policy.start)
            return starting, (timer, Spawn())
        case StopRequested():
            return replace(process, state="stopped", timer=0), ()
        case _:
            return process, ()


def _starting(process: Process, event: Event, policy: Policy, random: Random) -> Step:
    match event:
        case Spawned(pid):
            return replace(process, pid=pid, starts=process.starts + 1), ()
        case SpawnFailed(reason):
            return _fail(process, f"could not be started: {reason}", policy, random)
        case Announced(url):
            serving = replace(
                process, state="ready", url=url, served=process.starts, start_fault=""
            )
            ready, timer = _timed(serving, policy.stable)
            return ready, (timer, Publish())
        case TimerElapsed():
            late = f"not ready after {policy.start:g} s"
            return _end(process, "backoff", policy, kill=True, cause=late)
        case _:
            return _living(process, event, policy, random)


def _ready(process: Process, event: Event, policy: Policy, random: Random) -> Step:
    match event:
        case Announced(url) if url != process.url:
            return replace(process, url=url), (Publish(),)
        case TimerElapsed():
            return replace(process, failures=0), ()
        case _:
            return _living(process, event, policy, random)


def _living(process: Process, event: Event, policy: Policy, random: Random) -> Step:
    """What `starting` and `ready` have in common."""
    match event:
        case Exited(code):
            return _fail(process, describe_exit(code), policy, random)
        case LeashLost():
            return _end(process, "backoff", policy, cause="let go of its line to the supervisor")
        case StopRequested(kill):
            return _end(process, "stopped", policy, kill=kill)
        case RestartRequested(kill):
            return _end(process, "waiting", policy, kill=kill)
        case _:
            return process, ()


def _backoff(process: Process, event: Event, policy: Policy, _: Random) -> Step:
    match event:
        case TimerElapsed() | RestartRequested():
            return _wait(process, policy)
        case StopRequested():
            return replace(process, state="stopped", timer=0), ()
        case _:
            return process, ()


def _stopping(process: Process, event: Event, policy: Policy, random: Random) -> Step:
    kill: tuple[Effect, ...] = (Kill(),)
    match event:
        case Exited(code):
            return _after_stop(process, code, policy, random)
        case TimerElapsed():
            return process, kill
        case StopRequested():
            return replace(process, then="stopped"), kill if event.kill else ()
        case RestartRequested():
            return replace(process, then="waiting"), kill if event.kill else ()
        case StartRequested() if process.then == "stopped":
            return replace(process, then="waiting"), ()
        case _:
            return process, ()


_HANDLERS: dict[State, Callable[[Process, Event, Policy, Random], Step]] = {
    "stopped": _stopped,
    "waiting": _waiting,
    "starting": _starting,
    "ready": _ready,
    "backoff": _backoff,
    "stopping": _stopping,
}


def _after_stop(process: Process, code: int, policy: Policy, random: Random) -> Step:
    reason = describe_exit(code)
    gone = replace(process, pid=0, cause="", last_exit=reason, timer=0)
    if process.then == "waiting":
        return _wait(gone, policy)
    if process.then == "backoff":
        return _fail(gone, f"{process.cause}; {reason}", policy, random)
    return replace(gone, state="stopped", failures=0), ()


def _wait(process: Process, policy: Policy) -> Step:
    waiting, timer = _timed(replace(process, state="waiting"), policy.patience)
    return waiting, (timer,)


def _fail(process: Process, reason: str, policy: Policy, random: Random) -> Step:
    was_ready = process.state == "ready"
    failed = replace(process, pid=0, url="", last_exit=reason, failures=process.failures + 1)
    never_ready = process.state == "starting" or process.served != process.starts
    if never_ready:
        failed = replace(failed, failed_starts=process.failed_starts + 1, start_fault=reason)
    if failed.failures == 1:
        after, effects = _wait(failed, policy)
    else:
        delay = restart_delay(failed.failures, policy, random)
        after, timer = _timed(replace(failed, state="backoff"), delay)
        effects = (timer,)
    return after, (*effects, Publish()) if was_ready or never_ready else effects


def _end(
    process: Process,
    then: Literal["stopped", "waiting", "backoff"],
    policy: Policy,
    *,
    kill: bool = False,
    cause: str = "",
) -> Step:
    """Begin to stop a living process; it is out of the peers' picture from now on."""
    publish: tuple[Effect, ...] = (Publish(),) if process.state == "ready" else ()
    stopping = replace(process, state="stopping", then=then, url="", cause=cause)
    if kill:
        return replace(stopping, timer=0), (Kill(), *publish)
    timed, timer = _timed(stopping, policy.grace)
    return timed, (Terminate(), timer, *publish)


def _timed(process: Process, seconds: float) -> tuple[Process, SetTimer]:
    number = process.timers + 1
    return replace(process, timers=number, timer=number), SetTimer(number, seconds)
