"""MCP's standing stream, which ends when its server is told to leave.

Clients of the revisions up to 2025-11-25 keep a `GET /mcp` open, on which a server could say
something outside of any call. The SDK ends it with the session only, so that a server with such a
client would wait out the whole of its time to drain. Pure ASGI. Above: `runner`. Below: the
application, whose calls under way are let finish.
"""

from __future__ import annotations

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Standing"]

_PATH = "/mcp"


class Standing:
    """Wraps an application."""

    def __init__(self, app: ASGIApp, stopping: anyio.Event) -> None:
        """Wrap one.

        Args:
            app: The application.
            stopping: Is set when its server is told to leave.
        """
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == _PATH:
            await self._until_stopping(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _until_stopping(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = ended = left = False

        async def tell(message: Message) -> None:
            nonlocal begun, ended
            begun = True
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        async def leave() -> None:
            nonlocal left
            await self._stopping.wait()
            left = True
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave)
            await self._app(scope, receive, tell)
            tasks.cancel_scope.cancel()
        if left and not begun:
            await send({"type": "http.response.start", "status": 503, "headers": []})
        if left and not ended:
            await send({"type": "http.response.body", "body": b""})
