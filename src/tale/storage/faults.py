"""Database failures in tale's terms: what happened, to which database, and what to do about it.

The one boundary at which SQLAlchemy's and SQLite's errors become `StorageError`. Above:
`storage.database` and `storage.upgrade`.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tale.errors import StorageDamaged, StorageError, StorageReadOnly

__all__ = ["BUSY_SECONDS", "faults_of"]

BUSY_SECONDS: Final = 5
"""How long a transaction waits for another process's lock before it fails. Tale's own transactions
take milliseconds, so whoever holds it longer is somebody else; a person waits for the answer."""

_WRITABLE: Final = "Make the file and its folder writable for you, or set TALE_HOME to another one."
_MEANWHILE: Final = (
    "Until then tale only reads (`tale tasks`, `tale show`), and nothing that was recorded is lost."
)
_RIGHT: Final = (
    "Run `tale stop`, then any command: at the start it is set aside, and its backup takes its "
    "place."
)
_FULL: Final = ("the disk is full", f"Free some space. {_MEANWHILE}")
# Primary result codes of https://sqlite.org/rescode.html
_SAYINGS: Final = {
    sqlite3.SQLITE_BUSY: (
        f"another process has had it locked for {BUSY_SECONDS} s",
        f"Close the program that holds it (a database browser, a backup). {_MEANWHILE}",
    ),
    sqlite3.SQLITE_LOCKED: ("it is locked", "Try again."),
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: ("it can't be written", f"{_WRITABLE} {_MEANWHILE}"),
    sqlite3.SQLITE_CANTOPEN: ("it can't be opened", _WRITABLE),
    sqlite3.SQLITE_PERM: ("it can't be opened", _WRITABLE),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "Check the disk and the system's log."),
    sqlite3.SQLITE_CORRUPT: (
        "it is damaged",
        _RIGHT,
    ),
    sqlite3.SQLITE_NOTADB: (
        "it is not a database",
        _RIGHT,
    ),
}
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_READ_ONLY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY}
_FAILED_WRITES: Final = {
    sqlite3.SQLITE_IOERR_WRITE,  # a quota or a limit on the file's size is one of these too
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}
"""Extended codes of the disk errors that leave what is there readable."""
_NO_SPACE: Final = {errno.ENOSPC, errno.EDQUOT}


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
        if error.errno in _NO_SPACE:
            raise StorageReadOnly(f"{where}: {_FULL[0]}{_room(where)}.", hint=_FULL[1]) from error
        raise StorageError(f"{where}: {error.strerror or error!r}.", hint=_WRITABLE) from error


def _explain(where: str, fault: BaseException | None) -> StorageError:
    if isinstance(fault, sqlite3.Error):
        code: int | None = getattr(fault, "sqlite_errorcode", None)
        if code is None or (saying := _SAYINGS.get(code & 0xFF)) is None:
            return StorageError(f"{where}: {fault}.")
        what, hint = saying
        if code & 0xFF in _READ_ONLY:
            room = _room(where) if code & 0xFF == sqlite3.SQLITE_FULL else ""
            return StorageReadOnly(f"{where}: {what}{room}.", hint=hint)
        if code in _FAILED_WRITES:
            return StorageReadOnly(f"{where}: {what}{_room(where)}.", hint=f"{hint} {_MEANWHILE}")
        kind = StorageDamaged if code & 0xFF in _DAMAGED else StorageError
        return kind(f"{where}: {what}.", hint=hint)
    hint = "Check that its server runs and that `database_url` in tale.toml is right."
    return StorageError(f"{where}: {str(fault).strip()}.", hint=hint)


def _room(where: str) -> str:
    """Say how much space is left where the file is; a quota may allow less."""
    try:
        free = shutil.disk_usage(Path(where).parent).free
    except OSError:
        return ""
    return f" ({free / (1 << 20):,.1f} MiB left in {Path(where).parent})"
