"""Database failures in tale's terms: what happened, to which database, and what to do about it.

The one boundary at which SQLAlchemy's and SQLite's errors become `StorageError`. Above:
`storage.database` and `storage.upgrade`.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tale.errors import StorageError

__all__ = ["BUSY_SECONDS", "faults_of"]

BUSY_SECONDS: Final = 30
"""How long a transaction waits for another process's lock before it fails."""

_WRITABLE: Final = "Make the file and its folder writable for you, or set TALE_HOME to another one."
_FULL: Final = ("the disk is full", "Free some space; nothing that was recorded is lost.")
# Primary result codes of https://sqlite.org/rescode.html
_SAYINGS: Final = {
    sqlite3.SQLITE_BUSY: (
        f"another process has had it locked for {BUSY_SECONDS} s",
        "Close the program that holds it (a database browser, a backup), then try again.",
    ),
    sqlite3.SQLITE_LOCKED: ("it is locked", "Try again."),
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: ("it can't be written", _WRITABLE),
    sqlite3.SQLITE_CANTOPEN: ("it can't be opened", _WRITABLE),
    sqlite3.SQLITE_PERM: ("it can't be opened", _WRITABLE),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "Check the disk and the system's log."),
    sqlite3.SQLITE_CORRUPT: (
        "it is damaged",
        "Run `tale stop`, move the file and its -wal and -shm neighbours aside, and start again.",
    ),
    sqlite3.SQLITE_NOTADB: (
        "it is not a database",
        "Run `tale stop`, move the file aside, and start again.",
    ),
}


@contextmanager
def faults_of(where: str) -> Generator[None]:
    """Turn database and file errors inside the block into a `StorageError`.

    Args:
        where: The database, as the message names it; without a password.
    """
    try:
        yield
    except DBAPIError as error:
        raise _explain(where, error.orig) from error
    except sqlite3.Error as error:
        raise _explain(where, error) from error
    except PoolTimeout as error:
        raise StorageError(f"{where}: no connection came free.", hint="Try again.") from error
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        what, hint = _FULL if full else (error.strerror or repr(error), _WRITABLE)
        raise StorageError(f"{where}: {what}.", hint=hint) from error


def _explain(where: str, fault: BaseException | None) -> StorageError:
    if isinstance(fault, sqlite3.Error):
        code: int | None = getattr(fault, "sqlite_errorcode", None)
        if code is not None and (saying := _SAYINGS.get(code & 0xFF)):
            return StorageError(f"{where}: {saying[0]}.", hint=saying[1])
        return StorageError(f"{where}: {fault}.")
    hint = "Check that its server runs and that `database_url` in tale.toml is right."
    return StorageError(f"{where}: {str(fault).strip()}.", hint=hint)
