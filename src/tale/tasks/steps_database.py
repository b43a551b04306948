"""The database of recorded steps: a file of one process at a time, or PostgreSQL.

Above: `tasks.dbos_journal`. Below: `storage.set_aside`, `storage.faults`,
`storage.postgresql`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import anyio
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from tale.storage.faults import faults_of
from tale.storage.postgresql import server_engine
from tale.storage.set_aside import MARKED, Rescue, record
from tale.telemetry import get_logger

__all__ = ["locked", "open_engine"]

log = get_logger(__name__)

_BUSY_MS: Final = 30_000
_POOL: Final = 4
_LOCK_SECONDS: Final = 0.1
_LOST: Final = (
    "What it had done so far was recorded in {file}, which was damaged and is kept as {aside}; it "
    "begins anew. Its files are as it left them."
)


def open_engine(file: Path, url: str = "") -> tuple[Engine, str]:
    """Open it; a damaged file is put aside.

    Args:
        file: The SQLite file.
        url: A PostgreSQL database to use in the file's place.

    Returns:
        The engine, and what became of the records of before, for the user; empty if all is well.

    Raises:
        DBAPIError: It can't be opened.
        OSError: The file can't be made.
    """
    if url:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
        return server_engine(parsed, pool_size=_POOL), ""
    lost = "" if not file.exists() or _is_sound(file) else _set_aside(file)
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    return _engine(file), lost


@asynccontextmanager
async def locked(file: Path, where: str) -> AsyncGenerator[None]:
    """Have the file alone; waits for another process that has it, such as one that is leaving.

    Args:
        file: The lock stands beside it, whatever the database.
        where: What it is called in errors.

    Raises:
        StorageError: There can't be a lock.
    """
    with faults_of(where):
        lock = file.with_name(f"{file.name}.lock")
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        waiting = False
        while not _take(handle):
            if not waiting:
                log.warning("journal.waiting_for_lock", file=str(lock))
            waiting = True
            await anyio.sleep(_LOCK_SECONDS)
        yield
    finally:
        os.close(handle)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_sound(file: Path) -> bool:
    engine = _engine(file)
    try:
        with engine.connect() as connection:
            return connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() == "ok"
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if code not in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            raise
        return False
    finally:
        engine.dispose()


def _set_aside(file: Path) -> str:
    """Put a damaged file out of the way: what it recorded is lost, and no task is.

    A task begins anew, and commands that had begun are known from its events.
    """
    aside = file.with_name(f"{file.name}{time.strftime(MARKED)}")
    for ending in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            file.with_name(f"{file.name}{ending}").rename(f"{aside}{ending}")
    record(Rescue(file, aside, datetime.now(UTC), handled=True))
    log.error("journal.damaged", database=str(file), set_aside=str(aside))
    return _LOST.format(file=file.name, aside=aside.name)


def _engine(file: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(file)), pool_size=_POOL)
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    """Set up each new connection: what is committed survives a power loss."""
    del record
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - narrows the type
    connection.isolation_level = "IMMEDIATE"
    for setting in (
        f"busy_timeout = {_BUSY_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {setting}")
    if sqlite3.sqlite_version_info < (3, 42):
        # Without fractions of a second, or NULL; DBOS orders by it.
        connection.create_function("unixepoch", -1, lambda *_: round(time.time(), 3))
        connection.create_function("strftime", -1, lambda *_: str(round(time.time(), 3)))
