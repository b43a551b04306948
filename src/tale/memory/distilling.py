"""Distils notes from conversations in the background, while the model has nothing to do.

Each conversation has a mark of how far it was gone through. Notes and the mark that says so are one
transaction, so that a crash makes nothing be noted twice, and nothing be left out. Who waits for an
answer never waits for this: a model that is needed answers no request of ours, and a conversation
is left alone until it rests. Above: `servers.ux` runs it. Below: `distil` (decides), `notes`,
`models.caller`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import anyio
from sqlalchemy import Connection, func, insert, select, update

from tale.errors import ModelError, TaleError
from tale.memory.distil import Proposed, batch, proposals_in, request_for, worth_distilling
from tale.memory.notes import Origin, add_note
from tale.memory.turns import Turn, turn_of
from tale.models.backend import Role
from tale.models.caller import SpareTime
from tale.storage.database import Database
from tale.storage.schema import distilled, sessions, turns
from tale.telemetry import get_logger

__all__ = ["Distilling"]

log = get_logger(__name__)

_ROLE: Final[Role] = "ux"
_QUIET_SECONDS: Final = 20.0
"""A conversation goes on within that time, or rests."""
_PAUSE_SECONDS: Final = (5.0, 300.0)
"""First and longest pause where somebody else needs the model; in between it doubles."""
_DEADLINE_SECONDS: Final = 120.0
_READ_AT_ONCE: Final = 40
"""Turns; more than one batch never has."""


_Outcome = Literal["done", "no time", "nothing left"]


@dataclass(frozen=True, slots=True)
class _Due:
    """Turns that were not gone through; `after` is the mark at which they begin."""

    session: str
    after: int
    turns: Sequence[Turn]


class Distilling:
    """Goes through what was said, oldest turns of the last used conversation first."""

    def __init__(
        self,
        database: Database,
        models: SpareTime,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Make it.

        Args:
            database: Where turns and notes are.
            models: Who is asked.
            now: The time, for when something was noted.
            pause: Waits.
        """
        self._database = database
        self._models = models
        self._now = now
        self._pause = pause
        self._stirred = anyio.Event()
        self._talks = 0
        self._failed: tuple[str, int] | None = None

    def said(self) -> None:
        """Hear that there is something new, and that a conversation is under way."""
        self._talks += 1
        self._stirred.set()

    async def run(self) -> None:
        """Distil until cancelled; what a crash left is taken up, too."""
        seconds, longest = _PAUSE_SECONDS
        rested = -1
        while True:
            while rested != self._talks:
                rested = self._talks
                await self._pause(_QUIET_SECONDS)
            self._stirred = anyio.Event()
            try:
                outcome = await self._step()
            except TaleError as error:
                log.info("distilling.waits", code=error.code, reason=error.message)
                outcome = "no time"
            if outcome == "no time":
                await self._pause(seconds)
                seconds = min(2 * seconds, longest)
                continue
            seconds = _PAUSE_SECONDS[0]
            if outcome == "nothing left" and rested == self._talks:
                await self._stirred.wait()

    async def _step(self) -> _Outcome:
        """Go through one batch.

        Raises:
            TaleError: Nobody is there to ask, or nothing can be stored.
        """
        due = await self._database.read(_next)
        if due is None:
            return "nothing left"
        found: Sequence[Proposed] = ()
        if worth_distilling(due.turns):
            answer = await self._ask(due)
            if answer is None:
                return "no time"
            found = proposals_in(answer, due.turns)
        at = self._now()
        noted = await self._database.write(lambda connection: _record(connection, due, found, at))
        log.info("distilling.done", session=due.session, turns=len(due.turns), notes=noted)
        return "done"

    async def _ask(self, due: _Due) -> str | None:
        """Have the model look for notes; nothing where it has failed on the same turns before."""
        try:
            return await self._models.in_spare_time(
                request_for(due.turns), _ROLE, _DEADLINE_SECONDS
            )
        except ModelError as error:
            this = (due.session, due.after)
            again, self._failed = self._failed == this, this
            if not again:
                raise
            # What comes behind would never be reached.
            log.warning("distilling.passed_over", session=due.session, reason=error.message)
            return ""


def _next(connection: Connection) -> _Due | None:
    """Give the next turns to go through, those first that were said last."""
    through = func.coalesce(distilled.c.through, 0)
    left = (
        select(sessions.c.id, through.label("through"))
        .outerjoin(distilled, distilled.c.session == sessions.c.id)
        .where(sessions.c.turns > through)
        .order_by(sessions.c.updated.desc())
        .limit(1)
    )
    row = connection.execute(left).one_or_none()
    if row is None:
        return None
    session, after = row
    query = select(turns).where(turns.c.session == session, turns.c.seq > after)
    rows = connection.execute(query.order_by(turns.c.seq).limit(_READ_AT_ONCE)).mappings()
    return _Due(session, after, batch([turn_of(row) for row in rows]))


def _record(connection: Connection, due: _Due, found: Sequence[Proposed], at: datetime) -> int:
    """Record notes and the mark; nothing where the turns were forgotten meanwhile."""
    known = connection.scalar(
        select(sessions.c.turns).where(sessions.c.id == due.session).with_for_update()
    )
    mark = connection.scalar(select(distilled.c.through).where(distilled.c.session == due.session))
    if known is None or (mark or 0) != due.after:
        return 0
    there = set(
        connection.scalars(
            select(turns.c.seq).where(turns.c.session == due.session, turns.c.seq > due.after)
        )
    )
    said = {turn.seq: turn.at for turn in due.turns}
    noted = 0
    for one in found:
        if there.issuperset(one.turns):
            origin = Origin("conversation", said[one.turns[-1]], due.session, one.turns)
            noted += add_note(connection, one.draft, origin, at).turns == one.turns
    # Turns that were forgotten leave a gap, at the end, too: nothing is to come there any more.
    through = due.turns[-1].seq if due.turns else known
    if mark is None:
        connection.execute(insert(distilled).values(session=due.session, through=through))
    else:
        connection.execute(
            update(distilled).where(distilled.c.session == due.session).values(through=through)
        )
    return noted
