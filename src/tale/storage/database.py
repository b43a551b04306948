"""The database: one SQLite file, or PostgreSQL by URL; the same tables and calls on both.

SQLite runs in WAL with synchronous=FULL: what a committed transaction holds survives kill -9 and
power loss. Work is a plain function of a connection that runs in a worker thread inside one
transaction, so that the event loop never waits for the disk. Above: `tasks.store`, `memory.turns`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from tale.config import Settings
from tale.errors import ConfigError, StorageDamaged, StorageReadOnly
from tale.paths import Paths
from tale.storage.faults import BUSY_SECONDS, faults_of
from tale.storage.postgresql import server_engine
from tale.storage.rescue import Lease, put_right, suspect
from tale.storage.upgrade import is_current, upgrade

__all__ = ["Database", "storable"]

ResultT = TypeVar("ResultT")

_THREADS: Final = 4
_WRITES: Final = "tale_writes"
"""Execution option of the connections whose transactions write: seconds they wait for a lock."""
_BLOCKED_SECONDS: Final = 0.2
"""How long a transaction waits for a lock that the one before it has waited for in vain."""


class Database:
    """An open database at the newest schema.

    `read` and `write` raise `StorageError` when it is damaged or can't be reached. `write` raises
    `StorageReadOnly` while it is locked, not writable, or its disk is full; `read` goes on then,
    and so does `write` as soon as that is over.
    """

    def __init__(
        self,
        engine: Engine,
        where: str,
        busy_seconds: float = BUSY_SECONDS,
        *,
        file: Path | None = None,
    ) -> None:
        self.file = file
        """The SQLite file; None for another database."""
        # PostgreSQL's default would let one reading transaction see others commit in between.
        picture = {"isolation_level": "REPEATABLE READ"} if engine.name == "postgresql" else {}
        self._reader = engine.execution_options(**picture)
        self._writer = engine.execution_options(**{_WRITES: busy_seconds})
        self._hasty_writer = engine.execution_options(
            **{_WRITES: min(busy_seconds, _BLOCKED_SECONDS)}
        )
        self._blocked = False
        self._patience = busy_seconds
        self._where = where
        # SQLite has one writer at a time: queue here, fairly, rather than in its busy loop. And
        # each table has one writing process, whose writes look first and then insert: one by one
        # they can't miss each other's rows, which PostgreSQL would let them.
        self._writers = CapacityLimiter(1)
        self._readers = CapacityLimiter(_THREADS)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, paths: Paths, settings: Settings, *, busy_seconds: float = BUSY_SECONDS
    ) -> AsyncGenerator[Database]:
        """Open the database, making or upgrading it first where that is needed.

        Args:
            paths: Where its file is.
            settings: Name another database, where it isn't the file.
            busy_seconds: How long `write` waits for another program's lock.

        Raises:
            StorageError: It can't be used; the message says why and what to do.
            ConfigError: `database_url` is not usable.
        """
        if settings.database_url:
            engine, where = await anyio.to_thread.run_sync(_open_url, settings.database_url)
            try:
                yield cls(engine, where, busy_seconds)
            finally:
                engine.dispose()
            return
        file = paths.database
        engine, where, lease = await anyio.to_thread.run_sync(_open_file, file)
        try:
            yield cls(engine, where, busy_seconds, file=file)
        finally:
            engine.dispose()
            lease.close()

    @contextmanager
    def _faults(self) -> Generator[None]:
        try:
            with faults_of(self._where):
                yield
        except StorageDamaged:
            if self.file:
                with suppress(OSError):
                    suspect(self.file).touch()  # the next start looks at it
            raise

    async def read(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Run `work` on one consistent picture of the data; nothing it writes is kept."""

        def run() -> ResultT:
            with self._faults(), self._reader.connect() as connection:
                return work(connection)

        return await anyio.to_thread.run_sync(run, limiter=self._readers)

    async def write(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Run `work` and commit it, or roll it back if it raises.

        A caller that is cancelled meanwhile gets its cancellation after the commit.
        """

        def run() -> ResultT:
            # Those who queue here must not wait for the same lock one after another.
            writer = self._hasty_writer if self._blocked else self._writer
            with self._faults(), writer.begin() as connection:
                return work(connection)

        try:
            result = await anyio.to_thread.run_sync(run, limiter=self._writers)
        except StorageReadOnly:
            self._blocked = True
            raise
        self._blocked = False
        return result

    async def scrub(self) -> bool:
        """Take what was deleted out of the log of writes and the free space, too.

        Returns:
            Whether that is done; somebody who reads for long may keep it from being done now.
        """

        def run() -> bool:
            with self._faults(), self._writer.connect() as connection:
                raw = connection.connection.dbapi_connection
                if isinstance(raw, sqlite3.Connection):
                    # Past SQLAlchemy's transactions: within one there is no checkpoint.
                    raw.execute(f"PRAGMA busy_timeout = {round(self._patience * 1000)}")
                    busy, *_ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                    return busy == 0
                connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.exec_driver_sql("VACUUM")
                return True

        return await anyio.to_thread.run_sync(run, limiter=self._writers)


def storable(text: str) -> str:
    """Replace what databases refuse in text: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _open_url(url: str) -> tuple[Engine, str]:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            raise ConfigError(
                f"database_url = {url!r} is not allowed: it names an SQLite file.",
                hint="Leave database_url empty and set TALE_HOME to move the SQLite file.",
            )
        engine = server_engine(parsed)
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(
            "database_url can't be understood.",
            hint="It looks like postgresql://user:password@host/database.",
        ) from error
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"database_url needs the package {error.name!r}, which is not installed.",
            hint="Install tale with its `postgres` extra.",
        ) from error
    where = engine.url.render_as_string(hide_password=True)
    with faults_of(where):
        if not is_current(engine, where):
            upgrade(engine, where)
    return engine, where


def _open_file(file: Path) -> tuple[Engine, str, Lease]:
    """Open the file; one that is damaged is set aside first, if nobody else has it open."""
    where = str(file)
    with faults_of(where):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lease = Lease(file)
    try:
        with faults_of(where):
            if lease.alone:
                put_right(file)
        try:
            engine = _engine(file, where)
        except StorageDamaged:
            if not lease.alone:
                raise
            with faults_of(where):
                put_right(file, sure=True)
            engine = _engine(file, where)
        lease.share()
    except BaseException:
        lease.close()
        raise
    return engine, where, lease


def _engine(file: Path, where: str) -> Engine:
    with faults_of(where):
        # Conversations are private; SQLite gives its -wal and -shm files the same mode.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        engine = create_engine(
            URL.create("sqlite", database=str(file)),
            connect_args={"timeout": BUSY_SECONDS},
            pool_size=_THREADS + 1,
        )
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        if not (_is_wal(engine) and is_current(engine, where)):
            with _exclusively(file.with_name(f"{file.name}.lock")):
                _set_wal(engine)
                if not is_current(engine, where):
                    upgrade(engine.execution_options(**{_WRITES: BUSY_SECONDS}), where)
    return engine


def _prepare(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    """Set up each new connection; transactions are begun by `_begin` and by nobody else."""
    del record
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - narrows the type
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # What is forgotten is overwritten, not only taken out of the tree.
    connection.execute("PRAGMA secure_delete = ON")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later could not wait for the lock any more.
    patience: float = connection.get_execution_options().get(_WRITES, 0.0)
    if patience:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(patience * 1000)}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if patience else "BEGIN")


def _is_wal(engine: Engine) -> bool:
    with engine.connect() as connection:
        return connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def _set_wal(engine: Engine) -> None:
    # The mode is a property of the file, and can't be changed inside a transaction.
    raw = engine.raw_connection()
    try:
        raw.cursor().execute("PRAGMA journal_mode = WAL")
    finally:
        raw.close()


@contextmanager
def _exclusively(lock: Path) -> Generator[None]:
    """Hold a file lock; processes that start together pass here one after another."""
    with lock.open("wb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
