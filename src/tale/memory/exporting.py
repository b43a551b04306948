"""All that is remembered, record by record, for whoever wants to take it along.

Each record is an object with its `type`: a `session` comes before its `turn`s, `note`s come last,
those too that hold no longer. It is given in pages, so that neither side holds all of it. Above:
`servers.memory_tools`. Below: `storage.database`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, select

from tale.storage.database import Database
from tale.storage.schema import notes, sessions, turns

__all__ = ["Page", "page"]

_CHARACTERS: Final = 1 << 20
"""Of the texts on one page; a single turn may have as many."""
_ROWS: Final = 500
_NOTES: Final = "notes/"
_LEFT_OUT: Final = frozenset({"subject", "replaces"})
"""What tale works out from the rest."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some records; `after` is where the next page begins, empty where this was the last."""

    records: Sequence[Mapping[str, object]]
    after: str = ""


async def page(database: Database, after: str = "") -> Page:
    """Give the records that follow."""
    return await database.read(lambda connection: _page(connection, after))


def _page(connection: Connection, after: str) -> Page:
    records: list[Mapping[str, object]] = []
    taken = 0
    while taken < _CHARACTERS and len(records) < _ROWS:
        found = _next(connection, after)
        if found is None:
            return Page(records)
        after, kind, row = found
        records.append(_record(kind, row))
        taken += len(str(row["text"])) if "text" in row else 0
    return Page(records, after)


def _next(connection: Connection, after: str) -> tuple[str, str, RowMapping] | None:
    """Give the next record, and the place behind it."""
    if not after.startswith(_NOTES):
        session, _, seq = after.partition("/")
        number = int(seq) if seq.isdecimal() else 0
        told = select(turns).where(turns.c.session == session, turns.c.seq > number)
        row = connection.execute(told.order_by(turns.c.seq).limit(1)).mappings().one_or_none()
        if row is not None:
            return f"{session}/{row['seq']}", "turn", row
        follows = select(sessions).where(sessions.c.id > session).order_by(sessions.c.id).limit(1)
        row = connection.execute(follows).mappings().one_or_none()
        if row is not None:
            return f"{row['id']}/0", "session", row
    beyond = after.removeprefix(_NOTES) if after.startswith(_NOTES) else ""
    noted = select(notes).where(notes.c.id > beyond)
    row = connection.execute(noted.order_by(notes.c.id).limit(1)).mappings().one_or_none()
    return None if row is None else (f"{_NOTES}{row['id']}", "note", row)


def _record(kind: str, row: RowMapping) -> Mapping[str, object]:
    fields = {name: _plain(value) for name, value in row.items() if name not in _LEFT_OUT}
    return {"type": kind, **fields}


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
