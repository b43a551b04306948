"""What others report of themselves, put into the shapes of an overview. Pure.

Above: `overview`, which asks for the reports. Below: `wire.overview_contracts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from tale.models.pool_stats import PoolStatus
from tale.models.trend import Ended, Hour
from tale.models.usage import UsageReport
from tale.wire.loose import as_list, as_object
from tale.wire.overview_contracts import (
    BreakerView,
    MemoryPoint,
    ModelTokens,
    ModelView,
    RequestPoint,
    ServerView,
    SwitchingView,
    TokensView,
    TrendPoint,
)

__all__ = [
    "ServerReport",
    "SupervisorReport",
    "breakers_of",
    "earlier_memory",
    "is_asked_for_its_calls",
    "memory_point",
    "models_of",
    "requests_of",
    "servers_of",
    "tokens_of",
    "wrong",
]

_STEADY: Final = timedelta(seconds=3)
"""Two looks at the same process give start times that differ by less."""


class _Report(BaseModel):
    # The supervisor says more than is shown.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Moment(_Report):
    """One entry of a server's history; `at` in seconds since its first."""

    at: float
    cpu: float
    rss: int


class ServerReport(_Report):
    """One server, as the supervisor reports it (`orchestration.facts.ServerStatus`)."""

    name: str
    service: str
    state: str
    pid: int | None
    url: str
    restarts: int
    starts: int
    uptime: float
    rss: int
    cpu: float
    last_exit: str | None
    foreign: bool
    crash_looping: bool
    tail: tuple[str, ...]
    fds: int
    threads: int
    growth: float
    history: tuple[Moment, ...]
    exits: tuple[str, ...]


class SupervisorReport(_Report):
    """All servers."""

    pid: int
    started: datetime
    servers: tuple[ServerReport, ...]


def servers_of(
    reports: Iterable[ServerReport],
    breakers: Mapping[str, tuple[BreakerView, ...]],
    before: Iterable[ServerView],
    now: datetime,
) -> tuple[ServerView, ...]:
    """Show every server.

    Args:
        reports: What the supervisor says.
        breakers: By server: those of the servers that call it.
        before: How they were shown the last time: a start is told the same each time.
        now: The present time.
    """
    known = {(one.name, one.pid): one.started for one in before}
    return tuple(_server(report, breakers, known, now) for report in reports)


def _server(
    report: ServerReport,
    breakers: Mapping[str, tuple[BreakerView, ...]],
    known: Mapping[tuple[str, int | None], datetime | None],
    now: datetime,
) -> ServerView:
    alive = report.pid is not None
    started = now - timedelta(seconds=report.uptime) if alive else None
    earlier = known.get((report.name, report.pid))
    if started and earlier and abs(started - earlier) < _STEADY:
        started = earlier
    return ServerView(
        name=report.name,
        service=report.service,
        state=report.state,
        pid=report.pid,
        url=report.url,
        started=started.replace(microsecond=0) if started else None,
        restarts=report.restarts,
        starts=report.starts,
        cpu=round(report.cpu, 1) if alive else None,
        rss=report.rss if alive and report.rss else None,
        fds=report.fds if alive else None,
        threads=report.threads if alive else None,
        growth=round(report.growth),
        last_exit=report.last_exit,
        exits=report.exits,
        foreign=report.foreign,
        crash_looping=report.crash_looping,
        tail=report.tail,
        breakers=breakers.get(report.name, ()),
        cpu_trend=tuple(round(moment.cpu, 1) for moment in report.history),
        rss_trend=tuple(moment.rss for moment in report.history),
    )


def is_asked_for_its_calls(server: ServerReport) -> bool:
    """Say whether a server makes calls; models' processes don't, the user's get no token."""
    serves = server.state == "ready" and bool(server.url)
    return serves and not server.foreign and not server.name.startswith("model-")


def breakers_of(wires: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[BreakerView, ...]]:
    """Turn what callers say of those they call (`/wire`) round: by who is called."""
    found: dict[str, list[BreakerView]] = {}
    for caller, wire in wires.items():
        for one in map(as_object, as_list(wire.get("instances"))):
            name, state, count = one.get("name"), one.get("breaker"), one.get("in_flight")
            if isinstance(name, str) and isinstance(state, str):
                in_flight = count if isinstance(count, int) else 0
                breaker = BreakerView(caller=caller, state=state, in_flight=in_flight)
                found.setdefault(name, []).append(breaker)
    return {name: tuple(breakers) for name, breakers in found.items()}


def models_of(pool: PoolStatus) -> tuple[ModelView, ...]:
    """Show every model."""
    switching = {
        one.role: SwitchingView(
            same_ms=one.same_ms, switched_ms=one.switched_ms, reload_ms=one.reload_ms
        )
        for one in pool.switching
    }
    return tuple(
        ModelView(**asdict(model), switching=switching.get(model.role) if model.role else None)
        for model in pool.models
    )


def tokens_of(usage: UsageReport, hours: Sequence[Hour]) -> TokensView:
    """Show what the models took, each model in one line."""
    sums: dict[str, ModelTokens] = {}
    for line in usage.lines:
        one = sums.get(line.model) or ModelTokens(model=line.model, role=line.role)
        sums[line.model] = ModelTokens(
            model=line.model,
            role=one.role or line.role,
            requests=one.requests + line.requests,
            failed=one.failed + line.failed,
            prompt=one.prompt + line.prompt,
            cached=one.cached + line.cached,
            computed=one.computed + line.computed,
            completion=one.completion + line.completion,
        )
    total, naive = usage.total, usage.naive
    return TokensView(
        requests=total.requests,
        failed=total.failed,
        prompt=total.prompt,
        cached=total.cached,
        computed=total.computed,
        completion=total.completion,
        large_computed=usage.large_computed,
        naive_prompt=naive.prompt,
        naive_completion=naive.completion,
        naive_computed=naive.computed,
        sent_saved=usage.sent_saved,
        computed_saved=usage.computed_saved,
        models=tuple(sums.values()),
        trend=tuple(TrendPoint(**asdict(hour)) for hour in hours),
    )


def requests_of(ended: Iterable[Ended]) -> tuple[RequestPoint, ...]:
    """Show requests that ended."""
    return tuple(
        RequestPoint(
            number=one.number,
            at=round(one.at, 1),
            model=one.model,
            ttft_ms=round(one.ttft_ms, 1) if one.ttft_ms is not None else None,
            speed=round(one.speed, 2) if one.speed is not None else None,
        )
        for one in ended
    )


def memory_point(
    at: float,
    models: Iterable[ModelView],
    servers: Iterable[ServerView],
    available: int | None,
) -> MemoryPoint:
    """Say what memory is used for at this moment."""
    own = {model.pid for model in models if model.pid}
    return MemoryPoint(
        at=round(at, 1),
        models={model.name: model.memory_bytes for model in models if model.memory_bytes},
        servers=sum(server.rss or 0 for server in servers if server.pid not in own),
        available=available,
    )


def earlier_memory(
    servers: Sequence[ServerReport], models: Sequence[ModelView], now: float
) -> tuple[MemoryPoint, ...]:
    """Tell the minutes before anybody looked, from what the supervisor has kept of each process."""
    names = {model.pid: model.name for model in models if model.pid}
    longest = max((len(server.history) for server in servers), default=0)
    points: list[MemoryPoint] = []
    for back in range(longest, 0, -1):
        taken = [(one, one.history[-back]) for one in servers if len(one.history) >= back]
        ago = max(one.history[-1].at - moment.at for one, moment in taken)
        by_model = {
            names[one.pid]: moment.rss for one, moment in taken if one.pid in names and moment.rss
        }
        rest = sum(moment.rss for one, moment in taken if one.pid not in names)
        points.append(MemoryPoint(at=round(now - ago, 1), models=by_model, servers=rest))
    return tuple(points)


def wrong(
    servers: Sequence[ServerView], models: Sequence[ModelView], trouble: Sequence[str]
) -> Iterator[str]:
    """Tell what is not as it should be, a clause for each, what can't mend itself first."""
    for server in sorted(servers, key=lambda one: not one.crash_looping):
        if server.state != "ready":
            how = "crash-looping" if server.crash_looping else server.state
            yield f"{server.name} is {how}"
    core = [model for model in models if model.role]
    for model in core:
        if model.state != "ready":
            yield f"{model.name} ({model.role}) is {model.state}"
    yield from (one.rstrip(".") for one in trouble)
    if not core and not trouble:
        yield "no core model is configured yet"
