"""The database opens, upgrades and fails in words; what is committed is there afterwards."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, insert, select, text

from tale.config import Settings
from tale.errors import ConfigError, StorageError
from tale.ids import next_id
from tale.paths import Paths
from tale.storage.database import Database, storable
from tale.storage.faults import faults_of
from tale.storage.schema import metadata, sessions
from tale.storage.upgrade import current_revision, is_current, newest_revision, upgrade

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
VERSIONS = sorted(
    file.name[:4]
    for file in (Path(sys.modules[upgrade.__module__].__file__ or "").parent).glob(
        "migrations/versions/0*.py"
    )
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.from_environment({"TALE_HOME": str(tmp_path / "home % ?#")})


def add(connection: Connection, name: str = "s-1") -> None:
    connection.execute(
        insert(sessions).values(id=name, title="", turns=0, created=NOON, updated=NOON)
    )


def names(connection: Connection) -> list[str]:
    return list(connection.scalars(select(sessions.c.id).order_by(sessions.c.id)))


def raw(paths: Paths, *statements: str) -> list[object]:
    """Run statements beside tale, as another program would."""
    connection = sqlite3.connect(paths.database)
    try:
        rows = [connection.execute(statement).fetchone() for statement in statements]
        connection.commit()
        return rows
    finally:
        connection.close()


async def test_what_was_written_is_there_when_it_is_opened_again(paths: Paths) -> None:
    async with Database.open(paths, Settings()) as database:
        await database.write(add)
    async with Database.open(paths, Settings()) as database:
        assert await database.read(names) == ["s-1"]


async def test_moments_come_back_in_utc_to_the_microsecond(paths: Paths) -> None:
    local = NOON.astimezone(timezone(timedelta(hours=2)))
    async with Database.open(paths, Settings()) as database:
        await database.write(
            lambda c: c.execute(
                insert(sessions).values(id="s", title="", turns=0, created=local, updated=NOON)
            )
        )
        found = await database.read(lambda c: c.scalar(select(sessions.c.created)))
    assert found == NOON
    assert found is not None
    assert found.utcoffset() == timedelta(0)


async def test_a_transaction_that_raises_leaves_nothing(paths: Paths) -> None:
    def work(connection: Connection) -> None:
        add(connection)
        raise LookupError("changed its mind")

    async with Database.open(paths, Settings()) as database:
        with pytest.raises(LookupError):
            await database.write(work)
        assert await database.read(names) == []


async def test_nothing_that_a_reader_writes_is_kept(paths: Paths) -> None:
    async with Database.open(paths, Settings()) as database:
        await database.read(add)
        assert await database.read(names) == []


async def test_the_file_is_durable_private_and_checks_its_references(paths: Paths) -> None:
    def pragmas(connection: Connection) -> list[object]:
        asked = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked]

    async with Database.open(paths, Settings()) as database:
        assert await database.read(pragmas) == ["wal", 2, 5_000, 1]
    assert stat.S_IMODE(paths.database.stat().st_mode) == 0o600
    assert stat.S_IMODE(paths.data.stat().st_mode) == 0o700


async def test_writers_and_readers_at_once_lose_nothing(paths: Paths) -> None:
    async with Database.open(paths, Settings()) as database:

        async def write(name: str) -> None:
            await database.write(lambda connection: add(connection, name))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(write, f"s-{number:02}")
                tasks.start_soon(database.read, names)
        assert len(await database.read(names)) == 20


def test_several_that_open_a_blank_database_at_once_all_succeed(paths: Paths) -> None:
    async def open_and_write(name: str) -> None:
        async with Database.open(paths, Settings()) as database:
            await database.write(lambda connection: add(connection, name))

    with ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(anyio.run, open_and_write, f"s-{n}") for n in range(4)]
        for job in jobs:
            job.result()
    assert raw(paths, "SELECT count(*) FROM sessions") == [(4,)]


async def test_a_file_that_lost_its_journal_mode_gets_it_back(paths: Paths) -> None:
    async with Database.open(paths, Settings()):
        pass
    raw(paths, "PRAGMA journal_mode = DELETE")
    async with Database.open(paths, Settings()) as database:
        mode = await database.read(lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar())
    assert mode == "wal"


def is_of_the_schema(name: str | None, kind: str, parents: object) -> bool:
    """Pass over the tables that SQLite makes for its full-text search."""
    del parents
    return kind != "table" or not (name or "").startswith("remembered_words")


@pytest.mark.parametrize("start", ["blank", *VERSIONS])
def test_every_earlier_schema_is_brought_to_what_the_code_expects(
    start: str, tmp_path: Path
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'old.db'}")
    if start != "blank":
        upgrade(engine, "old", to=start)
    upgrade(engine, "old")
    with engine.connect() as connection:
        opts = {"compare_type": True, "include_name": is_of_the_schema}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, metadata) == []
        assert current_revision(connection) == newest_revision()
    engine.dispose()


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [f"{number:04}" for number in range(1, len(VERSIONS) + 1)] == VERSIONS
    assert newest_revision() == VERSIONS[-1]


async def test_a_current_database_opens_without_alembic(paths: Paths) -> None:
    async with Database.open(paths, Settings()):
        pass
    script = (
        "import sys, anyio\n"
        "from tale.config import Settings\n"
        "from tale.paths import Paths\n"
        "from tale.storage.database import Database\n"
        "async def main():\n"
        "    async with Database.open(Paths.from_environment(), Settings()): pass\n"
        "anyio.run(main)\n"
        "print('alembic' in sys.modules)\n"
    )
    done = await anyio.run_process(
        [sys.executable, "-c", script], env={**os.environ, "TALE_HOME": str(paths.data)}
    )
    assert done.stdout.strip() == b"False"


@pytest.mark.parametrize("revision", ["0999", "abcdef"])
async def test_a_database_of_a_newer_tale_is_left_alone(paths: Paths, revision: str) -> None:
    async with Database.open(paths, Settings()):
        pass
    raw(paths, f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608
    with pytest.raises(StorageError, match=rf"newer tale: its schema is {revision}") as caught:
        async with Database.open(paths, Settings()):
            pass
    assert "Upgrade tale" in caught.value.hint


async def test_a_data_folder_that_is_a_file_is_named(paths: Paths) -> None:
    paths.data.write_text("in the way")
    with pytest.raises(StorageError, match="home % ") as caught:
        async with Database.open(paths, Settings()):
            pass
    assert "TALE_HOME" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_is_not_writable_is_named(paths: Paths) -> None:
    paths.data.mkdir(mode=0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        async with Database.open(paths, Settings()):
            pass


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (sqlite3.SQLITE_BUSY, "locked for 5 s"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked for 5 s"),
        (sqlite3.SQLITE_FULL, "disk is full"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "can't be written"),
        (sqlite3.SQLITE_CANTOPEN, "can't be opened"),
        (sqlite3.SQLITE_IOERR_FSYNC, "disk reports an error"),
        (sqlite3.SQLITE_CORRUPT, "damaged"),
        (sqlite3.SQLITE_RANGE, "out of range"),
    ],
)
def test_sqlite_errors_are_told_in_words(code: int, says: str) -> None:
    fault = sqlite3.OperationalError("out of range")
    fault.sqlite_errorcode = code
    with pytest.raises(StorageError, match=says) as caught, faults_of("/data/tale.db"):
        raise fault
    assert caught.value.message.startswith("/data/tale.db: ")


async def test_a_lock_held_by_another_program_ends_in_words(paths: Paths) -> None:
    async with Database.open(paths, Settings()) as database:
        other = sqlite3.connect(paths.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        def impatient(connection: Connection) -> None:
            connection.exec_driver_sql("PRAGMA busy_timeout = 1")
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        try:
            with pytest.raises(StorageError, match="locked"):
                await database.read(impatient)
        finally:
            other.close()


async def test_a_full_disk_ends_in_words_and_keeps_what_was_there(paths: Paths) -> None:
    def fill(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        for number in range(1000):
            add(connection, f"s-{number:030}")

    async with Database.open(paths, Settings()) as database:
        await database.write(add)
        with pytest.raises(StorageError, match="disk is full"):
            await database.write(fill)
        assert await database.read(names) == ["s-1"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "can't be understood"),
        ("oracle9://x/y", "can't be understood"),
        ("sqlite:///tmp/x.db", "names an SQLite file"),
    ],
)
async def test_a_database_url_that_is_wrong_is_a_setting_that_is_wrong(
    paths: Paths, url: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        async with Database.open(paths, Settings(database_url=url)):
            pass


@pytest.mark.skipif(find_spec("psycopg") is not None, reason="the driver is installed")
async def test_a_missing_driver_is_named_with_what_brings_it(paths: Paths) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/tale"
    with pytest.raises(ConfigError, match="psycopg") as caught:
        async with Database.open(paths, Settings(database_url=url)):
            pass
    assert "postgres" in caught.value.hint


def test_the_revision_of_a_blank_database_is_none(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'blank.db'}")
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        assert current_revision(connection) is None
    assert not is_current(engine, "blank")
    engine.dispose()


@given(st.text(alphabet=st.characters()))
def test_any_text_can_be_made_storable(given_text: str) -> None:
    assert "\0" not in storable(given_text)
    storable(given_text).encode()


@given(st.lists(st.integers(-(10**6), 10**8), max_size=50))
def test_ids_increase_whatever_the_clock_does(seconds: list[int]) -> None:
    last = None
    for second in seconds:
        made = next_id("t-", NOON + timedelta(seconds=second), last)
        assert last is None or made > last
        assert len(made) == 10
        last = made


def test_ids_of_later_seconds_are_greater() -> None:
    first = next_id("t-", NOON, None)
    assert next_id("t-", NOON + timedelta(seconds=1), None) > first
