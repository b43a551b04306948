"""From all that is known to what each panel shows. Pure.

`State` is what the dashboard knows at a moment: how it is connected, the last overview, and what
was asked for the chosen task. `view` makes the header and the tables of it. Above: `app`. Below:
`view_tasks`, `view_machine`, `view_tokens`, `view_files`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from tale.cli.checkpoint_view import Checkpoint
from tale.cli.log_files import Entry
from tale.cli.render import plural
from tale.dashboard import view_files, view_machine, view_tasks, view_tokens
from tale.dashboard.said import bytes_of, clock, percent_of, speed_of, tone_of
from tale.dashboard.shown import Span, Table, Tone, plain

if TYPE_CHECKING:
    from tale.wire.contracts import TaskView
    from tale.wire.overview_contracts import ModelView, Overview, ServerView

__all__ = ["PANELS", "Header", "Link", "Panel", "State", "View", "view"]

Panel = Literal["tasks", "task", "checkpoints", "models", "servers", "tokens", "log"]
PANELS: Final[dict[Panel, str]] = {
    "tasks": "Tasks",
    "task": "Progress",
    "checkpoints": "Checkpoints",
    "models": "Models",
    "servers": "Servers",
    "tokens": "Tokens",
    "log": "Log",
}
"""The panels by name, with their titles, in the order of their keys."""
Link = Literal["opening", "live", "away", "starting", "stopped"]
"""How the dashboard is connected: it has just begun, hears the gateway, waits for the gateway while
the daemon runs, sees a daemon start, or finds none."""


@dataclass(frozen=True, slots=True)
class State:
    """What the dashboard knows.

    Attributes:
        link: How it is connected.
        why: What is the matter, where it isn't.
        overview: The last one that came; None before the first.
        servers: What the supervisor says of the servers while the gateway is away.
        chosen: Id of the task that was chosen.
        checkpoints: Those of that task; None while they are asked for.
        log: The end of the log.
    """

    link: Link = "opening"
    why: str = ""
    overview: Overview | None = None
    servers: tuple[ServerView, ...] | None = None
    chosen: str = ""
    checkpoints: tuple[Checkpoint, ...] | None = None
    log: tuple[Entry, ...] = ()

    @property
    def task(self) -> TaskView | None:
        """The chosen task, or the first where that one isn't there."""
        return view_tasks.chosen_of(self.overview.tasks if self.overview else (), self.chosen)

    @property
    def shown_servers(self) -> tuple[ServerView, ...]:
        """What is known of the servers, from whoever knows it best just now."""
        if self.servers is not None and self.link != "live":
            return self.servers
        return self.overview.servers if self.overview else ()


@dataclass(frozen=True, slots=True)
class Header:
    """The lines on top.

    Attributes:
        tone: How all of it is.
        verdict: The same in a sentence.
        right: What stands at the other end.
        vitals: Models and tokens in a line, for a screen that has no room for their panels.
    """

    tone: Tone
    verdict: str
    right: tuple[Span, ...]
    vitals: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class View:
    """All that the screen shows."""

    header: Header
    panels: dict[Panel, Table]


def view(state: State, now: datetime) -> View:
    """Make what the screen shows of what is known.

    Args:
        state: What is known.
        now: The present, in the zone in which times are told.
    """
    seen = state.overview
    stale = state.link != "live"
    panels: dict[Panel, Table] = {
        "tasks": view_tasks.task_list(seen.tasks, now) if seen else _nothing(state),
        "task": view_tasks.one_task(state.task, seen.plans if seen else ()),
        "checkpoints": _checkpoints(state, now),
        "models": view_machine.models(seen.models, seen.machine, seen.history)
        if seen
        else _nothing(state),
        "servers": view_machine.servers(state.shown_servers, now)
        if state.shown_servers
        else _nothing(state),
        "tokens": view_tokens.tokens(seen.tokens, now) if seen else _nothing(state),
        "log": view_files.log(state.log, now.tzinfo),
    }
    return View(_header(state, now, stale=stale), panels)


def _checkpoints(state: State, now: datetime) -> Table:
    if state.task is None:
        return Table(empty="No task is chosen.")
    if state.checkpoints is None and state.link != "live":
        return Table(empty="Not known; the gateway is waited for.")
    return view_files.checkpoints(state.checkpoints, now)


def _nothing(state: State) -> Table:
    words = {
        "stopped": "tale is not running. Press s to start it.",
        "starting": "tale is starting …",
        "opening": "Looking …",
    }
    return Table(empty=words.get(state.link, "Nothing is known yet; the gateway is waited for."))


def _header(state: State, now: datetime, *, stale: bool) -> Header:
    seen = state.overview
    right: list[Span] = []
    waiting = sum(task.state == "waiting" for task in seen.tasks) if seen else 0
    if waiting and not stale:
        verb = "waits" if waiting == 1 else "wait"
        right.append(Span(f"{plural(waiting, 'task')} {verb} for you", "warn"))
    elif seen and seen.daemon.started and not stale:
        up = (now - seen.daemon.started).total_seconds()
        right.append(Span(f"up {clock(up - up % 60) if up >= 60 else '< 1 min'}", "dim"))
    tone, verdict = _verdict(state)
    return Header(tone, verdict, tuple(right), _vitals(seen) if seen else ())


def _verdict(state: State) -> tuple[Tone, str]:
    if state.link == "live" and state.overview is not None:
        daemon = state.overview.daemon
        return ("good" if daemon.well else "warn"), plain(daemon.verdict) or "All is well."
    words: dict[Link, tuple[Tone, str]] = {
        "opening": ("dim", "Looking for the daemon …"),
        "live": ("dim", "Waiting for the first figures …"),
        "starting": ("warn", "tale is starting …"),
        "stopped": ("bad", "tale is not running. Press s to start it."),
        "away": ("warn", "The gateway doesn't answer; it is waited for."),
    }
    tone, said = words[state.link]
    return tone, plain(state.why) if state.link == "away" and state.why else said


def _vitals(seen: Overview) -> tuple[Span, ...]:
    spans: list[Span] = []
    for model in seen.models:
        if model.role is not None:
            spans += [Span("● " if model.state == "ready" else "○ ", tone_of(model.state))]
            spans += [Span(_vital(model), "dim"), Span("   ")]
    if seen.tokens and seen.tokens.sent_saved is not None and seen.tokens.sent_saved > 0:
        spans.append(Span(f"{percent_of(seen.tokens.sent_saved)} tokens saved", "dim"))
    return tuple(spans)


def _vital(model: ModelView) -> str:
    does = {"ux": "talks", "task": "works"}.get(model.role or "", "")
    facts = (bytes_of(model.memory_bytes), speed_of(model.tokens_per_second))
    state = "" if model.state == "ready" else model.state
    return " ".join(filter(None, (does, state, *facts)))
