"""What the calls between processes cost and how they end: counted here, shown elsewhere.

A `Recorder` has one `Edge` for each tool of each service, and is told of every call as it begins
and ends; it knows no clock and does no I/O. Above: `pool` (calls made), `servers.mcp_app` (calls
served). Readers: `servers.exposition` for
Prometheus, `servers.observed` for `tale status --wire`. Beside: `figures`, which are shown with it.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from tale.wire.figures import Figure, Figures

__all__ = [
    "METRICS_KEY",
    "Edge",
    "EdgeView",
    "InstanceView",
    "Percentiles",
    "Recorder",
    "Window",
    "WireMetrics",
]

METRICS_KEY: Final = "tale.wire"
"""Key of the ASGI scope's `state` under which a server's door hands in where calls are counted."""

_WINDOW_SECONDS: Final = 60.0
_WINDOW_CALLS: Final = 2048
_REFRESH_CALLS: Final = 32


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Seconds within which so many percent of the calls in the window ended; 0 without calls."""

    seen: int = 0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


class Window:
    """The latest calls' durations: those of a minute, and no more than some thousands."""

    def __init__(self) -> None:
        self._calls: deque[tuple[float, float]] = deque(maxlen=_WINDOW_CALLS)
        self._known = Percentiles()
        self._unseen = 0

    def add(self, now: float, seconds: float) -> None:
        """Take note of a call that ended."""
        self._calls.append((now, seconds))
        self._unseen += 1

    def percentiles(self, now: float) -> Percentiles:
        """Reckon them from the window as it is now."""
        while self._calls and self._calls[0][0] < now - _WINDOW_SECONDS:
            self._calls.popleft()
        spent = sorted(seconds for _, seconds in self._calls)
        self._unseen = 0
        self._known = Percentiles(len(spent), *(_at(spent, share) for share in (0.50, 0.95, 0.99)))
        return self._known

    def recent(self, now: float) -> Percentiles:
        """Give them as they were at most some calls ago: cheap enough to ask at each call."""
        if self._unseen >= _REFRESH_CALLS or (self._unseen and not self._known.seen):
            return self.percentiles(now)
        return self._known


def _at(ordered: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0


@dataclass(frozen=True, slots=True)
class EdgeView:
    """One edge at one moment.

    Attributes:
        service: Whose tool it is.
        tool: Its name.
        calls: Calls that ended, however they did.
        errors: How many of them failed, by the error's code; `cancelled` where the caller left.
        in_flight: Calls under way.
        retries: Further attempts after one that failed.
        hedges: Further attempts beside one that was late.
        seconds: All calls' durations together.
        percentiles: Of those in the window.
    """

    service: str
    tool: str
    calls: int
    errors: dict[str, int]
    in_flight: int
    retries: int
    hedges: int
    seconds: float
    percentiles: Percentiles


class Edge:
    """Counts the calls of one tool."""

    def __init__(self, service: str, tool: str) -> None:
        self.service = service
        self.tool = tool
        self.in_flight = 0
        self.retries = 0
        self.hedges = 0
        self.window = Window()
        self._calls = 0
        self._seconds = 0.0
        self._errors: Counter[str] = Counter()

    def began(self) -> None:
        """Take note of a call."""
        self.in_flight += 1

    def ended(self, now: float, seconds: float, error: str = "") -> None:
        """Take note of its end: after so many seconds, with this error's code if with any."""
        self.in_flight -= 1
        self._calls += 1
        self._seconds += seconds
        if error:
            self._errors[error] += 1
        else:
            self.window.add(now, seconds)

    def view(self, now: float) -> EdgeView:
        """Give the numbers as they are."""
        return EdgeView(
            self.service,
            self.tool,
            self._calls,
            dict(self._errors),
            self.in_flight,
            self.retries,
            self.hedges,
            self._seconds,
            self.window.percentiles(now),
        )


class Recorder:
    """The edges of one direction: calls made, or calls served."""

    def __init__(self) -> None:
        self._edges: dict[tuple[str, str], Edge] = {}

    def edge(self, service: str, tool: str) -> Edge:
        """Give the edge of a tool."""
        found = self._edges.get((service, tool))
        if found is None:
            found = self._edges[service, tool] = Edge(service, tool)
        return found

    def view(self, now: float) -> list[EdgeView]:
        """Give every edge's numbers."""
        return [edge.view(now) for _, edge in sorted(self._edges.items())]


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One process that is called.

    Attributes:
        service: What it does.
        name: Which process it is.
        breaker: `closed`, `open` or `half-open`; `draining` where it takes no more calls.
        in_flight: Calls under way there.
    """

    service: str
    name: str
    breaker: str
    in_flight: int


class WireMetrics:
    """A process's part of the wire.

    Attributes:
        made: The calls that it makes.
        served: The calls that it serves.
    """

    def __init__(self) -> None:
        self.made = Recorder()
        self.served = Recorder()
        self._sources: list[Callable[[], Iterable[InstanceView]]] = []
        self._further: list[Figures] = []

    def watch(self, source: Callable[[], Iterable[InstanceView]]) -> None:
        """Ask `source` for the processes that are called whenever they are to be shown."""
        self._sources.append(source)

    def instances(self) -> list[InstanceView]:
        """Give every process that is called."""
        return [one for source in self._sources for one in source()]

    def show(self, figures: Figures) -> None:
        """Ask for these figures, too, whenever the process is to show what it counts."""
        self._further.append(figures)

    async def further(self) -> list[Figure]:
        """Give what the process shows beside the wire."""
        return [figure for figures in self._further for figure in await figures()]
