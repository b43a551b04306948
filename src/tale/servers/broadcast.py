"""One stream of news for any number of readers, none of whom can hold it up.

The latest news are kept in a ring, numbered; a reader has only a place in it. Who falls out of the
ring, or comes from another process's stream, begins anew. Pure but for waiting. Above:
`overview_stream`. Beside: `tasks.progress`, which does this for one task's stored events.
"""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass
from typing import Final

import anyio

__all__ = ["Broadcast", "News"]

_KEPT: Final = 256
"""At one or two a second: some minutes, in which a connection is made again."""


@dataclass(frozen=True, slots=True)
class News:
    """One piece of news.

    Attributes:
        number: Grows by one with each.
        kind: The event's name.
        data: JSON.
    """

    number: int
    kind: str
    data: str


class Broadcast:
    """The ring."""

    def __init__(self, kept: int = _KEPT) -> None:
        """Begin with nothing told.

        Args:
            kept: How many of the latest are kept.
        """
        self._ring: deque[News] = deque(maxlen=kept)
        self._last = 0
        self._told = anyio.Event()
        self._closed = False
        # Numbers begin anew with each process; places of another one mean nothing here.
        self._name = secrets.token_hex(4)

    @property
    def last(self) -> int:
        """Number of the latest; 0 before the first."""
        return self._last

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    def tell(self, kind: str, data: str) -> None:
        """Add to the stream; never waits."""
        self._last += 1
        self._ring.append(News(self._last, kind, data))
        self._wake()

    def close(self) -> None:
        """End every reader's stream."""
        self._closed = True
        self._wake()

    def after(self, number: int) -> list[News] | None:
        """Give what came after a number, oldest first; None where some of it is gone."""
        if number > self._last:
            return None
        if number < self._last - len(self._ring):
            return None
        return [news for news in self._ring if news.number > number]

    async def wait(self, number: int) -> None:
        """Wait until something after a number was told, or the stream has ended."""
        while self._last <= number and not self._closed:
            await self._told.wait()

    def place(self, number: int) -> str:
        """Write a number down so that it means nothing to another process."""
        return f"{self._name}-{number}"

    def number(self, place: str) -> int | None:
        """Read it back; None where it isn't from here."""
        name, _, number = place.partition("-")
        return int(number) if name == self._name and number.isdecimal() else None

    def _wake(self) -> None:
        told, self._told = self._told, anyio.Event()
        told.set()
