"""One supervised process as a pure state machine: state and event in, state and effects out.

No clock, no randomness and no operating system here: timers are effects that come back as events,
the time and the jitter are passed in. Above: `server_manager`, which performs the effects and feeds
the events. The numbers are in `policy`.

    stopped ──start──▶ waiting ──dependencies──▶ starting ──announced──▶ ready ──stop, restart─┐
       ▲                 ▲ ▲                       │   │                  │ │                  ▼
       │        restart, │ └──timer── backoff ◀────┴───┼───── exited ─────┘ │              draining
     exited     1st exit │               ▲             │ too late           │ leash lost,      │
       │                 │               │             ▼                    ▼ no answer        │
       └─────────────────┴───────────────┴───────── stopping ◀────────────────────────timer────┘

A process is never given up: every failure leads back to `waiting`, the first one at once, later
ones after an exponentially growing, fully jittered delay, a crash loop at a long interval. What
follows a stop is kept in `then`. While it drains its peers know that it goes, and it still answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from tale.orchestration.events import (
    Announced,
    Answered,
    DependenciesReady,
    Effect,
    Event,
    Exited,
    Kill,
    LeashLost,
    Outgrown,
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
    Unanswered,
)
from tale.orchestration.policy import Policy, Random, describe_exit, recent, restart_delay

__all__ = ["Process", "State", "step"]

State = Literal["waiting", "starting", "ready", "draining", "backoff", "stopping", "stopped"]


@dataclass(frozen=True, slots=True)
class Process:
    """What is known of one process.

    Attributes:
        state: Where in the life cycle it is.
        then: In `draining` and `stopping`, the state that follows.
        pid: The living process; 0 if there is none.
        url: Where it serves, in `ready`.
        starts: How often it has been spawned.
        served: Which start became ready last; 0 if none has.
        failed_starts: How many starts ended before they were ready.
        start_fault: Why the latest start failed; empty once one is ready.
        failures: Ends that nobody asked for, since it was last stable.
        failed_at: When the latest of them happened, as far back as counts towards a crash loop.
        looping: It is in a crash loop.
        unanswered: Probes in a row that got no answer.
        doubt: What the latest probe was told instead of an answer; empty after one.
        cause: In `draining` and `stopping`, why it is ended, where nobody asked for it.
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
    failed_at: tuple[float, ...] = ()
    looping: bool = False
    unanswered: int = 0
    doubt: str = ""
    cause: str = ""
    last_exit: str = ""
    timers: int = 0
    timer: int = 0

    @property
    def was_ready(self) -> bool:
        """Whether it has been ready at least once."""
        return self.served > 0


@dataclass(frozen=True, slots=True)
class _Circumstances:
    """What a decision takes from outside the process."""

    policy: Policy
    random: Random
    now: float


Step = tuple[Process, tuple[Effect, ...]]


def step(process: Process, event: Event, policy: Policy, random: Random, now: float) -> Step:
    """Decide what an event means. Events that don't fit the state change nothing.

    Args:
        process: What is known.
        event: What happened.
        policy: The numbers.
        random: Uniform between 0 and 1.
        now: Monotonic seconds.
    """
    if isinstance(event, TimerElapsed):
        if not event.number or event.number != process.timer:
            return process, ()
        process = replace(process, timer=0)
    return _HANDLERS[process.state](process, event, _Circumstances(policy, random, now))


def _stopped(process: Process, event: Event, now: _Circumstances) -> Step:
    match event:
        case StartRequested() | RestartRequested():
            return _wait(process, now)
        case _:
            return process, ()


def _waiting(process: Process, event: Event, now: _Circumstances) -> Step:
    match event:
        case DependenciesReady() | TimerElapsed():
            starting = replace(process, state="starting", unanswered=0, doubt="")
            timed, timer = _timed(starting, now.policy.start)
            return timed, (timer, Spawn())
        case StopRequested():
            return replace(process, state="stopped", timer=0), ()
        case _:
            return process, ()


def _starting(  # noqa: PLR0911 - one case, one answer
    process: Process, event: Event, now: _Circumstances
) -> Step:
    match event:
        case Spawned(pid):
            return replace(process, pid=pid, starts=process.starts + 1), ()
        case SpawnFailed(reason):
            return _fail(process, f"could not be started: {reason}", now)
        case Announced(url):
            serving = replace(
                process, state="ready", url=url, served=process.starts, start_fault="", doubt=""
            )
            ready, timer = _timed(serving, now.policy.stable)
            return ready, (timer, Publish())
        case Unanswered(reason):
            return replace(process, doubt=reason), ()
        case TimerElapsed():
            why = f" ({process.doubt})" if process.doubt else ""
            late = f"not ready after {now.policy.start:g} s{why}"
            return _end(process, "backoff", now, kill=True, cause=late)
        case StopRequested(kill):
            return _end(process, "stopped", now, kill=kill)
        case RestartRequested(kill):
            return _end(process, "waiting", now, kill=kill)
        case _:
            return _living(process, event, now)


def _ready(  # noqa: PLR0911 - one case, one answer
    process: Process, event: Event, now: _Circumstances
) -> Step:
    match event:
        case Announced(url) if url != process.url:
            return replace(process, url=url), (Publish(),)
        case Answered():
            return replace(process, unanswered=0, doubt=""), ()
        case Unanswered(reason):
            return _miss(process, reason, now)
        case TimerElapsed():
            return replace(process, failures=0, looping=False), ()
        case Outgrown(reason):
            return _drain(process, "waiting", now, cause=reason)
        case StopRequested(kill):
            return _leave(process, "stopped", now, kill=kill)
        case RestartRequested(kill):
            return _leave(process, "waiting", now, kill=kill)
        case _:
            return _living(process, event, now)


def _living(process: Process, event: Event, now: _Circumstances) -> Step:
    """What `starting` and `ready` have in common."""
    match event:
        case Exited(code):
            return _fail(process, describe_exit(code), now)
        case LeashLost():
            return _end(process, "backoff", now, cause="let go of its line to the supervisor")
        case _:
            return process, ()


def _draining(process: Process, event: Event, now: _Circumstances) -> Step:
    match event:
        case TimerElapsed():
            timed, timer = _timed(replace(process, state="stopping"), now.policy.grace)
            return timed, (Terminate(), timer)
        case StopRequested(kill=True) | RestartRequested(kill=True):
            then = "stopped" if isinstance(event, StopRequested) else "waiting"
            return replace(process, state="stopping", then=then, timer=0), (Kill(),)
        case _:
            return _going(process, event, now)


def _stopping(process: Process, event: Event, now: _Circumstances) -> Step:
    kill: tuple[Effect, ...] = (Kill(),)
    match event:
        case TimerElapsed():
            return process, kill
        case StopRequested():
            return replace(process, then="stopped"), kill if event.kill else ()
        case RestartRequested():
            return replace(process, then="waiting"), kill if event.kill else ()
        case _:
            return _going(process, event, now)


def _going(process: Process, event: Event, now: _Circumstances) -> Step:
    """What `draining` and `stopping` have in common: the last word counts."""
    match event:
        case Exited(code):
            return _after_stop(process, code, now)
        case StopRequested():
            return replace(process, then="stopped"), ()
        case RestartRequested():
            return replace(process, then="waiting"), ()
        case StartRequested() if process.then == "stopped":
            return replace(process, then="waiting"), ()
        case _:
            return process, ()


def _backoff(process: Process, event: Event, now: _Circumstances) -> Step:
    match event:
        case TimerElapsed() | RestartRequested():
            return _wait(process, now)
        case StopRequested():
            return replace(process, state="stopped", timer=0), ()
        case _:
            return process, ()


_HANDLERS: dict[State, Callable[[Process, Event, _Circumstances], Step]] = {
    "stopped": _stopped,
    "waiting": _waiting,
    "starting": _starting,
    "ready": _ready,
    "draining": _draining,
    "backoff": _backoff,
    "stopping": _stopping,
}


def _miss(process: Process, reason: str, now: _Circumstances) -> Step:
    """Take note of a probe without an answer; a process that can't answer can't obey either."""
    missed = replace(process, unanswered=process.unanswered + 1, doubt=reason)
    if missed.unanswered < now.policy.misses:
        return missed, ()
    cause = f"{reason}, {missed.unanswered} times in a row"
    return _end(missed, "backoff", now, kill=True, cause=cause)


def _after_stop(process: Process, code: int, now: _Circumstances) -> Step:
    reason = "; ".join(filter(None, (process.cause, describe_exit(code))))
    gone = replace(process, pid=0, cause="", last_exit=reason, timer=0)
    if process.then == "waiting":
        return _wait(gone, now)
    if process.then == "backoff":
        return _fail(gone, reason, now)
    return replace(gone, state="stopped", failures=0), ()


def _wait(process: Process, now: _Circumstances) -> Step:
    waiting, timer = _timed(replace(process, state="waiting"), now.policy.patience)
    return waiting, (timer,)


def _fail(process: Process, reason: str, now: _Circumstances) -> Step:
    was_ready = process.state == "ready"
    failed_at = recent((*process.failed_at, now.now), now.now, now.policy)
    failed = replace(
        process,
        pid=0,
        url="",
        last_exit=reason,
        failures=process.failures + 1,
        failed_at=failed_at,
        looping=process.looping or len(failed_at) > now.policy.intensity,
    )
    never_ready = process.state == "starting" or process.served != process.starts
    if never_ready:
        failed = replace(failed, failed_starts=process.failed_starts + 1, start_fault=reason)
    delay = restart_delay(failed.failures, now.policy, now.random, looping=failed.looping)
    if failed.failures == 1 and not failed.looping:
        after, effects = _wait(failed, now)
    else:
        after, timer = _timed(replace(failed, state="backoff"), delay)
        effects = (timer,)
    return after, (*effects, Publish()) if was_ready or never_ready else effects


def _leave(
    process: Process, then: Literal["stopped", "waiting"], now: _Circumstances, *, kill: bool
) -> Step:
    return _end(process, then, now, kill=True) if kill else _drain(process, then, now)


def _drain(
    process: Process, then: Literal["stopped", "waiting"], now: _Circumstances, cause: str = ""
) -> Step:
    """Take a process that serves out of the peers' picture, before it is asked to leave."""
    draining = replace(process, state="draining", then=then, url="", cause=cause)
    timed, timer = _timed(draining, now.policy.settle)
    return timed, (Publish(), timer)


def _end(
    process: Process,
    then: Literal["stopped", "waiting", "backoff"],
    now: _Circumstances,
    *,
    kill: bool = False,
    cause: str = "",
) -> Step:
    """Begin to stop a living process; it is out of the peers' picture from now on."""
    publish: tuple[Effect, ...] = (Publish(),) if process.state == "ready" else ()
    stopping = replace(process, state="stopping", then=then, url="", cause=cause)
    if kill:
        return replace(stopping, timer=0), (Kill(), *publish)
    timed, timer = _timed(stopping, now.policy.grace)
    return timed, (Terminate(), timer, *publish)


def _timed(process: Process, seconds: float) -> tuple[Process, SetTimer]:
    number = process.timers + 1
    return replace(process, timers=number, timer=number), SetTimer(number, seconds)
