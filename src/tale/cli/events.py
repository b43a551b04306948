"""A task's events, from the gateway's stream, across whatever breaks in between.

The gateway stores events and numbers them without gaps; only `token` events are not stored. The
stream is asked for from the last number seen, so that after a restart of the gateway nothing is
missing and nothing comes twice; of the tokens, those of the outage are lost, and the final event
has the whole answer. Above: `follow`, `chat`. Below: `connection`, `transport`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlencode

from tale.cli.connection import Connection
from tale.cli.record import Record
from tale.cli.transport import Broken, NotSent, exchange, sse_data
from tale.cli.views import Event

__all__ = ["events_of"]

_TOKEN = "token"  # noqa: S105 - a kind of event
_FRUITLESS_ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.05


def events_of(connection: Connection, task: str, *, after: int = 0) -> Iterator[Event]:
    """Follow a task to its final event.

    Args:
        connection: The daemon.
        task: Its id.
        after: Number of the last event that is known already.

    Raises:
        TaskNotFound: There is no such task.
        DaemonUnreachable: The daemon was stopped meanwhile.
        WireError: The gateway broke off again and again without a new event.
    """
    last, fruitless = after, 0
    while True:
        heard = False
        try:
            for event in _stream(connection, task, last):
                if event.kind != _TOKEN:
                    if event.seq <= last:
                        continue
                    last = event.seq
                heard = True
                yield event
                if event.is_final:
                    return
        except (NotSent, Broken):
            if not heard and fruitless >= _FRUITLESS_ATTEMPTS:
                raise
        # The supervisor tells when the gateway is ready again; the pause is for a gateway that is
        # ready and breaks off all the same.
        fruitless = 0 if heard else fruitless + 1
        time.sleep(_FIRST_PAUSE_SECONDS * 2**fruitless)


def _stream(connection: Connection, task: str, after: int) -> Iterator[Event]:
    query = urlencode({"task": task, "after": after})
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
