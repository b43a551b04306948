"""A process's counters in the form that Prometheus reads, or OpenMetrics where it asks for that.

Above: `observed`. Below: `prometheus_client`, with a registry of our own for each request: the
numbers live in `wire.metrics`, here they are only written down.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from math import isinf

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tale import __version__
from tale.wire.figures import Figure
from tale.wire.metrics import EdgeView, WireMetrics

__all__ = ["expose"]

_LABELS = ("side", "service", "tool")


def expose(metrics: WireMetrics, further: Sequence[Figure], accept: str) -> tuple[bytes, str]:
    """Write the counters down.

    Args:
        metrics: What is shown of the wire, beside the process itself.
        further: What else the process counts.
        accept: What the reader takes.

    Returns:
        The text, and its content type.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(_Wire(metrics))
    registry.register(_Further(further))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Wire(Collector):
    """The wire's counters."""

    def __init__(self, metrics: WireMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        now = time.monotonic()
        sides = [
            (side, edge)
            for side, recorder in (("made", self._metrics.made), ("served", self._metrics.served))
            for edge in recorder.view(now)
        ]
        yield InfoMetricFamily("tale", "The version that runs.", value={"version": __version__})
        yield from _edges(sides)
        yield from self._instances()

    def _instances(self) -> Iterator[Metric]:
        labels = ("service", "instance")
        flight = GaugeMetricFamily(
            "tale_wire_instance_in_flight", "Calls under way at a process.", labels=labels
        )
        state = GaugeMetricFamily(
            "tale_wire_instance_state",
            "1 for what the breaker of a called process is: closed, open, half-open, draining.",
            labels=(*labels, "state"),
        )
        for one in self._metrics.instances():
            flight.add_metric((one.service, one.name), one.in_flight)
            state.add_metric((one.service, one.name, one.breaker), 1)
        yield flight
        yield state


class _Further(Collector):
    """What the process counts beside the wire."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        for figure in self._figures:
            yield _family(figure)


def _family(figure: Figure) -> Metric:
    if figure.kind == "histogram":
        spread = HistogramMetricFamily(figure.name, figure.help, labels=figure.labels)
        for one in figure.samples:
            buckets = [
                ("+Inf" if isinf(bound) else str(float(bound)), count)
                for bound, count in one.buckets
            ]
            spread.add_metric(one.labels, buckets, one.value)
        return spread
    kind = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
    family = kind(figure.name, figure.help, labels=figure.labels)
    for one in figure.samples:
        family.add_metric(one.labels, one.value)
    return family


def _edges(sides: list[tuple[str, EdgeView]]) -> Iterator[Metric]:
    calls = CounterMetricFamily("tale_wire_calls", "Calls that ended.", labels=_LABELS)
    errors = CounterMetricFamily(
        "tale_wire_errors", "Calls that failed, by the error's code.", labels=(*_LABELS, "code")
    )
    retries = CounterMetricFamily(
        "tale_wire_retries", "Further attempts after one that failed.", labels=_LABELS
    )
    hedges = CounterMetricFamily(
        "tale_wire_hedges", "Further attempts beside one that was late.", labels=_LABELS
    )
    flight = GaugeMetricFamily("tale_wire_in_flight", "Calls under way.", labels=_LABELS)
    seconds = SummaryMetricFamily(
        "tale_wire_call_seconds",
        "How long calls took; the quantiles are of those answered within the last minute.",
        labels=_LABELS,
    )
    for side, edge in sides:
        labels = (side, edge.service, edge.tool)
        calls.add_metric(labels, edge.calls)
        for code, count in sorted(edge.errors.items()):
            errors.add_metric((*labels, code), count)
        if side == "made":
            retries.add_metric(labels, edge.retries)
            hedges.add_metric(labels, edge.hedges)
        flight.add_metric(labels, edge.in_flight)
        seconds.add_metric(labels, edge.calls, edge.seconds)
        seen = edge.percentiles
        for quantile, value in (("0.5", seen.p50), ("0.95", seen.p95), ("0.99", seen.p99)):
            named = dict(zip(_LABELS, labels, strict=True))
            seconds.add_sample(seconds.name, {**named, "quantile": quantile}, value)
    yield from (calls, errors, retries, hedges, flight, seconds)
