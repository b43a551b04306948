"""The page in the browser and the way into it: `/`, its files under `/web/`, and `/login`.

The files are as they stand in the package's folder `web`; nothing is built, and nothing in them is
secret. Above: a browser. Beside: `web_api`, which the page asks. Below: `web_sessions`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tale.servers.web_door import COOKIE
from tale.servers.web_sessions import SESSION_SECONDS, OneTimeKeys, Sessions

__all__ = ["WebPage"]

_KINDS: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_PAGE: Final = "index.html"
_ICON: Final = "icon.svg"
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # After an upgrade the next load has the new files; unchanged ones are not sent again (ETag).
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    kind: str
    tag: str


class WebPage:
    """The routes."""

    def __init__(self, keys: OneTimeKeys, sessions: Sessions) -> None:
        """Read nothing yet.

        Args:
            keys: With which browsers log in.
            sessions: What they get for it.
        """
        self._keys = keys
        self._sessions = sessions
        self._files: dict[str, _File] = {}

    def routes(self) -> list[Route]:
        """Give them."""
        return [
            Route("/", self.page),
            Route("/favicon.ico", self.icon),
            Route("/web/{name}", self.file),
            Route("/login", self.login),
        ]

    async def page(self, request: Request) -> Response:
        """Give the page; it asks for everything else by itself."""
        return self._given(request, _PAGE)

    async def icon(self, request: Request) -> Response:
        """Give the icon."""
        return self._given(request, _ICON)

    async def file(self, request: Request) -> Response:
        """Give one of its files."""
        return self._given(request, request.path_params["name"])

    async def login(self, request: Request) -> Response:
        """Log a browser in whose user has a link; the key is used up by that."""
        # A browser that loads a page ahead of a click must not use the link up, nor may HEAD.
        ahead = request.headers.get("sec-purpose", request.headers.get("purpose", ""))
        if "prefetch" in ahead or request.method != "GET":
            return Response(status_code=425, headers=_HEADERS)
        if not self._keys.take(request.query_params.get("key", "")):
            return self._given(request, _PAGE, 403)
        session = self._sessions.begin()
        # What follows the # is never sent anywhere; the page takes it out of the address at once.
        answer = RedirectResponse(f"/#seal={session.seal}", 303, _HEADERS)
        answer.headers["Cache-Control"] = "no-store"
        answer.set_cookie(
            COOKIE, session.cookie, max_age=int(SESSION_SECONDS), httponly=True, samesite="strict"
        )
        return answer

    def _given(self, request: Request, name: str, status: int = 200) -> Response:
        if not self._files:
            self._files = _read_files()
        file = self._files.get(name)
        if file is None:
            return Response("There is no such file.\n", 404, _HEADERS, media_type="text/plain")
        headers = {**_HEADERS, "ETag": file.tag}
        if status == 200 and file.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.content, status, headers, media_type=file.kind)


def _read_files() -> dict[str, _File]:
    found: dict[str, _File] = {}
    for entry in (files("tale.servers") / "web").iterdir():
        kind = _KINDS.get(entry.name.rpartition(".")[2])
        if kind and entry.is_file():
            content = entry.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            found[entry.name] = _File(content, kind, tag)
    return found
