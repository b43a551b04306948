"""What every server shows of itself, and the trace that each of its requests belongs to.

Pure ASGI, behind the guard and in front of the application: `/metrics` for Prometheus, `/wire` for
`tale status --wire`; every other request enters its caller's trace and carries where calls are
counted. Above: `runner`. Below: `exposition`, which is loaded when somebody first asks.
"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, cast

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from tale import trace
from tale.wire.metrics import METRICS_KEY, WireMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tale.wire.figures import Figure

    _Expose = Callable[[WireMetrics, Sequence[Figure], str], tuple[bytes, str]]

__all__ = ["Observed"]

_TRACEPARENT = trace.TRACEPARENT.encode()


class Observed:
    """Wraps an application."""

    def __init__(self, app: ASGIApp, metrics: WireMetrics) -> None:
        """Wrap one.

        Args:
            app: The application.
            metrics: Where this process counts its calls.
        """
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        given = next((value for name, value in headers if name == _TRACEPARENT), b"")
        trace.enter(given.decode("latin-1"))
        if scope["path"] == "/metrics":
            accept = b",".join(value for name, value in headers if name == b"accept")
            await _answer(send, *await self._exposed(accept.decode("latin-1")))
        elif scope["path"] == "/wire":
            await _answer(send, self._wire(), "application/json")
        else:
            scope.setdefault("state", {})[METRICS_KEY] = self._metrics
            await self._app(scope, receive, send)

    def _wire(self) -> bytes:
        now = time.monotonic()
        return orjson.dumps(
            {
                "made": self._metrics.made.view(now),
                "served": self._metrics.served.view(now),
                "instances": self._metrics.instances(),
            }
        )

    async def _exposed(self, accept: str) -> tuple[bytes, str]:
        further = await self._metrics.further()
        module = importlib.import_module("tale.servers.exposition")
        expose = cast("_Expose", module.expose)
        return expose(self._metrics, further, accept)


async def _answer(send: Send, body: bytes, content_type: str) -> None:
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
