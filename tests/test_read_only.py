"""A database that can't be written just now: writing is refused in words, reading goes on."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from small_disk import mounted
from tale.config import Settings
from tale.errors import StorageError, StorageReadOnly, error_from_code
from tale.memory.exchange import Work
from tale.memory.outbox import Outbox
from tale.memory.turns import NewTurn, TurnStore
from tale.paths import Paths
from tale.storage.database import Database
from tale.storage.faults import faults_of
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task_rows import Change

pytestmark = pytest.mark.anyio


def paths_of(home: Path) -> Paths:
    return Paths.from_environment({"TALE_HOME": str(home)})


@contextmanager
def locked(file: Path) -> Generator[None]:
    """Hold the lock for writing, as a database browser does in the middle of a change."""
    other = sqlite3.connect(file, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
    finally:
        other.close()


def patience(connection: Connection) -> object:
    return connection.exec_driver_sql("PRAGMA busy_timeout").scalar()


async def test_a_lock_of_another_program_refuses_tasks_while_reading_goes_on(
    tmp_path: Path,
) -> None:
    paths = paths_of(tmp_path)
    async with Database.open(paths, Settings(), busy_seconds=0.05) as database:
        store = TaskStore(database, paths.workspaces)
        before = await store.add(NewTask("before"))
        assert isinstance(before, Change)
        with locked(paths.database):
            with pytest.raises(StorageReadOnly, match="locked") as caught:
                await store.add(NewTask("meanwhile"))
            assert [task.text for task in await store.newest(limit=9)] == ["before"]
            assert len((await store.events(before.task.id, 0))[0]) == 1
        assert str(paths.database) in caught.value.message
        assert "Close the program" in caught.value.hint
        assert "only reads" in caught.value.hint
        await store.add(NewTask("after"))
        assert [task.text for task in await store.newest(limit=9)] == ["after", "before"]


async def test_a_locked_database_refuses_turns_while_conversations_are_read(
    tmp_path: Path,
) -> None:
    paths = paths_of(tmp_path)
    async with Database.open(paths, Settings(), busy_seconds=0.05) as database:
        turns = TurnStore(database)
        first = await turns.add(None, NewTurn("user", "hello"))
        with locked(paths.database):
            with pytest.raises(StorageReadOnly, match="locked"):
                await turns.add(first.session, NewTurn("user", "are you there?"))
            with pytest.raises(StorageReadOnly, match="locked"):
                await Outbox(database).keep(
                    Work("do it", None, first.session, "k"), NewTurn("assistant", "kept")
                )
            assert [session.turns for session in await turns.latest(9)] == [1]
        assert await turns.turns(first.session) == [first]


async def test_whoever_queues_behind_a_lock_waits_less_until_it_is_gone(tmp_path: Path) -> None:
    paths = paths_of(tmp_path)
    async with Database.open(paths, Settings(), busy_seconds=0.3) as database:
        assert await database.write(patience) == 300
        with locked(paths.database), pytest.raises(StorageReadOnly):
            await database.write(patience)
        assert await database.write(patience) == 200
        assert await database.write(patience) == 300


async def test_a_full_disk_refuses_tasks_whole_and_takes_them_once_there_is_space(
    tmp_path: Path,
) -> None:
    with mounted(tmp_path / "disk") as disk:
        paths = paths_of(disk.path)
        async with Database.open(paths, Settings()) as database:
            store = TaskStore(database, paths.workspaces)
            await store.add(NewTask("before"))
            disk.fill()
            with pytest.raises(StorageReadOnly, match="disk is full") as caught:
                await store.add(NewTask("x" * 150_000))
            assert f"0.0 MiB left in {disk.path}" in caught.value.message
            assert "Free some space" in caught.value.hint
            assert [task.text for task in await store.newest(limit=9)] == ["before"]
            disk.free()
            await store.add(NewTask("after"))
            assert [task.text for task in await store.newest(limit=9)] == ["after", "before"]


@pytest.mark.parametrize(
    ("code", "only_written"),
    [
        (sqlite3.SQLITE_BUSY, True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, True),
        (sqlite3.SQLITE_FULL, True),
        (sqlite3.SQLITE_READONLY, True),
        (sqlite3.SQLITE_READONLY_DIRECTORY, True),
        (sqlite3.SQLITE_IOERR_WRITE, True),
        (sqlite3.SQLITE_IOERR_FSYNC, True),
        (sqlite3.SQLITE_IOERR_READ, False),
        (sqlite3.SQLITE_CORRUPT, False),
        (sqlite3.SQLITE_NOTADB, False),
    ],
)
def test_what_only_keeps_from_writing_is_told_from_what_is_broken(
    code: int, *, only_written: bool
) -> None:
    fault = sqlite3.OperationalError("as it is")
    fault.sqlite_errorcode = code
    with pytest.raises(StorageError) as caught, faults_of("/data/tale.db"):
        raise fault
    assert isinstance(caught.value, StorageReadOnly) == only_written
    assert ("only reads" in caught.value.hint) == only_written


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_for_a_file_is_a_full_disk(number: int, tmp_path: Path) -> None:
    with (
        pytest.raises(StorageReadOnly, match=r"disk is full .* MiB left"),
        faults_of(str(tmp_path / "tale.db")),
    ):
        raise OSError(number, os.strerror(number))


def test_that_it_is_read_only_crosses_processes() -> None:
    fault = error_from_code(StorageReadOnly.code, "full", "free some")
    assert isinstance(fault, StorageReadOnly)
