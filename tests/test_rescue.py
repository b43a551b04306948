"""A damaged database is set aside, its backup takes its place, and the user is told."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Connection, insert, select

from tale.cli.check_database import check_database
from tale.config import Settings
from tale.errors import StorageDamaged, StorageError
from tale.paths import Paths
from tale.storage.backup import back_up, backups_of, is_sound, keep_backed_up
from tale.storage.database import Database
from tale.storage.rescue import Lease, suspect
from tale.storage.schema import sessions
from tale.storage.set_aside import Rescue, mark_handled, record, rescues
from tale.tasks.checkpoint import Checkpoint
from tale.tasks.rebuilt import see_to_lost_tasks
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task_rows import Change

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.from_environment({"TALE_HOME": str(tmp_path / "home % ?#")})


def add(connection: Connection, name: str) -> None:
    connection.execute(
        insert(sessions).values(id=name, title="x" * 500, turns=0, created=NOW, updated=NOW)
    )


def names(connection: Connection) -> list[str]:
    return list(connection.scalars(select(sessions.c.id).order_by(sessions.c.id)))


async def filled(paths: Paths, *wanted: str) -> None:
    async with Database.open(paths, Settings()) as database:
        for name in wanted:
            await database.write(lambda connection, name=name: add(connection, name))


async def found(paths: Paths) -> list[str]:
    async with Database.open(paths, Settings()) as database:
        return await database.read(names)


def garble(file: Path, start: int = 0) -> bytes:
    """Overwrite a file from a place on; gives what it is then."""
    size = file.stat().st_size
    with file.open("r+b") as handle:
        handle.seek(start)
        handle.write(b"\xff" * (size - start))
    return file.read_bytes()


def backed_up(paths: Paths) -> None:
    back_up(paths.database)


# -- backups -------------------------------------------------------------------------------------


async def test_a_backup_holds_what_is_there_while_others_write(paths: Paths) -> None:
    async with Database.open(paths, Settings()) as database:
        await database.write(lambda connection: add(connection, "s-1"))
        newest = back_up(paths.database)
        await database.write(lambda connection: add(connection, "s-2"))
    with closing(sqlite3.connect(newest)) as connection:
        assert connection.execute("SELECT id FROM sessions").fetchall() == [("s-1",)]
    assert newest.stat().st_mode & 0o777 == 0o600


async def test_the_backup_before_is_kept_too(paths: Paths) -> None:
    await filled(paths, "s-1")
    first = back_up(paths.database).read_bytes()
    await filled(paths, "s-2")
    back_up(paths.database)
    newest, older = backups_of(paths.database)
    assert older.read_bytes() == first != newest.read_bytes()


async def test_damage_is_not_copied_over_a_sound_backup(paths: Paths) -> None:
    await filled(paths, *(f"s-{number}" for number in range(50)))
    saved = back_up(paths.database).read_bytes()
    garble(paths.database, 4096)
    with pytest.raises(StorageDamaged, match="no backup of it was made") as caught:
        back_up(paths.database)
    assert "tale stop" in caught.value.hint
    assert backups_of(paths.database)[0].read_bytes() == saved


async def test_a_backup_is_made_only_where_something_has_changed(paths: Paths) -> None:
    newest, rounds = backups_of(paths.database)[0], list[tuple[int, float]]()

    class Enough(Exception):
        pass

    async with Database.open(paths, Settings()) as database:

        async def pause(seconds: float) -> None:
            rounds.append((newest.stat().st_ino, seconds))
            if len(rounds) == 2:
                await database.write(lambda connection: add(connection, "s-1"))
            if len(rounds) == 3:
                raise Enough

        with pytest.raises(Enough):
            await keep_backed_up(paths.database, pause)
    first, same, other = (inode for inode, _ in rounds)
    assert first == same != other
    assert all(60 <= seconds <= 3600 for _, seconds in rounds)


async def test_a_backup_that_can_not_be_written_hinders_nothing(
    paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(paths, "s-1")
    paths.database.with_name("tale.db.backup-half").mkdir()

    async def once(seconds: float) -> None:
        del seconds
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await keep_backed_up(paths.database, once)
    assert "database.not_backed_up" in caplog.text


# -- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 20])
async def test_a_garbled_file_is_set_aside_and_its_backup_takes_its_place(
    paths: Paths, start: int
) -> None:
    await filled(paths, "s-1")
    backed_up(paths)
    await filled(paths, "s-2")
    damaged = garble(paths.database, start)
    assert await found(paths) == ["s-1"]
    [rescue] = rescues(paths.data)
    assert rescue.aside.read_bytes() == damaged
    assert rescue.backup is not None
    assert "its backup of" in str(rescue)
    assert paths.database.stat().st_mode & 0o777 == 0o600
    await filled(paths, "s-3")
    assert await found(paths) == ["s-1", "s-3"]


async def test_an_empty_file_is_damage_where_there_was_more(paths: Paths) -> None:
    await filled(paths, "s-1")
    backed_up(paths)
    os.truncate(paths.database, 0)
    assert await found(paths) == ["s-1"]


async def test_without_a_backup_a_new_one_is_begun_and_that_is_said(paths: Paths) -> None:
    await filled(paths, "s-1")
    garble(paths.database)
    assert await found(paths) == []
    [rescue] = rescues(paths.data)
    assert "there was no backup, so a new one was begun" in str(rescue)


async def test_a_damaged_backup_is_passed_over(paths: Paths) -> None:
    await filled(paths, "s-1")
    backed_up(paths)
    await filled(paths, "s-2")
    backed_up(paths)
    garble(backups_of(paths.database)[0])
    garble(paths.database)
    assert await found(paths) == ["s-1"]


async def crashed_from(paths: Paths, home: Path) -> Paths:
    """Give a database of 50 sessions that has a log of writes, as after a crash."""
    async with Database.open(paths, Settings()) as database:
        for number in range(50):
            await database.write(lambda c, n=number: add(c, f"s-{n:02}"))
        backed_up(paths)
        crashed = Paths.from_environment({"TALE_HOME": str(home / "crashed")})
        shutil.copytree(paths.data, crashed.data)
    with closing(sqlite3.connect(crashed.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("UPDATE sessions SET turns = 1 WHERE id = 's-00'")
        connection.commit()
        again = home / "again"
        shutil.copytree(crashed.data, again)
    crashed = Paths.from_environment({"TALE_HOME": str(again)})
    assert crashed.database.with_name("tale.db-wal").stat().st_size
    return crashed


def garble_sessions(file: Path) -> None:
    """Overwrite the one page that nobody looks at when the database is opened."""
    with closing(
        sqlite3.connect(f"{file.absolute().as_uri()}?immutable=1", uri=True)
    ) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'sessions'"
        root = connection.execute(query).fetchone()[0]
    with file.open("r+b") as handle:
        handle.seek((root - 1) * 4096)
        handle.write(b"\xff" * 4096)


async def test_after_a_crash_the_whole_file_is_looked_at(paths: Paths, tmp_path: Path) -> None:
    crashed = await crashed_from(paths, tmp_path)
    garble(crashed.database, 8192)
    assert len(await found(crashed)) == 50
    assert rescues(crashed.data)


async def test_a_file_that_was_only_half_set_aside_is_looked_at_again(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed = await crashed_from(paths, tmp_path)
    garble_sessions(crashed.database)
    rename = Path.rename

    def stop(path: Path, target: str) -> Path:
        if path == crashed.database:
            raise OSError(errno.EIO, "the machine stops")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stop)
        with pytest.raises(StorageError, match="the machine stops"):
            await found(crashed)
    assert not crashed.database.with_name("tale.db-wal").exists()
    assert len(await found(crashed)) == 50
    assert rescues(crashed.data)
    assert not suspect(crashed.database).exists()


async def test_damage_that_is_met_is_put_right_at_the_next_start(paths: Paths) -> None:
    await filled(paths, *(f"s-{number}" for number in range(50)))
    backed_up(paths)
    garble_sessions(paths.database)
    with pytest.raises(StorageDamaged, match="it is damaged") as caught:
        async with Database.open(paths, Settings()) as database:
            await database.read(lambda c: c.execute(select(sessions.c.title)).all())
    assert "tale stop" in caught.value.hint
    assert suspect(paths.database).exists()
    assert len(await found(paths)) == 50
    assert not suspect(paths.database).exists()


async def test_a_database_that_others_have_open_is_not_taken_from_them(paths: Paths) -> None:
    await filled(paths, "s-1")
    backed_up(paths)
    with Lease(paths.database) as other:
        other.share()
        damaged = garble(paths.database)
        with pytest.raises(StorageDamaged, match="is not a database"):
            await found(paths)
        assert paths.database.read_bytes() == damaged
    assert await found(paths) == ["s-1"]


async def test_processes_that_start_together_put_it_right_once(paths: Paths) -> None:
    await filled(paths, "s-1")
    backed_up(paths)
    garble(paths.database)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(found, paths)
    assert len(rescues(paths.data)) == 1
    assert await found(paths) == ["s-1"]


async def test_a_crash_between_its_steps_is_made_good(paths: Paths) -> None:
    await filled(paths, "s-1")
    paths.database.rename(paths.database.with_name("tale.db.restored"))
    assert await found(paths) == ["s-1"]


async def test_what_can_only_not_be_read_is_left_alone(paths: Paths) -> None:
    paths.database.mkdir(parents=True)
    with pytest.raises(StorageError):
        await found(paths)
    assert not rescues(paths.data)


async def test_a_sound_database_is_sound(paths: Paths) -> None:
    await filled(paths, "s-1")
    assert is_sound(paths.database)


# -- tasks ---------------------------------------------------------------------------------------


class Snapshots:
    """Checkpoints of some tasks."""

    def __init__(self, *tasks: str) -> None:
        self._tasks = tasks

    async def tasks(self) -> Sequence[str]:
        return self._tasks

    async def list(self, task: str) -> Sequence[Checkpoint]:
        return (Checkpoint("0" * 40, task, 1, NOW, "at its end", "1" * 40),)


def rescue_of(paths: Paths, backup: datetime | None = NOW) -> Rescue:
    aside = paths.database.with_name("tale.db.damaged-1")
    aside.touch()
    rescue = Rescue(paths.database, aside, NOW, backup)
    record(rescue)
    return rescue


async def new_task(store: TaskStore, text: str) -> str:
    added = await store.add(NewTask(text))
    assert isinstance(added, Change)
    return added.task.id


async def test_what_ran_rests_what_waited_goes_on_and_what_is_lost_is_listed(paths: Paths) -> None:
    async with Database.open(paths, Settings()) as database:
        store = TaskStore(database, paths.workspaces)
        ran, waited = await new_task(store, "ran"), await new_task(store, "waits")
        began = await new_task(store, "began after the backup")
        await store.start(ran, "task", "")
        rescue_of(paths)
        snapshots = Snapshots(ran, began, "t-lost")
        for _ in range(2):  # the second start finds nothing left to do
            await see_to_lost_tasks(store, snapshots, paths.database, paths.workspaces)
        states = {one: (await store.get(one)).state for one in (ran, waited, began)}
        lost = await store.get("t-lost")
        events, _ = await store.events(ran, 0)
    assert states == {ran: "paused", waited: "queued", began: "paused"}
    assert [event.kind for event in events] == ["queued", "started", "note", "paused"]
    assert "is as it was at 2026-01-31 00:00 UTC" in str(events[2].data["text"])
    assert (lost.state, lost.created) == ("failed", NOW)
    assert "no backup of it knows this task" in str(lost.error)
    assert "tale checkpoints t-lost" in str(lost.hint)
    assert lost.workspace == str(paths.workspaces / "t-lost")


async def test_what_the_user_resumes_is_not_stopped_again(paths: Paths) -> None:
    async with Database.open(paths, Settings()) as database:
        store = TaskStore(database, paths.workspaces)
        ran = await new_task(store, "ran")
        await store.start(ran, "task", "")
        rescue_of(paths)
        await see_to_lost_tasks(store, Snapshots(), paths.database, paths.workspaces)
        await store.resume(ran)
        await see_to_lost_tasks(store, Snapshots(), paths.database, paths.workspaces)
        assert (await store.get(ran)).state == "queued"


# -- what the user is told -----------------------------------------------------------------------


async def test_doctor_tells_of_it_until_the_damaged_file_is_gone(paths: Paths) -> None:
    await filled(paths, "s-1")
    assert "no backup yet" in check_database(paths).detail
    backed_up(paths)
    assert "backed up 20" in check_database(paths).detail
    garble(paths.database)
    await found(paths)
    [rescue] = rescues(paths.data)
    mark_handled(rescue)
    check = check_database(paths)
    assert (check.level, check.detail) == ("warn", str(rescue))
    assert str(rescue.aside) in check.mend
    rescue.aside.unlink()
    assert check_database(paths).level == "ok"


async def test_half_a_note_says_nothing(paths: Paths) -> None:
    paths.data.mkdir()
    rescue_of(paths).note.write_text("{")
    assert rescues(paths.data) == ()
