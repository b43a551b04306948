"""The door of every HTTP server: who may come in.

Pure ASGI, in front of the application. A request must name a loopback host (against DNS
rebinding), come from no foreign page (Origin), and carry the bearer token; `/healthz` is open. A
server may let in others who carry no token by a further judge: the gateway has `web_door`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Guard", "Judge", "Refusal", "refusal"]

Refusal = tuple[int, str, str]
"""HTTP status, error code and message."""
Judge = Callable[[Scope, Headers], Refusal | None]
"""Says why a request of this machine without a token is refused; None lets it in."""

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def refusal(headers: Headers, token: str) -> Refusal | None:
    """Judge a request by its headers; None where it may come in."""
    if not _is_loopback("//" + headers.get("host", "")):
        return 403, "forbidden_host", f"Host {headers.get('host', '')!r} is not this machine."
    origin = headers.get("origin")
    if origin is not None and not _is_loopback(origin):
        return 403, "forbidden_origin", f"Origin {origin!r} may not use this server."
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), token.encode()):
        return 401, "unauthorized", "The bearer token is missing or wrong."
    return None


def _is_loopback(url: str) -> bool:
    try:
        return urlsplit(url).hostname in _LOOPBACK
    except ValueError:
        return False


class Guard:
    """Wraps an application; refuses with an error body of OpenAI's shape."""

    def __init__(self, app: ASGIApp, token: str, further: Judge | None = None) -> None:
        """Wrap one.

        Args:
            app: The application.
            token: The bearer token.
            further: Judges who carries no token; without it, they are refused.
        """
        self._app = app
        self._token = token
        self._further = further

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == "/healthz":
            await _answer(send, 200, {"status": "ok"})
            return
        headers = Headers(scope=scope)
        judged = refusal(headers, self._token)
        if judged and judged[0] == 401 and self._further:
            judged = self._further(scope, headers)
        if judged:
            status, code, message = judged
            hint = "The token of the running daemon is in its runtime file: `tale config path`."
            error = {"message": message, "type": "invalid_request_error", "param": None}
            await _answer(send, status, {"error": {**error, "code": code, "hint": hint}})
            return
        await self._app(scope, receive, send)


async def _answer(send: Send, status: int, body: object) -> None:
    payload = orjson.dumps(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(payload))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})
