"""The tables of the ledger's file, and what SQLite says about the file, in tale's terms.

Above: `ledger_file`, and nobody else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tale.errors import StorageError, StorageReadOnly

__all__ = ["COLUMNS", "SUMS", "check_version", "faults", "is_blank", "prepare"]

_VERSION: Final = 1
_APPLICATION: Final = 0x74616C65  # "tale"
# What passes by itself, or once somebody made room; all else means that the file is no use.
# Primary result codes of https://sqlite.org/rescode.html
_PASSING: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
}
SUMS: Final = (
    "requests",
    "failed",
    "prompt",
    "cached",
    "completion",
    "naive_prompt",
    "naive_completion",
    "naive_computed",
)
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS requests (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at REAL NOT NULL,
    session TEXT,
    own INTEGER NOT NULL,
    model TEXT NOT NULL,
    role TEXT,
    kind TEXT NOT NULL,
    band TEXT NOT NULL,
    prompt INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    said INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    first_token REAL,
    seconds REAL NOT NULL,
    finish TEXT,
    fell_back INTEGER NOT NULL,
    error TEXT NOT NULL,
    ok INTEGER,
    naive_prompt INTEGER NOT NULL,
    naive_completion INTEGER NOT NULL,
    naive_computed INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS requests_at ON requests (at);
CREATE TABLE IF NOT EXISTS hours (
    hour INTEGER NOT NULL, model TEXT NOT NULL, role TEXT NOT NULL, kind TEXT NOT NULL,
    {", ".join(f"{name} INTEGER NOT NULL" for name in SUMS)},
    PRIMARY KEY (hour, model, role, kind)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, system INTEGER NOT NULL, told INTEGER NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""
COLUMNS: Final = """
    id, at, session, own, model, role, kind, band, prompt, completion, cached, said, estimated,
    first_token, seconds, finish, fell_back, error, ok, naive_prompt,
    naive_completion, naive_computed
"""
_HINT: Final = (
    "It is set aside when the daemon starts next (`tale restart models`); only statistics are lost."
)


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Set up a connection that writes, and make the tables where there are none.

    Raises:
        StorageError: It holds something else.
    """
    if is_blank(db):
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    check_version(db, path)
    # A power cut may take the last second with it, and never damages the file.
    db.execute("PRAGMA synchronous = NORMAL")


def is_blank(db: sqlite3.Connection) -> bool:
    """Say whether there is no table in it."""
    return not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file of another program, or of another version of tale.

    Raises:
        StorageError: It is one.
    """
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if (application, version) != (_APPLICATION, _VERSION):
        raise StorageError(f"{path} is not a ledger of this version of tale.", hint=_HINT)


@contextmanager
def faults(path: Path) -> Generator[None]:
    """Turn the errors of SQLite and of files into tale's."""
    try:
        yield
    except sqlite3.Error as error:
        code: int | None = getattr(error, "sqlite_errorcode", None)
        kind = StorageReadOnly if code is not None and code & 0xFF in _PASSING else StorageError
        raise kind(f"{path} can't be used: {error}.", hint=_HINT) from error
    except OSError as error:
        raise StorageReadOnly(f"{path} can't be used: {error.strerror or error!r}.") from error
