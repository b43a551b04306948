"""One task's events as server-sent events, with how far it is in between.

Stored events and tokens come as they happen. Who asks for it also gets `progress`, before stored
events and about once a second: computed, not stored, and so numbered like the event before
it. Above: `gateway`. Below: `tasks.progress` (what happens), `tasks.watching` (how far it is).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Final

import anyio

from tale.tasks.outlook import Outlook, PartOutlook
from tale.tasks.progress import ProgressHub
from tale.tasks.store import utc_now
from tale.tasks.task import ENDED, TaskEvent
from tale.tasks.watching import Watching
from tale.tasks.words import in_words
from tale.wire.contracts import (
    EtaView,
    Event,
    PartView,
    PlanningView,
    ProgressView,
)

__all__ = ["stream_events", "write_outlook", "write_planning"]

_HEARTBEAT: Final = ": still here\n\n"
_PULSE: Final = 1.0
"""Seconds between two words on how far a task is."""
_SOON: Final = 0.1
"""The same where something was recorded: hundreds of events that are told anew cost no more."""


async def stream_events(
    hub: ProgressHub,
    task: str,
    after: int,
    *,
    heartbeat: float,
    watching: Watching | None = None,
) -> AsyncGenerator[str]:
    """Stream what happens to a task after event `after`, to its end.

    Args:
        hub: Tells the events.
        task: Its id.
        after: Number of the last event that is known.
        heartbeat: Seconds of silence after which the stream shows that it lives.
        watching: Tells how far the task is; None leaves that out.
    """
    shown: ProgressView | None = None
    last, heard, told = after, anyio.current_time(), -_PULSE
    with hub.subscribe(task, after) as events:
        while True:
            event: TaskEvent | None = None
            silent = True
            with anyio.move_on_after(min(heartbeat, _PULSE) if watching else heartbeat):
                event = await anext(events, None)
                silent = False
            if event is None and not silent:
                return
            now = anyio.current_time()
            if watching and now - told >= _pause_before(event):
                progress, told = (
                    write_outlook(await watching.of(task, event.seq if event else last)),
                    now,
                )
                if progress != shown:
                    shown, heard = progress, now
                    yield _line(task, last, utc_now(), "progress", progress.model_dump())
            if event is not None:
                last, heard = event.seq, now
                yield _line(task, event.seq, event.at, event.kind, dict(event.data))
            elif now - heard >= heartbeat:
                heard = now
                yield _HEARTBEAT


def _pause_before(event: TaskEvent | None) -> float:
    """Give the seconds that have to be between the last word on how far it is and the next."""
    if event is None or event.kind == "token":
        return _PULSE
    return 0.0 if event.kind in ENDED else _SOON


def write_outlook(shown: Outlook) -> ProgressView:
    """Put an outlook on the wire."""
    left = shown.eta
    return ProgressView(
        state=shown.state,
        percent=shown.percent,
        setback=shown.setback,
        elapsed=round(shown.elapsed, 1),
        eta=EtaView(
            median=round(left.median, 1),
            low=round(left.low, 1),
            high=round(left.high, 1),
            why=left.why,
        )
        if left
        else None,
        speed=round(shown.speed, 1) if shown.speed else None,
        tokens=shown.tokens,
        doing=shown.doing,
        tool=shown.tool,
        question=shown.question,
        parts=tuple(map(_part, shown.parts)),
        words=in_words(shown),
    )


def write_planning(shown: Outlook, *, reasoning: bool) -> tuple[PlanningView, ...]:
    """Put on the wire how a plan was made and changed; with `reasoning`, what was thought."""
    return tuple(
        PlanningView(
            why=one.why if reasoning else "",
            changes=one.changes,
            used=one.used,
            notes=one.notes,
            seconds=dict(one.seconds),
            remembered=one.remembered,
        )
        for one in shown.facts
    )


def _part(shown: PartOutlook) -> PartView:
    part = shown.part
    return PartView(
        id=part.id,
        title=shown.title,
        state=part.state,
        kind=part.kind,
        depends_on=part.depends_on,
        percent=shown.percent,
        elapsed=round(shown.elapsed, 1),
        expected=round(shown.expected, 1),
        tokens=part.tokens,
        holds=part.holds,
        check=part.check,
        reads=part.reads,
        writes=part.writes,
        acceptance=part.acceptance,
        size=part.size,
        priority=part.priority,
    )


def _line(task: str, seq: int, at: datetime, kind: str, data: dict[str, object]) -> str:
    shown = Event(task=task, seq=seq, at=at, kind=kind, data=data)
    return f"id: {seq}\nevent: {kind}\ndata: {shown.model_dump_json()}\n\n"
