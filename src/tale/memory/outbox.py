"""The outbox: work that was promised while the gateway was away, kept until it has it.

What is kept survives the ux server, goes to the gateway oldest first, and becomes one task however
often it is delivered, because its key names the submission. The turn that told the user that it is
kept gets the task's id. Only the ux server writes here. Above: `conversation`, which keeps work,
and `servers.ux`, which runs `deliver`. Below: `storage.database`, `turns`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import anyio
from sqlalchemy import Connection, RowMapping, insert, select, update

from tale.errors import (
    InvalidRequest,
    SessionNotFound,
    StorageError,
    TaleError,
    TaskError,
    WireError,
)
from tale.memory.exchange import TaskTaker, Work
from tale.memory.turns import NewTurn, Turn, add_turn
from tale.storage.database import Database, storable
from tale.storage.schema import outbox, turns
from tale.telemetry import get_logger

__all__ = ["Keeper", "Outbox", "Waiting", "deliver", "is_passing"]

log = get_logger(__name__)

_WAITS: Final = outbox.c.task.is_(None) & outbox.c.refusal.is_(None)
_PAUSE_SECONDS: Final = (0.5, 10.0)
"""First and longest pause after a delivery that failed; in between it doubles."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Work that waits; `turn` is the number of the turn that told the user so."""

    work: Work
    turn: int


class Keeper(Protocol):
    """Who keeps work; see `Outbox`."""

    async def keep(self, work: Work, told: NewTurn) -> Turn:
        """Record work together with the turn that tells the user of it."""
        ...


class Outbox:
    """The one place that reads and writes kept work."""

    def __init__(
        self, database: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._now = now
        self._changed = anyio.Event()

    async def keep(self, work: Work, told: NewTurn) -> Turn:
        """Record work together with the turn that tells the user of it; both are durable on return.

        Raises:
            StorageError: It can't be kept.
        """
        at = self._now()

        def record(connection: Connection) -> Turn:
            turn = add_turn(connection, work.session, told, at)
            connection.execute(
                insert(outbox).values(
                    key=work.key,
                    session=work.session,
                    turn=turn.seq,
                    text=storable(work.text),
                    workspace=work.workspace,
                    kept=at,
                )
            )
            return turn

        turn = await self._database.write(record)
        self._announce()
        return turn

    async def oldest(self) -> Waiting:
        """Give the work that is to be delivered next; waits until there is some."""
        query = select(outbox).where(_WAITS).order_by(outbox.c.id).limit(1)
        while True:
            changed = self._changed
            row = await self._database.read(
                lambda connection: connection.execute(query).mappings().one_or_none()
            )
            if row is not None:
                return _waiting(row)
            await changed.wait()

    async def delivered(self, waiting: Waiting, task: str) -> None:
        """Record that work became a task."""

        def record(connection: Connection) -> None:
            _settle(connection, waiting, task=task)
            told = (turns.c.session == waiting.work.session) & (turns.c.seq == waiting.turn)
            connection.execute(update(turns).where(told).values(task=task))

        await self._database.write(record)
        self._announce()

    async def refused(self, waiting: Waiting, why: str) -> None:
        """Record that work will never become a task, and tell the user in the conversation."""
        at = self._now()

        def record(connection: Connection) -> None:
            _settle(connection, waiting, refusal=storable(why))
            with suppress(SessionNotFound):  # it was forgotten meanwhile
                add_turn(connection, waiting.work.session, NewTurn("assistant", why), at)

        await self._database.write(record)
        self._announce()

    async def task_of(self, key: str) -> str:
        """Wait until kept work has become a task, and give its id.

        Raises:
            TaskError: No such work is kept, or the gateway refused it.
        """
        query = select(outbox).where(outbox.c.key == key)
        while True:
            changed = self._changed
            row = await self._database.read(
                lambda connection: connection.execute(query).mappings().one_or_none()
            )
            if row is None:
                raise TaskError(f"No work {key!r} was kept.", hint="`tale tasks` lists the tasks.")
            if row["refusal"] is not None:
                raise TaskError(row["refusal"])
            if row["task"] is not None:
                return row["task"]
            await changed.wait()

    def _announce(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


async def deliver(
    outbox: Outbox,
    gateway: TaskTaker,
    *,
    pause: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> None:
    """Hand kept work over, oldest first, until cancelled.

    Args:
        outbox: What is kept.
        gateway: Who takes it; may wait until it is back.
        pause: Waits before another try.
    """
    seconds, longest = _PAUSE_SECONDS
    while True:
        try:
            await _deliver_one(outbox, gateway)
        except TaleError as error:
            log.warning("outbox.waiting", code=error.code, reason=error.message)
            await pause(seconds)
            seconds = min(2 * seconds, longest)
        else:
            seconds = _PAUSE_SECONDS[0]


def is_passing(error: TaleError) -> bool:
    """Tell whether work may be taken later, from that it never will be."""
    return isinstance(error, (WireError, StorageError)) and not isinstance(error, InvalidRequest)


async def _deliver_one(outbox: Outbox, gateway: TaskTaker) -> None:
    waiting = await outbox.oldest()
    try:
        task = await gateway.submit(waiting.work)
    except TaleError as error:
        if is_passing(error):
            raise
        log.warning("outbox.refused", key=waiting.work.key, reason=error.message)
        await outbox.refused(waiting, f"The work that was kept could not be started. {error}")
    else:
        log.info("outbox.delivered", key=waiting.work.key, task=task)
        await outbox.delivered(waiting, task)


def _settle(connection: Connection, waiting: Waiting, **became: str) -> None:
    # Its conversation may have been forgotten, and then nobody would take the text out any more.
    settled = {"text": "", "workspace": None, **became}
    connection.execute(update(outbox).where(outbox.c.key == waiting.work.key).values(settled))


def _waiting(row: RowMapping) -> Waiting:
    work = Work(row["text"], row["workspace"], row["session"], row["key"])
    return Waiting(work, row["turn"])
