"""Backups of an SQLite file: two of them beside it, each sound when it was made.

    tale.db.backup      the newest
    tale.db.backup-1    the one before

Made by SQLite's online backup, while others read and write. A copy that is not sound never takes
the place of one that is. Above: the gateway, which makes them; `memory.forgetting`, which has what
was forgotten go from them, too; `rescue`, which goes back to them.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from tale.errors import StorageDamaged, StorageError
from tale.storage.faults import faults_of
from tale.telemetry import get_logger

__all__ = ["back_up", "backups_of", "is_sound", "keep_backed_up", "sync"]

log = get_logger(__name__)

_PAUSE_SECONDS: Final = (60.0, 3600.0)
_SHARE: Final = 500
"""A backup is made every minute, or so seldom that it takes a 500th of the time."""
_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SKETCH: Final = "PRAGMA quick_check(1)"


def backups_of(file: Path) -> tuple[Path, Path]:
    """Give where a file's backups are, the newest first; neither need exist."""
    return file.with_name(f"{file.name}.backup"), file.with_name(f"{file.name}.backup-1")


def is_sound(file: Path, *, alone: bool = False) -> bool:
    """Tell whether a database's structure is whole; some 0.2 s for 100 MB.

    Args:
        file: The database.
        alone: It is a backup, which nobody writes: nothing is made beside it.

    Raises:
        sqlite3.Error: It can't be read, for another reason than damage.
    """
    address = f"{file.absolute().as_uri()}?{'immutable=1&mode=ro' if alone else 'mode=rw'}"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            return connection.execute(_SKETCH).fetchone()[0] == "ok"
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
            return False
        raise


def back_up(file: Path) -> Path:
    """Make a backup; gives its path.

    Raises:
        StorageDamaged: The file is damaged; the backups there are stay.
        StorageError: It can't be read, or the backup not be written.
    """
    newest, older = backups_of(file)
    half = file.with_name(f"{file.name}.backup-half")
    with faults_of(str(half)), _alone(file):
        try:
            half.unlink(missing_ok=True)
            os.close(os.open(half, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            with (
                closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as source,
                closing(sqlite3.connect(half)) as target,
            ):
                source.backup(target)
            if not is_sound(half, alone=True):
                raise StorageDamaged(
                    f"{file}: it is damaged, so no backup of it was made.",
                    hint="Run `tale stop`, then any command: it is put right at the start.",
                )
            sync(half)
            with suppress(FileNotFoundError):
                newest.replace(older)
            half.replace(newest)
            sync(file.parent)
        finally:
            half.unlink(missing_ok=True)
    return newest


@contextmanager
def _alone(file: Path) -> Generator[None]:
    """Keep other processes from making a backup meanwhile."""
    with file.with_name(f"{file.name}.backup-lock").open("wb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


async def keep_backed_up(
    file: Path, pause: Callable[[float], Awaitable[None]] = anyio.sleep
) -> None:
    """Make a backup now and every minute where something has changed, until cancelled.

    A large file takes longer, and is saved less often.
    """
    saved: object = None
    shortest, longest = _PAUSE_SECONDS
    while True:
        began = anyio.current_time()
        state = await anyio.to_thread.run_sync(_state, file)
        if state != saved:
            try:
                await anyio.to_thread.run_sync(back_up, file)
            except StorageError as error:
                log.warning("database.not_backed_up", database=str(file), reason=error.message)
            else:
                saved = state
        took = anyio.current_time() - began
        await pause(min(max(shortest, took * _SHARE), longest))


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _state(file: Path) -> tuple[tuple[int, int], ...]:
    """Give what every commit changes: size and time of the file and its log of writes."""
    found: list[tuple[int, int]] = []
    for path in (file, file.with_name(f"{file.name}-wal")):
        with suppress(OSError):
            seen = path.stat()
            found.append((seen.st_size, seen.st_mtime_ns))
    return tuple(found)
