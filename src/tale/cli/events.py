"""A task's events, from the gateway's stream, across whatever breaks in between.

The gateway stores events and numbers them without gaps; only `token` events are not stored. The
stream is asked for from the last number seen, so that after a restart of the gateway nothing is
missing and nothing comes twice; of the tokens, those of the outage are lost, and the final event
has the whole answer. Above: `follow`, `chat`. Below: `connection`, `transport`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from urllib.parse import urlencode

from tale.cli.connection import Connection
from tale.cli.record import Record
from tale.cli.transport import Broken, NotSent, exchange, sse_data
from tale.cli.views import Event
from tale.errors import DaemonUnreachable

__all__ = ["events_of"]

_LIVE = {"token", "progress"}
"""Kinds that are not stored; their number is that of the event before."""
_FRUITLESS_ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.05
_GATEWAY_GONE = "The gateway is gone; it is waited for."
_DAEMON_GONE = "The daemon is gone; `tale serve` brings it back, and the task goes on then."
_BACK = "It is back."


def _ignore(text: str) -> None:
    del text


def events_of(
    connection: Connection,
    task: str,
    *,
    after: int = 0,
    progress: bool = False,
    on_gap: Callable[[str], None] = _ignore,
    patience: float = 0.0,
) -> Generator[Event]:
    """Follow a task to its final event.

    Args:
        connection: The daemon.
        task: Its id.
        after: Number of the last event that is known already.
        progress: Whether to be told how far it is in between.
        on_gap: Told when the stream has broken off, and when it goes on.
        patience: Seconds for which a daemon that was stopped is waited for.

    Raises:
        TaskNotFound: There is no such task.
        DaemonUnreachable: The daemon was stopped meanwhile.
        WireError: The gateway broke off again and again without a new event.
    """
    last, fruitless = after, 0
    gap = _Gap(on_gap, patience)
    while True:
        heard = False
        try:
            for event in _stream(connection, task, last, progress=progress):
                gap.end()
                if event.kind not in _LIVE:
                    if event.seq <= last:
                        continue
                    last = event.seq
                # How far it is says nothing of whether the task goes on.
                heard = heard or event.kind != "progress"
                yield event
                if event.is_final:
                    return
        except (NotSent, Broken):
            if not heard and fruitless >= _FRUITLESS_ATTEMPTS:
                raise
            gap.begin(_GATEWAY_GONE)
        except DaemonUnreachable:
            if not gap.may_last():
                raise
            fruitless = 0
            gap.begin(_DAEMON_GONE)
        # The supervisor tells when the gateway is ready again; the pause is for a gateway that is
        # ready and breaks off all the same, and for a daemon that is not there.
        fruitless = 0 if heard else fruitless + 1
        time.sleep(_FIRST_PAUSE_SECONDS * 2**fruitless)


class _Gap:
    """A time in which nothing is heard of a task, and who is told of it."""

    def __init__(self, tell: Callable[[str], None], patience: float) -> None:
        self._tell = tell
        self._patience = patience
        self._since: float | None = None
        self._why = ""

    def begin(self, why: str) -> None:
        """Say what is missing, once."""
        if self._since is None:
            self._since = time.monotonic()
        if why != self._why:
            self._why = why
            self._tell(why)

    def end(self) -> None:
        """Say that it is over, if there was one."""
        if self._since is not None:
            self._since, self._why = None, ""
            self._tell(_BACK)

    def may_last(self) -> bool:
        """Tell whether it is worth waiting on."""
        since = self._since if self._since is not None else time.monotonic()
        return self._patience > 0 and time.monotonic() - since <= self._patience


def _stream(connection: Connection, task: str, after: int, *, progress: bool) -> Iterator[Event]:
    query = urlencode({"task": task, "after": after, **({"progress": 1} if progress else {})})
    url = f"{connection.url_of('gateway')}/api/events?{query}"
    with exchange(
        "GET", url, token=connection.runtime().token, headers={"Accept": "text/event-stream"}
    ) as response:
        for text in sse_data(response):
            try:
                yield Event.read(Record.parse(text))
            except ValueError as error:
                raise Broken(f"{url} sent an event that is not JSON.") from error
    raise Broken(f"{url} ended before the task did.")
