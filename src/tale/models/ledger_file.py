"""The ledger's file: SQLite, by hand, in a file of its own.

Not in tale's database: these are statistics about this machine's models, which can be set aside
where tasks can not, and the models server starts without SQLAlchemy. Old rows are thinned into
hourly sums, so that totals stay and the file is bounded. Synchronous, for one thread at a time.
Above: `ledger`, and `tale usage` while no daemon runs. Below: `ledger_schema`.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from tale.errors import StorageError, StorageReadOnly
from tale.models.ledger_schema import (
    COLUMNS,
    SUMS,
    check_version,
    faults,
    is_blank,
    prepare,
)
from tale.models.naive import History, Naive
from tale.models.trend import LEAST_TOKENS, MOST_ENDED, Ended, Hour, Trend
from tale.models.usage import Tally
from tale.telemetry import get_logger

if TYPE_CHECKING:
    from tale.models.entry import Row

__all__ = ["KEEP_ROWS", "KEEP_SECONDS", "LedgerFile", "read_usage"]

log = get_logger(__name__)

_PLACES: Final = ",".join("?" for _ in COLUMNS.split(","))
KEEP_SECONDS: Final = 30 * 86400.0
"""Age at which a row becomes part of an hourly sum."""
KEEP_ROWS: Final = 100_000
"""Most rows that are kept one by one: some 20 MB."""

_HOUR: Final = 3600
# A conversation that nobody went on with for so long begins anew for the naive loop too.
_SESSION_SECONDS: Final = 90 * 86400.0
_BUSY_SECONDS: Final = 1.0
_SUM_ROWS: Final = """
    COUNT(*), SUM(error != ''), SUM(prompt), SUM(cached), SUM(completion), SUM(naive_prompt),
    SUM(naive_completion), SUM(naive_computed)
"""
_SUM_HOURS: Final = ", ".join(f"SUM({name})" for name in SUMS)


class LedgerFile:
    """An open ledger.

    Every method raises `StorageReadOnly` where trying again later may help (the disk is full,
    another program has it locked), and `StorageError` where the file is damaged.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """See `open`."""
        self._path = path
        self._db = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open it, or make it. What can't be used is set aside, with a warning in the log.

        Raises:
            StorageReadOnly: It can't be made either.
        """
        try:
            return cls._open(path)
        except StorageReadOnly:
            raise
        except StorageError as error:
            set_aside(path, error.message)
        return cls._open(path)

    @classmethod
    def _open(cls, path: Path) -> Self:
        with faults(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(IsADirectoryError, PermissionError):  # SQLite says it better
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            db = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                prepare(db, path)
            except BaseException:
                db.close()
                raise
            return cls(path, db)

    def close(self) -> None:
        """Close it; what was appended is there."""
        with suppress(sqlite3.Error):
            self._db.close()

    def append(self, rows: Iterable[Row], sessions: Mapping[str, History]) -> None:
        """Keep rows, and what the naive loop now holds of their conversations; all or none."""
        at = time.time()
        with self._transaction() as db:
            db.executemany(
                f"INSERT OR IGNORE INTO requests ({COLUMNS}) VALUES ({_PLACES})",  # noqa: S608 - no value in it
                map(_fields, rows),
            )
            db.executemany(
                "INSERT OR REPLACE INTO sessions (id, system, told, at) VALUES (?, ?, ?, ?)",
                [(name, held.system, held.told, at) for name, held in sessions.items()],
            )

    def judge(self, request_id: str, ok: bool) -> Row | None:
        """Mark a row as good or not; gives it as it now is, None if it is unknown or was so."""
        with self._transaction() as db:
            found = db.execute(
                f"UPDATE requests SET ok = ? WHERE id = ? AND ok IS NOT ? RETURNING {COLUMNS}",  # nosec B608  # noqa: S608
                (ok, request_id, ok),
            ).fetchall()
        return _row(found[0]) if found else None

    def newest(self, count: int) -> tuple[Row, ...]:
        """Give the newest rows, the oldest of them first."""
        with faults(self._path):
            found = self._db.execute(
                f"SELECT {COLUMNS} FROM requests ORDER BY number DESC LIMIT ?",  # nosec B608  # noqa: S608
                (count,),
            ).fetchall()
        return tuple(map(_row, reversed(found)))

    def history(self, session: str) -> History | None:
        """Give what the naive loop holds of a conversation."""
        with faults(self._path):
            found = self._db.execute(
                "SELECT system, told FROM sessions WHERE id = ?", (session,)
            ).fetchone()
        return History(*found) if found else None

    def sums(self, since: float | None = None) -> tuple[Tally, ...]:
        """Sum up what came since a unix time; what is thinned counts by whole hours."""
        with faults(self._path):
            return _sums(self._db, since)

    def trend(self, after: int, since: float, hours_since: float) -> Trend:
        """Give what a chart shows.

        Args:
            after: Number of the last request that is known.
            since: Unix time; requests that came before are left out.
            hours_since: The same for the sums; what is thinned is left out.
        """
        with faults(self._path):
            ended = self._db.execute(
                "SELECT number, at + seconds, model, first_token * 1000, CASE WHEN completion >= ?"
                " AND seconds > first_token THEN (completion - 1) / (seconds - first_token) END"
                " FROM requests WHERE number > ? AND at >= ? AND error = ''"
                " ORDER BY number DESC LIMIT ?",
                (LEAST_TOKENS, after, since, MOST_ENDED),
            ).fetchall()
            hours = self._db.execute(
                f"SELECT CAST(at / {_HOUR} AS INTEGER) * {_HOUR} AS h, COUNT(*), SUM(prompt),"  # nosec B608  # noqa: S608
                " SUM(cached), SUM(completion), SUM(naive_prompt + naive_completion)"
                " FROM requests WHERE at >= ? GROUP BY h ORDER BY h",
                (hours_since,),
            ).fetchall()
        return Trend(
            tuple(Ended(*fields) for fields in reversed(ended)),
            tuple(Hour(*fields) for fields in hours),
        )

    def thin(self, before: float, keep_rows: int = KEEP_ROWS) -> int:
        """Turn rows into hourly sums; gives how many.

        Args:
            before: Unix time; older rows go.
            keep_rows: Beyond so many rows the oldest go too.
        """
        with self._transaction() as db:
            (surplus,) = db.execute(
                "SELECT IFNULL((SELECT number FROM requests ORDER BY number DESC LIMIT 1 OFFSET ?),"
                " 0)",
                (keep_rows,),
            ).fetchone()
            old = "at < ? OR number <= ?"
            limits = (before, surplus)
            summed = ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)
            db.execute(
                f"INSERT INTO hours SELECT CAST(at / {_HOUR} AS INTEGER) * {_HOUR} AS h, model,"  # nosec B608  # noqa: S608
                f" IFNULL(role, '') AS r, kind, {_SUM_ROWS} FROM requests WHERE {old}"
                " GROUP BY h, model, r, kind"
                f" ON CONFLICT (hour, model, role, kind) DO UPDATE SET {summed}",
                limits,
            )
            gone = db.execute(f"DELETE FROM requests WHERE {old}", limits).rowcount  # nosec B608  # noqa: S608
            db.execute("DELETE FROM sessions WHERE at < ?", (before - _SESSION_SECONDS,))
        return gone

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with faults(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has rolled back a failed COMMIT itself
                    self._db.execute("ROLLBACK")
                raise


def read_usage(path: Path, since: float | None = None) -> tuple[Tally, ...]:
    """Sum up a ledger that another process may be writing; changes nothing. Empty without a file.

    Raises:
        StorageError: It can't be read.
    """
    if not path.exists():
        return ()
    with (
        faults(path),
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as db,
    ):
        if is_blank(db):
            return ()  # it is being made
        check_version(db, path)
        return _sums(db, since)


def set_aside(path: Path, reason: str) -> None:
    """Move a ledger that can't be used out of the way.

    Raises:
        StorageReadOnly: It can't be moved.
    """
    kept = path.with_name(f"{path.name}.damaged-{time.time():.0f}")
    try:
        path.rename(kept)
        for end in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + end).rename(kept.with_name(kept.name + end))
    except OSError as error:
        raise StorageReadOnly(f"{path} can't be moved: {error.strerror}.") from error
    log.warning("ledger.set_aside", file=str(kept), reason=reason)


def _sums(db: sqlite3.Connection, since: float | None) -> tuple[Tally, ...]:
    since = since or 0.0
    found = db.execute(
        f"SELECT model, role, kind, {_SUM_ROWS} FROM requests WHERE at >= ?"  # nosec B608  # noqa: S608
        f" GROUP BY model, role, kind UNION ALL SELECT model, NULLIF(role, ''), kind, {_SUM_HOURS}"
        " FROM hours WHERE hour >= ? GROUP BY model, role, kind",
        (since, since // _HOUR * _HOUR),
    ).fetchall()
    return tuple(Tally(*fields) for fields in found)


def _fields(row: Row) -> tuple[object, ...]:
    return (
        row.id,
        row.at,
        row.session,
        row.own,
        row.model,
        row.role,
        row.kind,
        row.band,
        row.prompt,
        row.completion,
        row.cached,
        row.said,
        row.estimated,
        row.first_token,
        row.seconds,
        row.finish,
        row.fell_back,
        row.error,
        row.ok,
        row.naive.prompt,
        row.naive.completion,
        row.naive.computed,
    )


def _row(fields: tuple[object, ...]) -> Row:
    from tale.models.entry import Row  # noqa: PLC0415 - `tale usage` needs sums only

    found = dict(zip(COLUMNS.replace(",", " ").split(), fields, strict=True))
    shares = [found.pop(f"naive_{name}") for name in ("prompt", "completion", "computed")]
    for name in ("own", "fell_back", "ok"):
        found[name] = None if found[name] is None else bool(found[name])
    return Row(**found, naive=Naive(*shares))  # pyright: ignore[reportArgumentType] - as written
