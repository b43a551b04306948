"""The overview as server-sent events: all of it first, then what changes.

`overview` (an `Overview`), `changed` (a `Change`), `task` (an `Event` of any task, but for tokens).
Each has an id; whoever names the last one they have had (Last-Event-ID) reads on after it, or
begins anew where that is too long ago. Above: `web_api`. Below: `overview`, `broadcast`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import anyio

from tale.servers.overview import Overviews

__all__ = ["stream_overview"]

_HEARTBEAT: Final = ": still here\n\n"


async def stream_overview(
    overviews: Overviews, place: str = "", *, heartbeat: float
) -> AsyncGenerator[str]:
    """Stream the overview until the reader leaves or the server does.

    Args:
        overviews: What is streamed.
        place: The id of the last event that the reader has had; empty for none.
        heartbeat: Seconds of silence after which the stream shows that it lives.

    Raises:
        ServiceUnavailable: Too many read it already.
    """
    news = overviews.broadcast
    with overviews.watch():
        number = news.number(place)
        while not news.closed:
            told = None if number is None else news.after(number)
            if number is None or told is None:
                number, overview = await overviews.whole()
                yield _line("overview", news.place(number), overview.model_dump_json())
                continue
            for one in told:
                number = one.number
                yield _line(one.kind, news.place(number), one.data)
            if told:
                continue
            with anyio.move_on_after(heartbeat) as silence:
                await news.wait(number)
            if silence.cancelled_caught:
                yield _HEARTBEAT


def _line(kind: str, identity: str, data: str) -> str:
    return f"id: {identity}\nevent: {kind}\ndata: {data}\n\n"
