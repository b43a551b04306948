"""Workflows are recorded step by step and go on where they were cut off: DBOS, and its twin."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from memory_database import drop_schema
from tale.errors import StorageError, TaskError
from tale.storage.set_aside import rescues
from tale.tasks.adopted import AdoptingJournal
from tale.tasks.dbos_journal import DbosJournal
from tale.tasks.durable import (
    Changed,
    Journal,
    Json,
    MemoryJournal,
    Recorded,
    Recorder,
    Work,
)

pytestmark = pytest.mark.anyio


class Effects:
    """Counts what is really done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def of(self, name: str, value: Json = None) -> Callable[[], Awaitable[Json]]:
        async def call() -> Json:
            self.done.append(name)
            return value if value is not None else {"name": name}

        return call


Opener = Callable[[], "Journal"]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Give a journal over the same record at each call, as a process that starts anew would."""
    memory = MemoryJournal()
    if request.param == "memory":
        return lambda: memory
    url = await drop_schema("tale_steps") if request.param == "postgresql" else ""
    return lambda: DbosJournal(tmp_path / "steps.db", url)


@asynccontextmanager
async def opened(opener: Opener) -> AsyncGenerator[Journal]:
    journal = opener()
    with anyio.fail_after(60):
        async with journal.open():
            yield journal


async def run_until(journal: Journal, work: Callable[[Recorder], Awaitable[None]]) -> None:
    """Run a workflow and cut it off where it waits."""
    held = anyio.Event()

    async def holding(recorder: Recorder) -> None:
        await work(recorder)
        held.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal.run, "t-1", holding)
        await held.wait()
        tasks.cancel_scope.cancel()


async def test_what_was_recorded_before_a_crash_is_given_again_and_not_done_again(
    opener: Opener,
) -> None:
    effects, seen = Effects(), list[Json]()

    async def work(recorder: Recorder) -> None:
        for name in ("ask", "act"):
            seen.append(await recorder.step(name, effects.of(name)))

    async def more(recorder: Recorder) -> None:
        await work(recorder)
        seen.append(await recorder.step("last", effects.of("last")))

    async with opened(opener) as journal:
        await run_until(journal, work)
    async with opened(opener) as journal:
        await journal.run("t-1", more)
    assert effects.done == ["ask", "act", "last"]
    assert seen == [{"name": name} for name in ("ask", "act", "ask", "act", "last")]


async def test_a_workflow_that_was_cut_off_goes_on_in_the_same_process(opener: Opener) -> None:
    effects = Effects()

    async def work(recorder: Recorder) -> None:
        await recorder.step("ask", effects.of("ask", "é\n\x00"))

    async with opened(opener) as journal:
        for _ in range(3):
            await run_until(journal, work)
        await journal.run("t-1", work)
        assert await journal.known() == {"t-1"}
    assert effects.done == ["ask"]


async def test_many_workflows_keep_their_own_steps(opener: Opener) -> None:
    effects, seen = Effects(), dict[str, Json]()

    def working(identity: str) -> Work:
        async def work(recorder: Recorder) -> None:
            for step in range(4):
                seen[identity] = await recorder.step("ask", effects.of(f"{identity}{step}"))

        return work

    async with opened(opener) as journal, anyio.create_task_group() as tasks:
        for identity in "abcdefgh":
            tasks.start_soon(journal.run, identity, working(identity))
    assert seen == {who: {"name": f"{who}3"} for who in "abcdefgh"}


async def test_work_that_raises_keeps_its_record_and_the_error_is_told(opener: Opener) -> None:
    effects = Effects()

    async def work(recorder: Recorder) -> None:
        await recorder.step("ask", effects.of("ask"))
        if len(effects.done) == 1:
            effects.done.append("raised")
            raise TaskError("overtaken")

    async with opened(opener) as journal:
        with pytest.raises(TaskError, match="overtaken"):
            await journal.run("t-1", work)
        await journal.run("t-1", work)
    assert effects.done == ["ask", "raised"]


async def test_a_record_of_another_course_is_noticed(opener: Opener) -> None:
    effects = Effects()

    async def one(recorder: Recorder) -> None:
        await recorder.step("ask", effects.of("ask"))

    async def other(recorder: Recorder) -> None:
        await recorder.step("act", effects.of("act"))

    async with opened(opener) as journal:
        await run_until(journal, one)
        with pytest.raises(Changed):
            await journal.run("t-1", other)
        await journal.forget(["t-1"])
        await journal.run("t-1", other)
    assert effects.done == ["ask", "act"]


async def test_what_is_forgotten_is_done_anew(opener: Opener) -> None:
    effects = Effects()

    async def work(recorder: Recorder) -> None:
        await recorder.step("ask", effects.of("ask"))

    async with opened(opener) as journal:
        await journal.run("t-1", work)
        await journal.forget(["t-1", "t-none"])
        assert await journal.known() == set()
        await journal.run("t-1", work)
    assert effects.done == ["ask", "ask"]


async def test_what_a_workflow_recorded_can_be_read_while_it_rests(opener: Opener) -> None:
    effects = Effects()

    async def work(recorder: Recorder) -> None:
        await recorder.step("ask", effects.of("ask", {"n": [1, "é", None]}))
        await recorder.step("act", effects.of("act"))

    async with opened(opener) as journal:
        await run_until(journal, work)
        assert await journal.recorded("t-1") == [
            ("ask", {"n": [1, "é", None]}),
            ("act", {"name": "act"}),
        ]
        assert await journal.recorded("t-none") == []


# -- what was recorded elsewhere -----------------------------------------------------------------


class Elsewhere:
    """Steps of other machines, in memory."""

    def __init__(self, **steps: list[Recorded]) -> None:
        self.steps = {identity.replace("_", "-"): one for identity, one in steps.items()}

    async def of(self, identity: str) -> list[Recorded]:
        return list(self.steps.get(identity, []))

    async def known(self) -> set[str]:
        return set(self.steps)

    async def forget(self, identities: Collection[str]) -> None:
        for identity in identities:
            self.steps.pop(identity, None)


async def test_what_was_done_elsewhere_is_given_and_recorded_here(opener: Opener) -> None:
    effects, seen = Effects(), list[Json]()
    elsewhere = Elsewhere(t_1=[("ask", "from there"), ("act", {"ok": True})])

    async def work(recorder: Recorder) -> None:
        for name in ("ask", "act", "last"):
            seen.append(await recorder.step(name, effects.of(name)))

    async with opened(lambda: AdoptingJournal(opener(), elsewhere)) as journal:
        assert await journal.known() == {"t-1"}
        assert [name for name, _ in await journal.recorded("t-1")] == ["ask", "act"]
        await run_until(journal, work)
        assert [name for name, _ in await journal.recorded("t-1")] == ["ask", "act", "last"]
    async with opened(opener) as journal:  # it is all here now
        await journal.run("t-1", work)
    assert effects.done == ["last"]
    assert seen == 2 * ["from there", {"ok": True}, {"name": "last"}]


async def test_what_was_done_elsewhere_is_given_once_where_it_is_cut_off(opener: Opener) -> None:
    effects, seen = Effects(), list[Json]()
    elsewhere = Elsewhere(t_1=[("ask", 1), ("ask", 2)])

    def asking(times: int) -> Work:
        async def work(recorder: Recorder) -> None:
            for _ in range(times):
                seen.append(await recorder.step("ask", effects.of("ask", 3)))

        return work

    async with opened(lambda: AdoptingJournal(opener(), elsewhere)) as journal:
        await run_until(journal, asking(1))
        assert await journal.recorded("t-1") == [("ask", 1), ("ask", 2)]
    async with opened(lambda: AdoptingJournal(opener(), elsewhere)) as journal:
        await journal.run("t-1", asking(3))
    assert seen == [1, 1, 2, 3]
    assert effects.done == ["ask"]


async def test_another_course_than_elsewhere_is_noticed_and_begun_anew(opener: Opener) -> None:
    effects = Effects()
    elsewhere = Elsewhere(t_1=[("ask", 1), ("ask", 2)], t_2=[("ask", 1)])

    async def work(recorder: Recorder) -> None:
        await recorder.step("ask", effects.of("ask"))
        await recorder.step("act", effects.of("act"))

    async with opened(lambda: AdoptingJournal(opener(), elsewhere)) as journal:
        with pytest.raises(Changed, match="elsewhere"):
            await journal.run("t-1", work)
        assert effects.done == []
        await journal.forget(["t-1"])
        await journal.run("t-1", work)
        assert await journal.known() == {"t-1", "t-2"}
    assert effects.done == ["ask", "act"]


# -- DBOS alone ----------------------------------------------------------------------------------


async def test_an_effect_that_could_not_be_recorded_is_not_had_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    effects, file = Effects(), tmp_path / "steps.db"
    full = {"on": False}

    async def big() -> Json:
        effects.done.append("big")
        if not full["on"]:
            full["on"] = True
            block(file)
        return "x" * 100_000

    async def work(recorder: Recorder) -> None:
        await recorder.step("ask", effects.of("ask"))
        await recorder.step("big", big)
        await recorder.step("last", effects.of("last"))

    async with opened(lambda: DbosJournal(file)) as journal:
        with pytest.raises(StorageError):
            await journal.run("t-1", work)
        unblock(file)
        await journal.run("t-1", work)
    assert effects.done == ["ask", "big", "last"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def block(file: Path) -> None:
    """Let no step be recorded, as a full disk would."""
    with sqlite3.connect(file) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON operation_outputs"
            " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )


def unblock(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TRIGGER full")


async def test_a_second_process_waits_until_the_first_has_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = DbosJournal(tmp_path / "steps.db"), DbosJournal(tmp_path / "steps.db")
    order: list[str] = []

    async def use_second() -> None:
        async with second.open():
            order.append("second")

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks, first.open():
            tasks.start_soon(use_second)
            while not any("waiting_for_lock" in one.message for one in caplog.records):
                await anyio.lowlevel.checkpoint()
            order.append("first")
    assert order == ["first", "second"]


async def test_nothing_that_runs_code_when_it_is_read_is_stored(tmp_path: Path) -> None:
    async def work(recorder: Recorder) -> None:
        await recorder.step("ask", Effects().of("ask"))

    file = tmp_path / "steps.db"
    async with opened(lambda: DbosJournal(file)) as journal:
        await journal.run("t-1", work)
    with sqlite3.connect(file) as connection:
        kinds = connection.execute(
            "SELECT serialization FROM operation_outputs UNION"
            " SELECT serialization FROM workflow_status"
        ).fetchall()
    assert kinds == [("tale_json",)]


async def test_a_database_that_can_not_be_made_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "steps.db").mkdir()
    with pytest.raises(StorageError, match=r"steps\.db"):
        async with DbosJournal(tmp_path / "steps.db").open():
            pass


async def test_a_record_that_is_not_open_yet_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"steps\.db is not open yet"):
        await DbosJournal(tmp_path / "steps.db").recorded("t-1")


async def test_a_damaged_file_is_set_aside_and_work_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    effects, file = Effects(), tmp_path / "steps.db"
    file.write_bytes(b"no database at all" * 100)

    async def work(recorder: Recorder) -> None:
        await recorder.step("ask", effects.of("ask"))

    async with opened(lambda: DbosJournal(file)) as journal:
        await journal.run("t-1", work)
        assert "it begins anew" in journal.lost
    assert [data[:11] for data in damaged_in(tmp_path)] == [b"no database"]
    assert any("journal.damaged" in one.message for one in caplog.records)
    assert [one.file for one in rescues(tmp_path)] == [file]


def damaged_in(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.glob("*.damaged-*") if file.suffix != ".json"]


_ASKING_MEANWHILE = """
import sys
import threading
from sqlalchemy import select
from tale.storage.schema import tasks
from tale.tasks.dbos_journal import DbosJournal

assert "dbos" not in sys.modules
loading = threading.Thread(target=__import__, args=("dbos",))
loading.start()
while loading.is_alive():
    str(select(tasks.c.id).where(tasks.c.id.in_([])))
assert "dbos" in sys.modules
"""


def test_questions_are_answered_while_the_library_is_still_loaded() -> None:
    asked = subprocess.run(
        [sys.executable, "-c", _ASKING_MEANWHILE], check=False, capture_output=True, text=True
    )
    assert asked.returncode == 0, asked.stderr
