"""Remembers what came of tasks: follows those that end, and notes each.

The notes of some results and the number of the last of them are one transaction, so that a crash
makes none be noted twice, and none be left out; and what was forgotten since does not come back.
Where the turn that asked for a task was forgotten, nothing is noted of it. Above: `servers.ux` runs
it. Below: `results` (in which words), `notes`, and the gateway as `Results`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import anyio
from sqlalchemy import Connection, insert, select, update

from tale.errors import TaleError
from tale.memory.notes import Draft, Origin, add_note
from tale.memory.results import Result, ResultPage, Results, asked_in, in_words
from tale.storage.database import Database
from tale.storage.schema import followed, sessions, turns
from tale.telemetry import get_logger

__all__ = ["Remembering"]

log = get_logger(__name__)

_RESULTS: Final = "results"
_WAIT_SECONDS: Final = 45.0
"""How long one call waits for a task to end; nothing is missed between two of them."""
_PAUSE_SECONDS: Final = (1.0, 60.0)
"""First and longest pause where nobody tells; in between it doubles."""
_IMPORTANCE: Final = {"done": 0.5, "failed": 0.3, "cancelled": 0.2}


class Remembering:
    """Follows the results of tasks."""

    def __init__(
        self,
        database: Database,
        tasks: Results,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Make it.

        Args:
            database: Where notes are, and how far it came.
            tasks: Who tells the results.
            now: The time, for when something was noted.
            pause: Waits.
        """
        self._database = database
        self._tasks = tasks
        self._now = now
        self._pause = pause

    async def run(self) -> None:
        """Note what has come since, then what comes, until cancelled."""
        seconds, longest = _PAUSE_SECONDS
        while True:
            try:
                noted = await self._step()
            except TaleError as error:
                log.info("results.waiting", code=error.code, reason=error.message)
                await self._pause(seconds)
                seconds = min(2 * seconds, longest)
            else:
                seconds = _PAUSE_SECONDS[0]
                if not noted:  # a gateway that is stopping lets nobody wait
                    await self._pause(seconds)

    async def _step(self) -> bool:
        """Take in the next results; False where there are none."""
        before = await self._database.read(_through)
        page = await self._tasks.results(before, _WAIT_SECONDS)
        if page.through <= before:
            return False
        at = self._now()
        noted = await self._database.write(
            lambda connection: _take_in(connection, page, before, at)
        )
        log.info("results.noted", through=page.through, notes=noted)
        return True


def _through(connection: Connection) -> int:
    query = select(followed.c.through).where(followed.c.what == _RESULTS).with_for_update()
    return connection.scalar(query) or 0


def _take_in(connection: Connection, page: ResultPage, before: int, at: datetime) -> int:
    """Note results and how far they go; nothing where another process did so meanwhile."""
    if _through(connection) != before:
        return 0
    noted = sum(_note(connection, one, at) for one in page.results)
    mark = {"what": _RESULTS, "through": page.through}
    changed = connection.execute(
        update(followed).where(followed.c.what == _RESULTS).values(through=page.through)
    )
    if not changed.rowcount:
        connection.execute(insert(followed).values(mark))
    return noted


def _note(connection: Connection, result: Result, at: datetime) -> bool:
    session, asked = result.session, asked_in(result)
    if session is not None:
        there = select(sessions.c.id).where(sessions.c.id == session)
        if asked is not None:
            there = select(turns.c.seq).where(turns.c.session == session, turns.c.seq == asked)
        if connection.scalar(there) is None:
            if asked is not None:
                log.info("results.passed_over", task=result.task, reason="its turn was forgotten")
                return False
            session = None  # somebody else's conversation
    origin = Origin("task", result.at, session, () if asked is None else (asked,), result.task)
    draft = Draft("fact", in_words(result), _IMPORTANCE[result.state])
    add_note(connection, draft, origin, at)
    return True
