"""Summaries in the database: what was summed up once is never summed up again.

Only the ux server writes here. Above: `summarising`, `windows`. Below: `storage.database`,
`summary` (what one is).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import cast, get_args

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, insert, select

from tale.memory.particulars import Kind, Particular
from tale.memory.summary import Summary
from tale.storage.database import Database, storable
from tale.storage.schema import summaries, turns

__all__ = ["SummaryStore", "forget_summaries"]


class SummaryStore:
    """The one place that reads and writes summaries."""

    def __init__(
        self, database: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._now = now

    async def of(self, session: str) -> list[Summary]:
        """Read the summaries of a conversation, in order of their turns."""
        query = (
            select(summaries)
            .where(summaries.c.session == session)
            .order_by(summaries.c.first, summaries.c.level)
        )
        return await self._database.read(
            lambda connection: [_summary(row) for row in connection.execute(query).mappings()]
        )

    async def add(
        self, session: str, summary: Summary, *, of: Sequence[int] | Sequence[Summary] = ()
    ) -> bool:
        """Record a summary; one of the same level and first turn gives way to it.

        Args:
            session: The conversation.
            summary: What to record.
            of: The turns, by number, or the summaries that it was made of.

        Returns:
            Whether it is recorded: not where something that it was made of was forgotten meanwhile.
        """
        made = self._now()
        kept = [[one.kind, storable(one.key), storable(one.text)] for one in summary.kept]

        def record(connection: Connection) -> bool:
            if not all(_is_there(connection, session, one) for one in of):
                return False
            connection.execute(delete(summaries).where(_same(session, summary)))
            connection.execute(
                insert(summaries).values(
                    session=session,
                    level=summary.level,
                    first=summary.first,
                    last=summary.last,
                    prose=storable(summary.prose),
                    kept=kept,
                    made=made,
                )
            )
            return True

        return await self._database.write(record)


def forget_summaries(connection: Connection, session: str, first: int, last: int) -> None:
    """Remove every summary that tells of turns `first` to `last`, inside somebody's transaction.

    What else they told of is summed up again from the turns that stay.
    """
    touched = (
        (summaries.c.session == session) & (summaries.c.first <= last) & (summaries.c.last >= first)
    )
    connection.execute(delete(summaries).where(touched))


def _is_there(connection: Connection, session: str, one: int | Summary) -> bool:
    if isinstance(one, Summary):
        query = select(summaries.c.first).where(_same(session, one))
    else:
        query = select(turns.c.seq).where(turns.c.session == session, turns.c.seq == one)
    return connection.scalar(query) is not None


def _same(session: str, one: Summary) -> ColumnElement[bool]:
    return (
        (summaries.c.session == session)
        & (summaries.c.level == one.level)
        & (summaries.c.first == one.first)
    )


def _summary(row: RowMapping) -> Summary:
    return Summary(
        row["first"],
        row["last"],
        row["level"],
        row["prose"],
        tuple(
            Particular(cast("Kind", kind), key, text)
            for kind, key, text in row["kept"]
            if kind in get_args(Kind)
        ),
    )
