"""`/mcp` of the models server, built when somebody first speaks MCP.

The SDK costs more than a second and some 60 MB to import, and tale itself reaches the models by
HTTP alone; so only who uses it pays, and models load undisturbed. Until it is there, requests wait
a little and are then told when to come again. Above: `model_app`. Below: `model_tools`.
"""

from __future__ import annotations

import importlib
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, cast

import anyio
import anyio.abc
import anyio.to_thread

from tale.errors import ServiceUnavailable
from tale.models.model_pool import ModelPool
from tale.servers.openai_sse import error_body
from tale.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette
    from starlette.types import Receive, Scope, Send

__all__ = ["LazyMcp"]

log = get_logger(__name__)

_MODULE: Final = "tale.servers.model_tools"
_WAIT_SECONDS: Final = 10.0


class LazyMcp:
    """An ASGI application that comes into being on its first request. Enter it before use."""

    def __init__(self, pool: ModelPool, *, wait_seconds: float = _WAIT_SECONDS) -> None:
        """Describe it.

        Args:
            pool: What the tools work on.
            wait_seconds: How long a request waits for the SDK.
        """
        self._pool = pool
        self._wait_seconds = wait_seconds
        self._wanted = anyio.Event()
        self._there = anyio.Event()
        self._app: Starlette | None = None
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._run)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._tasks is None:
            return None
        self._tasks.cancel_scope.cancel()
        return await self._tasks.__aexit__(kind, error, traceback)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, once there is something to serve it."""
        self._wanted.set()
        with anyio.move_on_after(self._wait_seconds):
            await self._there.wait()
        if self._app is not None:
            await self._app(scope, receive, send)
            return
        body = error_body(ServiceUnavailable("MCP is not ready here yet.", hint="Ask again soon."))
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"2")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _run(self) -> None:
        await self._wanted.wait()
        module = await anyio.to_thread.run_sync(importlib.import_module, _MODULE)
        build = cast("Callable[[ModelPool], Starlette]", module.build_model_tools)
        app = build(self._pool)
        async with app.router.lifespan_context(app):
            self._app = app
            self._there.set()
            log.info("mcp.ready")
            await anyio.sleep_forever()
