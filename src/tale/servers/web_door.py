"""Who of those without a bearer token may use the gateway: the browser, with the user's session.

Pure. The page itself, its files and the way in are open: they tell nothing. What a session opens is
`/api/` alone, and only for the page's own origin, with the session's seal beside its cookie. That
the host is this machine was judged before. Above: `guard`. Below: `web_sessions`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from tale.servers.guard import Refusal
from tale.servers.web_sessions import Sessions

__all__ = ["COOKIE", "SEAL_HEADER", "WebDoor", "session_cookie"]

COOKIE: Final = "tale_session"
SEAL_HEADER: Final = "x-tale-seal"
_OPEN: Final = frozenset({"/", "/login", "/favicon.ico"})
_FILES: Final = "/web/"
_API: Final = "/api/"
_BEARER_ONLY: Final = frozenset({"/api/login-keys"})
_READS: Final = frozenset({"GET", "HEAD"})


class WebDoor:
    """Judges requests that carry no bearer token."""

    def __init__(self, token: str, now: Callable[[], float] = time.time) -> None:
        """Make one.

        Args:
            token: The bearer token, with which sessions are signed.
            now: Unix time in seconds.
        """
        self._sessions = Sessions(token, now)

    def __call__(self, scope: Scope, headers: Headers) -> Refusal | None:
        """Give why a request may not come in; None where it may."""
        path, method = str(scope["path"]), str(scope["method"])
        if method in _READS and (path in _OPEN or path.startswith(_FILES)):
            return None
        if not path.startswith(_API) or path in _BEARER_ONLY:
            return 401, "unauthorized", "The bearer token is missing or wrong."
        return _stranger(scope, headers) or self._outsider(headers)

    def _outsider(self, headers: Headers) -> Refusal | None:
        """Refuse who has no session, or doesn't know its seal."""
        cookie = session_cookie(headers)
        if not self._sessions.holds(cookie):
            return 401, "no_session", "There is no session, or it has ended."
        if not self._sessions.is_sealed(cookie, headers.get(SEAL_HEADER, "")):
            return 403, "no_seal", f"The header {SEAL_HEADER} of the page's session is missing."
        return None


def _stranger(scope: Scope, headers: Headers) -> Refusal | None:
    """Refuse pages of other origins; other ports of this machine are other programs' pages."""
    own = f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
    origin = headers.get("origin")
    # A browser leaves it out of its own page's reading only.
    if origin != own and (origin is not None or scope["method"] not in _READS):
        return 403, "forbidden_origin", f"Origin {origin!r} is not this page."
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return 403, "forbidden_origin", "Another page may not ask for this."
    return None


def session_cookie(headers: Headers) -> str:
    """Give the session's cookie; empty where there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
