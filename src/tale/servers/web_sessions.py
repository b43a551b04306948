"""Who may use the page in the browser: one-time keys to log in with, and sessions.

A key is made for somebody who knows the bearer token, is good once and for a short time, and gives
a session. A session is kept nowhere but in the browser: it is signed with the token, so it outlives
a restart of the gateway, and ends with its time, or when the token is replaced. It has two parts.
The cookie alone is not enough: a browser sends it to every port of this machine, so whatever is
asked for must also name the session's seal, which only the page's own origin knows.

Above: `web_door`, which judges requests, and `web_page`, which logs in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

__all__ = ["KEY_SECONDS", "SESSION_SECONDS", "OneTimeKeys", "Session", "Sessions"]

KEY_SECONDS: Final = 120.0
"""How long a link may be opened."""
SESSION_SECONDS: Final = 12 * 3600.0
"""A working day; the next day begins with a new link."""
_MOST_KEYS: Final = 16
"""Keys that wait to be used; the oldest make room."""
_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's leave to use the page.

    Attributes:
        cookie: What the browser sends by itself.
        seal: What the page adds to everything that it asks for.
    """

    cookie: str = field(repr=False)
    seal: str = field(repr=False)


class OneTimeKeys:
    """The keys that wait to be used."""

    def __init__(self, now: Callable[[], float], seconds: float = KEY_SECONDS) -> None:
        """Begin with none.

        Args:
            now: Any clock that only goes forward.
            seconds: How long a key is good.
        """
        self._now = now
        self._seconds = seconds
        self._waiting: dict[bytes, float] = {}

    def make(self) -> str:
        """Make a key."""
        key = secrets.token_urlsafe(_BYTES)
        while len(self._waiting) >= _MOST_KEYS:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[_digest(key)] = self._now() + self._seconds
        return key

    def take(self, key: str) -> bool:
        """Use a key up; says whether it was good."""
        given, now = _digest(key), self._now()
        # Every one is compared, in constant time: how long it takes tells nothing.
        found = [known for known in self._waiting if hmac.compare_digest(known, given)]
        good = any(self._waiting[known] > now for known in found)
        self._waiting = {
            known: until
            for known, until in self._waiting.items()
            if until > now and known not in found
        }
        return good


class Sessions:
    """Makes sessions and knows them again."""

    def __init__(
        self, token: str, now: Callable[[], float], seconds: float = SESSION_SECONDS
    ) -> None:
        """Keep nothing but the key that signs.

        Args:
            token: The bearer token of the daemon.
            now: Unix time in seconds.
            seconds: How long a session lasts.
        """
        self._secret = hashlib.sha256(b"tale session\n" + token.encode()).digest()
        self._now = now
        self._seconds = seconds

    def begin(self) -> Session:
        """Begin a session."""
        name = f"{secrets.token_urlsafe(16)}.{int(self._now() + self._seconds)}"
        return Session(f"{name}.{self._sign('cookie', name)}", self._sign("seal", name))

    def holds(self, cookie: str) -> bool:
        """Say whether a cookie is ours, and its session has not ended."""
        return bool(self._name(cookie))

    def is_sealed(self, cookie: str, seal: str) -> bool:
        """Say whether a session holds and this is its seal."""
        name = self._name(cookie)
        return bool(name) and hmac.compare_digest(
            self._sign("seal", name).encode(), seal.encode(errors="replace")
        )

    def _name(self, cookie: str) -> str:
        """Take the signature off a cookie; empty where it doesn't hold."""
        name, _, given = cookie.rpartition(".")
        wanted = self._sign("cookie", name).encode()
        if not hmac.compare_digest(wanted, given.encode(errors="replace")):
            return ""
        return name if int(name.rpartition(".")[2]) > self._now() else ""

    def _sign(self, what: str, name: str) -> str:
        text = f"{what}\n{name}".encode(errors="replace")
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
