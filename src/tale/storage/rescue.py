"""A damaged SQLite file: noticed when it is opened, set aside, and put back from its backup.

It is looked at where nobody else has it open and its last user did not leave in order (SQLite takes
its `-wal` away then), or met damage. What was there is kept as `tale.db.damaged-…`, and beside it
what was done about it, for the user and for the gateway. Above: `storage.database`. Below:
`backup`, `set_aside`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from tale.storage.backup import backups_of, is_sound, sync
from tale.storage.set_aside import MARKED, Rescue, record
from tale.telemetry import get_logger

__all__ = ["Lease", "put_right", "suspect"]

log = get_logger(__name__)

_HEADER: Final = b"SQLite format 3\0"


class Lease:
    """Tells who has a database open: shared by all of them, or held by one who puts it right."""

    def __init__(self, file: Path) -> None:
        """Take it; `alone` says whether nobody else has it."""
        path = file.with_name(f"{file.name}.open")
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.alone = True
        except BlockingIOError:
            fcntl.flock(self._handle, fcntl.LOCK_SH)  # waits for who puts it right just now
            self.alone = False

    def share(self) -> None:
        """Let others in."""
        fcntl.flock(self._handle, fcntl.LOCK_SH)

    def close(self) -> None:
        """Give it back."""
        os.close(self._handle)

    def __enter__(self) -> Self:
        """Have it."""
        return self

    def __exit__(self, *details: object) -> None:
        """Give it back."""
        self.close()


def put_right(file: Path, *, sure: bool = False) -> Rescue | None:
    """Look at a database that nobody has open, and put it right if it is damaged.

    Args:
        file: The database.
        sure: It is damaged; nobody needs to look.

    Returns:
        What was done; None where nothing was to be done.

    Raises:
        sqlite3.Error, OSError: It can't be read or put right.
    """
    restored = file.with_name(f"{file.name}.restored")
    if restored.exists() and not file.exists():
        restored.replace(file)  # a crash came between the last two steps
    if not file.exists() or not (sure or (_is_suspicious(file) and not _is_whole(file))):
        suspect(file).unlink(missing_ok=True)
        return None
    when = datetime.now(UTC)
    aside = file.with_name(f"{file.name}{time.strftime(MARKED)}")
    backup = next((each for each in backups_of(file) if _is_good_backup(each)), None)
    rescue = Rescue(file, aside, when)
    if backup:
        shutil.copyfile(backup, restored)
        restored.chmod(0o600)
        sync(restored)
        made = datetime.fromtimestamp(backup.stat().st_mtime, UTC)
        rescue = Rescue(file, aside, when, made)
    record(rescue)
    suspect(file).touch()  # without its -wal nothing else would tell, if this is cut off
    for ending in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            file.with_name(f"{file.name}{ending}").rename(f"{aside}{ending}")
    if backup:
        restored.replace(file)
    sync(file.parent)
    suspect(file).unlink(missing_ok=True)
    log.error("database.damaged", database=str(file), set_aside=str(aside), backup=str(backup))
    return rescue


def suspect(file: Path) -> Path:
    """Give the file whose presence says that damage was met: the next start looks."""
    return file.with_name(f"{file.name}.suspect")


def _is_suspicious(file: Path) -> bool:
    """Tell whether there is a reason to look: looking takes longer the larger it is."""
    if suspect(file).exists():
        return True
    size = file.stat().st_size
    if not size:
        return any(each.exists() for each in backups_of(file))
    with file.open("rb") as handle:
        if handle.read(len(_HEADER)) != _HEADER:
            return True
    wal = file.with_name(f"{file.name}-wal")
    return wal.exists() and wal.stat().st_size > 0


def _is_whole(file: Path) -> bool:
    return file.stat().st_size > 0 and is_sound(file)


def _is_good_backup(backup: Path) -> bool:
    try:
        return backup.exists() and backup.stat().st_size > 0 and is_sound(backup, alone=True)
    except (sqlite3.Error, OSError):
        return False
