"""Conversations in the database: sessions and their turns, durable from the moment they are told.

Turns of a session count from 1; a gap is where some were forgotten. Only the ux server writes here.
Above: `conversation` and `outbox`, and `servers.ux` to list them. Below: `storage.database`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from tale.clipped import clipped
from tale.errors import SessionNotFound
from tale.ids import next_id
from tale.storage.database import Database, storable
from tale.storage.schema import outbox, sessions, tasks, turns

__all__ = [
    "NewTurn",
    "Session",
    "Speaker",
    "Turn",
    "TurnStore",
    "Turns",
    "add_turn",
    "title_of",
    "turn_of",
]

Speaker = Literal["user", "assistant"]

_PREFIX: Final = "s-"
_TITLE_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation; `title` is the beginning of its first turn, `turns` the last one's number."""

    id: str
    title: str
    turns: int
    created: datetime
    updated: datetime


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A turn to be recorded.

    Attributes:
        model: Who said it, where tale did.
        task: The task that came of it.
        interrupted: The text stops where its reader or its model went away.
    """

    speaker: Speaker
    text: str
    model: str | None = None
    task: str | None = None
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn as the database has it."""

    session: str
    seq: int
    speaker: Speaker
    text: str
    at: datetime
    model: str | None = None
    task: str | None = None
    interrupted: bool = False


class Turns(Protocol):
    """Where the turns of conversations are; see `TurnStore`."""

    async def add(self, session: str | None, new: NewTurn) -> Turn:
        """Record a turn, in a new session where none is given."""
        ...

    async def turns(self, identity: str, *, after: int = 0, limit: int | None = None) -> list[Turn]:
        """Read the turns of a session."""
        ...

    async def tasks(self, identity: str, limit: int) -> list[str]:
        """List the tasks that came of a session's turns, the newest first."""
        ...


class TurnStore:
    """The one place that reads and writes conversations."""

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        also: Callable[[Connection, Turn], None] = lambda connection, turn: None,
    ) -> None:
        """Make one.

        Args:
            database: Where they are kept.
            now: The time.
            also: What else is recorded with a turn, in the same transaction.
        """
        self._database = database
        self._now = now
        self._also = also

    async def add(self, session: str | None, new: NewTurn) -> Turn:
        """Record a turn, in a new session where none is given.

        Raises:
            SessionNotFound: There is no such session.
        """
        at = self._now()

        def record(connection: Connection) -> Turn:
            turn = add_turn(connection, session, new, at)
            self._also(connection, turn)
            return turn

        return await self._database.write(record)

    async def get(self, identity: str) -> Session:
        """Look up a session.

        Raises:
            SessionNotFound: There is none of that id.
        """
        return await self._database.read(lambda connection: _load(connection, identity))

    async def latest(self, limit: int) -> list[Session]:
        """List sessions, the last used first."""
        query = select(sessions).order_by(sessions.c.updated.desc(), sessions.c.id.desc())
        return await self._database.read(
            lambda connection: [
                Session(**row) for row in connection.execute(query.limit(limit)).mappings()
            ]
        )

    async def turns(self, identity: str, *, after: int = 0, limit: int | None = None) -> list[Turn]:
        """Read the turns of a session beyond number `after`, oldest first; the last `limit`."""
        query = select(turns).where(turns.c.session == identity, turns.c.seq > after)
        last = query.order_by(turns.c.seq.desc()).limit(limit)

        def work(connection: Connection) -> list[Turn]:
            rows = connection.execute(last).mappings().all()
            return [turn_of(row) for row in reversed(rows)]

        return await self._database.read(work)

    async def tasks(self, identity: str, limit: int) -> list[str]:
        """List the tasks that came of a session's turns, the newest first."""
        query = (
            select(turns.c.task)
            .where(turns.c.session == identity, turns.c.task.is_not(None))
            .order_by(turns.c.seq.desc())
            .limit(limit)
        )
        return await self._database.read(lambda connection: list(connection.scalars(query)))


def add_turn(connection: Connection, session: str | None, new: NewTurn, at: datetime) -> Turn:
    """Record a turn inside somebody's transaction; see `TurnStore.add`."""
    text = storable(new.text)
    identity = session or _create(connection, text, at)
    known = _load(connection, identity, lock=True)
    turn = Turn(
        identity, known.turns + 1, new.speaker, text, at, new.model, new.task, new.interrupted
    )
    connection.execute(
        insert(turns).values({name: getattr(turn, name) for name in turns.c.keys()})  # noqa: SIM118 - a column collection iterates over columns
    )
    connection.execute(
        update(sessions)
        .where(sessions.c.id == identity)
        .values(turns=turn.seq, updated=max(at, known.updated))
    )
    return turn


def _create(connection: Connection, text: str, at: datetime) -> str:
    identity = next_id(_PREFIX, at, connection.scalar(select(func.max(sessions.c.id))))
    while _has_work(connection, identity):
        identity = next_id(_PREFIX, at, identity)
    connection.execute(
        insert(sessions).values(id=identity, title=title_of(text), turns=0, created=at, updated=at)
    )
    return identity


def _has_work(connection: Connection, identity: str) -> bool:
    """Tell whether work was handed over, or is kept, under the id of a session that is gone.

    Its turns name that work, so another session's of that id would be given it for their own.
    """
    begun = select(tasks.c.id).where(tasks.c.key.startswith(f"{identity}/"))
    kept = select(outbox.c.id).where(outbox.c.session == identity)
    return any(connection.scalar(query.limit(1)) is not None for query in (begun, kept))


def title_of(text: str) -> str:
    """Call a session after one of its turns."""
    return clipped(text, _TITLE_CHARACTERS)


def _load(connection: Connection, identity: str, *, lock: bool = False) -> Session:
    query = select(sessions).where(sessions.c.id == identity)
    if lock:
        query = query.with_for_update()  # SQLite's writers exclude each other anyway
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise SessionNotFound(
            f"There is no conversation {identity!r}.", hint="`tale sessions` lists them."
        )
    return Session(**row)


def turn_of(row: RowMapping) -> Turn:
    """Read a turn from its row."""
    return Turn(**row)
