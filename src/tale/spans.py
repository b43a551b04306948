"""Spans for OpenTelemetry, after its conventions for generative AI; nothing where nobody asked.

They are made where the standard variables say where to send them (`OTEL_EXPORTER_OTLP_ENDPOINT` or
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) and the extra `tale[otel]` is installed; the SDK reads the
other variables itself. Else no library is loaded, and a span costs a microsecond. What models are
asked and answer is left out unless `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` is true.
Over the wire a trace goes as `tale.trace` has it. Above: whoever does what a span is of. Below:
`spans_sdk`. After https://opentelemetry.io/docs/specs/semconv/gen-ai/.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

from tale import trace
from tale.errors import TaleError

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan

    from tale.spans_sdk import Tracing

__all__ = ["Attributes", "Span", "configure", "of_task", "root", "shows_content", "span", "stop"]

Attributes = Mapping[str, str | bool | int | float | Sequence[str] | None]
"""Attributes by their names; those that are None are left out."""

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_OFF: Final = "OTEL_SDK_DISABLED"
_STOP_SECONDS: Final = 2.0
_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

# As with the SDK's own provider, there is one in a process.
_tracing: Tracing | None = None
_content = False


class Span:
    """A span, or none."""

    def __init__(self, inner: OtelSpan | None = None) -> None:
        self._inner = inner

    def set(self, attributes: Attributes, *, name: str = "") -> None:
        """Add attributes, and give it another name where one is given."""
        if self._inner is None:
            return
        for key, value in attributes.items():
            if value is not None:
                self._inner.set_attribute(key, value)
        if name:
            self._inner.update_name(name)

    def fail(self, code: str, message: str = "") -> None:
        """Say that what it is of failed."""
        if self._inner is not None and _tracing is not None:
            self._inner.set_attribute("error.type", code)
            self._inner.set_status(_tracing.failed, message)


_NONE: Final = Span()


def configure(process: str, environ: Mapping[str, str] = os.environ) -> str:
    """Make spans in this process, if the environment asks for them. Called once, at its entry.

    Args:
        process: Its name, such as `execution-1`.
        environ: Its environment.

    Returns:
        Why nothing is sent although it was asked for; empty where all is well.
    """
    global _tracing, _content  # noqa: PLW0603 - see above
    off = environ.get(_OFF, "").lower() == "true"
    if off or not any(environ.get(name) for name in _ENDPOINTS):
        return ""
    try:
        from tale.spans_sdk import Tracing  # noqa: PLC0415 - loads the SDK
    except ImportError:
        return "OpenTelemetry is asked for, but not installed: install `tale[otel]`."
    _tracing = Tracing(process)
    _content = environ.get(_CONTENT, "").lower() == "true"
    trace.span_here(_tracing.here)
    return ""


def stop() -> None:
    """Send what is left, for two seconds at most; blocks meanwhile."""
    global _tracing  # noqa: PLW0603 - see above
    if _tracing is not None:
        # Where nobody receives them, the SDK tries again and again, and can't be told not to.
        last = threading.Thread(target=_tracing.shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(_STOP_SECONDS)
        _tracing = None
        trace.span_here(None)


def shows_content() -> bool:
    """Tell whether spans may have what models are asked and answer."""
    return _tracing is not None and _content


@contextmanager
def span(
    name: str, attributes: Attributes | None = None, *, calls: bool = False
) -> Generator[Span]:
    """Make a span of what the block does, in the trace that it runs in.

    What leaves the block as an error is its failure.

    Args:
        name: What is done, and with what.
        attributes: What is known of it at once.
        calls: Whether it is a call of something elsewhere.
    """
    if _tracing is None:
        yield _NONE
        return
    with _tracing.span(name, calls=calls) as inner:
        made = Span(inner)
        made.set(attributes or {})
        try:
            yield made
        except TaleError as error:
            made.fail(error.code, error.message)
            raise
        except Exception as error:
            made.fail(type(error).__qualname__)
            raise


def root(
    name: str, at: trace.Trace, attributes: Attributes, *, begun: datetime, ended: datetime
) -> None:
    """Send the span at the root of a trace, which all others of it are in, once it has ended."""
    if _tracing is not None:
        inner = _tracing.root(name, at, begun)
        Span(inner).set(attributes)
        inner.end(round(ended.timestamp() * 1e9))


def of_task(task: str) -> trace.Trace:
    """Give the trace of a task: the same each time, so that a crash doesn't part it in two."""
    digest = hashlib.sha256(f"tale task {task}".encode()).hexdigest()
    return trace.Trace(digest[:32], digest[32:48])
