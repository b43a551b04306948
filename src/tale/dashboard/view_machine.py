"""What the panels of models and servers show. Pure.

Above: `view`. Below: `wire.overview_contracts` (facts), `shown`, `said`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from tale.cli.render import plural
from tale.dashboard.said import bytes_of, clock, milliseconds, speed_of, tone_of
from tale.dashboard.shown import Cell, Column, Note, Row, Span, Spark, Table, Tone, plain, text

if TYPE_CHECKING:
    from tale.wire.overview_contracts import (
        HistoryView,
        MachineView,
        ModelView,
        ServerView,
    )

__all__ = ["models", "servers", "state_of"]

_DOES: Final = {"ux": "talks", "task": "works", None: "further"}


def models(found: Sequence[ModelView], machine: MachineView, history: HistoryView) -> Table:
    """Show the models: what each does, whether it is there, what it takes, how quick it is."""
    return Table(
        columns=(
            Column(),
            Column("model", flexible=True),
            Column(),
            Column(),
            Column("memory", right=True),
            Column("first token", right=True, since=60),
            Column("speed", right=True),
            Column(since=96),
            Column("busy", right=True, since=64),
        ),
        rows=(*(_model_row(model, history) for model in found), *_model_notes(found)),
        title=_memory_title(found, machine),
        empty="No model is known yet.",
    )


def _memory_title(found: Sequence[ModelView], machine: MachineView) -> tuple[Span, ...]:
    taken = sum(model.memory_bytes or 0 for model in found)
    said = [f"{bytes_of(taken)} resident"] if taken else []
    if machine.memory_available is not None:
        said.append(f"{bytes_of(machine.memory_available)} free")
    return text(", ".join(said), "dim")


def _model_row(model: ModelView, history: HistoryView) -> Row:
    speeds = tuple(point.speed for point in history.requests if point.model == model.name)
    told = [speed for speed in speeds if speed is not None]
    slots = f"{model.in_flight}/{model.slots}" if model.slots else str(model.in_flight)
    busy = slots + (f" +{model.waiting}" if model.waiting else "")
    return Row(
        (
            text("●" if model.state == "ready" else "○", tone_of(model.state)),
            text(model.name),
            text(_DOES.get(model.role, ""), "dim"),
            text("" if model.state == "ready" else model.state, tone_of(model.state)),
            text(bytes_of(model.memory_bytes)),
            text(milliseconds(_first(model))),
            text(speed_of(model.tokens_per_second)),
            Spark(tuple(told)) if len(told) > 1 else (),
            text(busy, "accent" if model.in_flight else "dim"),
        )
    )


def _first(model: ModelView) -> float | None:
    """Give what a person waits for usually: with the beginning of the prompt computed before."""
    return model.ttft_warm_ms if model.ttft_warm_ms is not None else model.ttft_cold_ms


def _model_notes(found: Sequence[ModelView]) -> Iterator[Note]:
    for model in found:
        if model.state != "ready" and (why := plain(model.detail or model.last_error)):
            yield Note(f"{plain(model.name)}: {why}", "warn", 2)
    if said := _switching(found):
        yield Note(said, "dim", 2)
    counted = [
        f"{plain(model.name)} {', '.join(said)}"
        for model in found
        if (
            said := [
                plural(count, noun)
                for count, noun in ((model.fallbacks, "fallback"), (model.recoveries, "recovery"))
                if count
            ]
        )
    ]
    if counted:
        yield Note("; ".join(counted).replace("recoverys", "recoveries"), "dim", 2)


def _switching(found: Sequence[ModelView]) -> str:
    """Say what it costs a resident model, at most, that the other was asked before."""
    seen = [model.switching for model in found if model.switching is not None]
    costs = [
        one.switched_ms - one.same_ms
        for one in seen
        if one.switched_ms is not None and one.same_ms is not None
    ]
    if not costs:
        return ""
    reloads = [one.reload_ms for one in seen if one.reload_ms is not None]
    reload = f"; loading one anew would take {milliseconds(max(reloads))}" if reloads else ""
    return f"Changing models costs {milliseconds(max(0.0, *costs))}{reload}."


def servers(found: Sequence[ServerView], now: datetime) -> Table:
    """Show the servers: how each stands, how often it came back, what it takes."""
    return Table(
        columns=(
            Column(),
            Column("server", flexible=True),
            Column("state"),
            Column("up", right=True, since=60),
            Column("restarts", right=True),
            Column("memory", right=True),
            Column("CPU", right=True),
            Column(since=72),
        ),
        rows=(
            *(_server_row(server, now) for server in found),
            *(note for server in found for note in _server_notes(server)),
        ),
        title=_servers_title(found),
        empty="No server is known yet.",
    )


def state_of(server: ServerView) -> str:
    """Say how a server stands, in one word."""
    return "crash-looping" if server.crash_looping else server.state


def _servers_title(found: Sequence[ServerView]) -> tuple[Span, ...]:
    ready = sum(server.state == "ready" for server in found)
    if not found:
        return ()
    said = f"{ready} ready" if ready == len(found) else f"{ready} of {len(found)} ready"
    taken = sum(server.rss or 0 for server in found)
    tone: Tone = "dim" if ready == len(found) else "warn"
    return (Span(said, tone), *text(bytes_of(taken or None), "dim"))


def _server_row(server: ServerView, now: datetime) -> Row:
    state = state_of(server)
    up = (now - server.started).total_seconds() if server.started else None
    return Row(
        (
            text("●" if server.state == "ready" else "○", tone_of(state)),
            text(server.name),
            text(state, tone_of(state)),
            text(_up(up), "dim"),
            _restarts(server.restarts),
            text(bytes_of(server.rss) if server.rss else ""),
            text("" if server.cpu is None else f"{server.cpu:.0f} %"),
            Spark(server.cpu_trend, "dim", top=_top(server)) if len(server.cpu_trend) > 1 else (),
        ),
        key=server.name,
    )


def _up(seconds: float | None) -> str:
    """Say how long a server has been up, so that it doesn't change each second."""
    if seconds is None:
        return ""
    return clock(seconds - seconds % 60) if seconds >= 60 else "< 1 min"


def _top(server: ServerView) -> float:
    """Give the top of a server's curve: what is next to nothing isn't drawn as mountains."""
    return max(10.0, *server.cpu_trend)


def _restarts(count: int) -> Cell:
    return text(count, "warn" if count else "dim")


def _server_notes(server: ServerView) -> Iterator[Note]:
    name = plain(server.name)
    if server.state != "ready" and server.last_exit:
        yield Note(f"{name} ended: {plain(server.last_exit)}", "bad", 2)
    if server.crash_looping:
        yield from (Note(f"  {plain(line)}", "dim", 1) for line in server.tail[-4:])
    for breaker in server.breakers:
        if breaker.state not in {"closed", "draining"}:
            held = "is tried again by" if breaker.state == "half-open" else "is not called by"
            yield Note(f"{name} {held} {plain(breaker.caller)} for now: its calls failed.", "warn")
