"""Looks words up in the turns themselves, while the index is damaged and being made anew.

It reads the newest turns and knows words by how they begin, so it is slower and finds less; but
somebody who asks meanwhile is answered. Above: `retrieval`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from tale.memory.relevance import Hit
from tale.memory.words import pieces
from tale.storage.schema import turns

__all__ = ["hits_without_index", "is_of_index"]

_NEWEST: Final = 5000
"""Turns that are read: some 100 ms."""
_PIECE: Final = 2000
_STEM: Final = 5
"""Characters by which a word is known in its other forms."""


def is_of_index(error: DBAPIError, *, triggered: bool = False) -> bool:
    """Tell whether what failed is SQLite's full-text table rather than the database.

    A module of SQLite's says by a code of its own that its tables are corrupt; where one of them is
    gone it only fails. What is wrong with the words themselves shows in neither.

    Args:
        error: What failed.
        triggered: It may have been a trigger that touched the table, which no statement names then.
    """
    fault = error.orig
    if not isinstance(fault, sqlite3.Error):
        return False
    code = getattr(fault, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_CORRUPT_VTAB:
        return True
    return code == sqlite3.SQLITE_ERROR and (
        triggered or "remembered_words" in (error.statement or "")
    )


def hits_without_index(connection: Connection, words: Sequence[str], limit: int) -> list[Hit]:
    """Find the turns that have most of some words, the best first; see `Hit`."""
    wanted = {word[:_STEM] for word in words}
    said = func.substr(turns.c.text, 1, _PIECE)
    query = select(turns.c.session, turns.c.seq, turns.c.speaker, said)
    found: list[Hit] = []
    for session, seq, speaker, text in connection.execute(
        query.order_by(turns.c.at.desc()).limit(_NEWEST)
    ):
        there = wanted & {word[:_STEM] for word in pieces(f"{speaker} {text}")}
        if there:
            found.append(Hit(session, seq, len(there) / len(wanted)))
    return sorted(found, key=lambda hit: -hit.score)[:limit]
