"""OpenTelemetry's SDK, set up for one process. Loaded only where spans are asked for.

Above: `spans`. Below: the SDK, which comes with the extra `tale[otel]`.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Final

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
)

from tale import __version__, trace

__all__ = ["Tracing"]

_given: ContextVar[trace.Trace | None] = ContextVar("given", default=None)


class _Ids(RandomIdGenerator):
    """A trace that begins here has the id by which log lines call it already."""

    def generate_trace_id(self) -> int:
        """Give the id of a new trace."""
        here = _given.get() or trace.current()
        return int(here.id, 16) if here else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Give the id of a new span."""
        given = _given.get()
        return int(given.span, 16) if given else super().generate_span_id()


class Tracing:
    """Makes spans, and sends them over OTLP, to where the environment says, in the background.

    Attributes:
        failed: The status of what failed.
    """

    failed: Final = StatusCode.ERROR

    def __init__(self, process: str) -> None:
        """Begin; the libraries that make spans of their own (MCP's) are heard as well."""
        resource = Resource.create(
            {
                "service.namespace": "tale",
                "service.name": f"tale-{process.rstrip('-0123456789')}",
                "service.instance.id": f"{process}-{os.getpid()}",
                "service.version": __version__,
            }
        )
        self._provider = TracerProvider(
            resource=resource, id_generator=_Ids(), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        otel.set_tracer_provider(self._provider)
        self._tracer = self._provider.get_tracer("tale", __version__)

    def shutdown(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def span(self, name: str, *, calls: bool) -> AbstractContextManager[Span]:
        """Begin a span, in the one around it or the one over the wire."""
        return self._tracer.start_as_current_span(
            name,
            context=self._parent(),
            kind=SpanKind.CLIENT if calls else SpanKind.INTERNAL,
            record_exception=False,
            set_status_on_exception=False,
        )

    def root(self, name: str, at: trace.Trace, begun: datetime) -> Span:
        """Begin the span at a place that is given, in nobody's."""
        with _set(at):
            return self._tracer.start_span(
                name, context=Context(), start_time=round(begun.timestamp() * 1e9)
            )

    def here(self) -> trace.Trace | None:
        """Give the place of the span that this code is in; None if it is in none."""
        inner = otel.get_current_span().get_span_context()
        if not inner.is_valid or inner.is_remote:
            return None
        flags = f"{inner.trace_flags:02x}"
        return trace.Trace(f"{inner.trace_id:032x}", f"{inner.span_id:016x}", flags)

    def _parent(self) -> Context | None:
        """Give what a new span is in; None is the span around it."""
        around, here = self.here(), trace.current()
        if around is not None and (here is None or here.id == around.id):
            return None
        if here is None or here.begun:  # there is no span yet
            return Context()
        flags = TraceFlags(int(here.flags, 16))
        place = SpanContext(int(here.id, 16), int(here.span, 16), is_remote=True, trace_flags=flags)
        return otel.set_span_in_context(NonRecordingSpan(place), Context())


@contextmanager
def _set(at: trace.Trace) -> Generator[None]:
    token = _given.set(at)
    try:
        yield
    finally:
        _given.reset(token)
