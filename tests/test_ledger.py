"""The ledger over real files: what is kept, what survives, and what it never does to a request."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from small_disk import mounted
from tale.errors import StorageError
from tale.models.assess import Kind
from tale.models.backend import Role, Usage
from tale.models.entry import Entry, Row, outcome_of
from tale.models.estimates import Outcome
from tale.models.ledger import Ledger
from tale.models.ledger_file import LedgerFile, read_usage
from tale.models.naive import History, Naive
from tale.models.usage import UsageReport, merged, report, tally_of

pytestmark = pytest.mark.anyio

HOUR, DAY = 3600.0, 86400.0


def now() -> float:
    return 1_000_000.0


def entry(number: int = 0, **changes: object) -> Entry:
    made = Entry(
        id=f"r{number}",
        at=1_000_000.0 + number,
        session=None,
        own=False,
        model="small",
        role="ux",
        kind="talk",
        band="easy",
        usage=Usage(prompt=100, completion=20, cached=60),
        said="x" * 40,
        prompt_bytes=400,
        first_token=0.2,
        seconds=1.5,
        finish="stop",
    )
    return replace(made, **changes)  # pyright: ignore[reportArgumentType]


def row(number: int = 0, at: float = 1_000_000.0, **changes: object) -> Row:
    made = Row.of(entry(number, at=at), 10, Naive(100, 20, 30))
    return replace(made, **changes)  # pyright: ignore[reportArgumentType]


def set_aside(path: Path) -> list[Path]:
    return [
        file for file in path.parent.glob("*.damaged-*") if not file.name.endswith(("wal", "shm"))
    ]


def _opened(path: Path) -> LedgerFile:
    return LedgerFile.open(path)


def _written(path: Path) -> int:
    return report(read_usage(path), None).total.requests


def _other_version(path: Path) -> None:
    _opened(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def _other_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE cats (name TEXT)")


def _no_database(path: Path) -> None:
    path.write_bytes(b"not a database at all, whatever its name says" * 100)


def _folder(path: Path) -> None:
    path.mkdir()


class Learner:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.learned: list[Outcome] = []
        self.judged: list[Outcome] = []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncGenerator[Ledger]:
    async with Ledger(path, clock=now) as ledger:
        yield ledger


class TestNoting:
    async def test_what_is_noted_counts_at_once(self, ledger: Ledger) -> None:
        ledger.note(entry(1))
        ledger.note(entry(2, kind="code", model="large", role="task"))
        made = await ledger.usage()
        assert made.total.requests == 2
        assert (made.total.prompt, made.total.cached, made.total.completion) == (200, 120, 40)
        assert {(line.model, line.kind) for line in made.lines} == {
            ("small", "talk"),
            ("large", "code"),
        }

    async def test_a_clean_end_writes_what_is_left(self, path: Path) -> None:
        async with Ledger(path, clock=now) as ledger:
            ledger.note(entry(1))
        (sum_,) = read_usage(path)
        assert sum_.requests == 1

    async def test_what_is_noted_is_written_without_being_asked_for(self, path: Path) -> None:
        async with Ledger(path, clock=now) as ledger:
            ledger.note(entry(1))
            with anyio.fail_after(20):
                while not _written(path):
                    await anyio.lowlevel.checkpoint()

    async def test_since_leaves_out_what_was_before(self, ledger: Ledger) -> None:
        ledger.note(entry(1))
        ledger.note(entry(9))
        assert (await ledger.usage(since=1_000_005.0)).total.requests == 1

    async def test_said_is_counted_by_the_tokenizer_where_there_is_one(self, path: Path) -> None:
        asked: list[str] = []

        async def count(model: str, text: str) -> int | None:
            asked.append(model)
            return len(text) if model == "small" else None

        async with Ledger(path, count=count, clock=now) as ledger:
            ledger.note(entry(1, said="seven c"))
            for number in (2, 3):
                ledger.note(entry(number, model="other"))
            ledger.note(entry(4, said="four"))
            ledger.note(entry(5, said="x" * 100_000, prompt_bytes=200_000))
        with closing(_opened(path)) as file:
            assert [row.said for row in file.newest(9)] == [7, 10, 10, 4, 50]
        assert asked == ["small", "other", "small"]

    async def test_said_is_else_estimated_from_the_prompt_itself(self, ledger: Ledger) -> None:
        assert entry(said="x" * 40, prompt_bytes=400, usage=Usage(prompt=100)).estimated_said == 10
        assert entry(said="é" * 200, prompt_bytes=400, usage=Usage(prompt=7)).estimated_said == 7
        assert entry(prompt_bytes=0).estimated_said == 0

    async def test_a_conversation_goes_on_for_the_loop_after_a_restart(self, path: Path) -> None:
        turn = {"session": "s1", "said": "x" * 40, "prompt_bytes": 400}
        async with Ledger(path, clock=now) as ledger:
            ledger.note(entry(1, **turn))
        async with Ledger(path, clock=now) as ledger:
            ledger.note(entry(2, **turn))
            made = await ledger.usage()
        # 90 of system and template, then 10 said and 20 answered, and 10 more.
        assert made.naive.prompt == 100 + (90 + 30 + 10)

    async def test_batches_and_a_missing_file_change_no_figure(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        sessions = ("a", "b", None, "a", "a", "b", None, "a")
        entries = [
            entry(number, session=session, own=number == 4, said="x" * 10 * number)
            for number, session in enumerate(sessions)
        ]
        reports: list[UsageReport] = []
        for path, batch in (("one/l.db", 8), ("two/l.db", 1), ("three/l.db", 3), ("file/l.db", 2)):
            async with Ledger(tmp_path / path, clock=now) as ledger:
                for at in range(0, len(entries), batch):
                    for each in entries[at : at + batch]:
                        ledger.note(each)
                    await ledger.flush()
                reports.append(await ledger.usage())
        assert reports == [reports[0]] * 4
        assert reports[0].naive.prompt > reports[0].total.prompt


class TestFailures:
    @pytest.mark.parametrize("spoil", [_no_database, _folder, _other_version, _other_program])
    async def test_a_file_that_is_no_use_is_set_aside(
        self, path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        path.parent.mkdir()
        spoil(path)
        async with Ledger(path, clock=now) as ledger:
            ledger.note(entry(1))
            assert (await ledger.usage()).total.requests == 1
        assert len(set_aside(path)) == 1
        assert "ledger.set_aside" in caplog.text
        assert _written(path) == 1

    async def test_damage_that_shows_later_loses_nothing_new(self, path: Path) -> None:
        async with Ledger(path, clock=now) as ledger:
            ledger.note(entry(1))
            await ledger.flush()
            with closing(sqlite3.connect(path)) as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with path.open("r+b") as file:
                file.write(b"\0" * 60_000)
            ledger.note(entry(2))
            assert (await ledger.usage()).total.requests >= 1
        assert len(set_aside(path)) == 1
        assert _written(path) == 1

    async def test_where_nothing_can_be_written_requests_count_all_the_same(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "ledger.db"
        async with Ledger(path, clock=now) as ledger:
            for number in range(3):
                ledger.note(entry(number))
                await ledger.flush()
            assert (await ledger.usage()).total.requests == 3
        assert caplog.text.count("ledger.not_writable") == 1

    async def test_a_full_disk_is_waited_for(self, tmp_path: Path) -> None:
        with mounted(tmp_path / "disk") as disk:
            path = disk.path / "ledger.db"
            async with Ledger(path, clock=now) as ledger:
                await ledger.flush()
                disk.fill()
                for number in range(200):
                    ledger.note(entry(number, session="s", said="x" * 40))
                assert (await ledger.usage()).total.requests == 200
                disk.free()
                ledger.note(entry(200))
            assert _written(path) == 201

    async def test_a_row_that_can_not_be_kept_takes_nobody_down(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with Ledger(path, clock=now) as ledger:
            ledger.note(entry(1))
            ledger.note(entry(2, usage=Usage(prompt=2**70)))
            await ledger.flush()
            ledger.note(entry(3))
            assert (await ledger.usage()).total.requests == 1
        assert caplog.text.count("ledger.rows_lost") == 1

    async def test_a_learner_that_fails_keeps_nothing_from_being_written(self, path: Path) -> None:
        def learn(outcome: Outcome) -> None:
            raise RuntimeError(outcome.model)

        async with Ledger(path, learn=learn, clock=now) as ledger:
            ledger.note(entry(1))
        assert _written(path) == 1


class TestLearning:
    async def test_earlier_rows_come_first_and_new_ones_after_them(self, path: Path) -> None:
        async with Ledger(path, clock=now) as ledger:
            ledger.note(entry(1))
            ledger.note(entry(2, error="backend_failed", ok=False, finish=None))
        learner = Learner()
        async with Ledger(path, learn=learner.learned.append, clock=now) as ledger:
            ledger.note(entry(3))
            await ledger.flush()
        assert [outcome.at for outcome in learner.learned] == [1_000_001, 1_000_002, 1_000_003]
        assert [outcome.ok for outcome in learner.learned] == [None, False, None]

    async def test_a_late_word_marks_its_row_once(self, path: Path) -> None:
        learner = Learner()
        async with Ledger(path, judged=learner.judged.append, clock=now) as ledger:
            ledger.note(entry(1))
            await ledger.flush()
            for _ in range(2):
                ledger.outcome("r1", True)
                await ledger.flush()
            ledger.outcome("nobody", False)
            ledger.note(entry(2))
            ledger.outcome("r2", False)  # in the same batch as its row
            await ledger.flush()
        assert [outcome.ok for outcome in learner.judged] == [True, False]
        learner = Learner()
        async with Ledger(path, learn=learner.learned.append, clock=now):
            pass
        assert [outcome.ok for outcome in learner.learned] == [True, False]

    async def test_a_late_word_finds_a_row_that_could_not_be_written_yet(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        learner = Learner()
        path = tmp_path / "file" / "ledger.db"
        async with Ledger(path, judged=learner.judged.append, clock=now) as ledger:
            ledger.note(entry(1))
            for _ in range(2):
                ledger.outcome("r1", False)
                await ledger.flush()
        assert [outcome.ok for outcome in learner.judged] == [False]

    def test_an_outcome_says_what_the_row_does(self) -> None:
        made = row(3, error="", ok=True)
        outcome = outcome_of(made)
        for name in Outcome.__dataclass_fields__:
            assert getattr(outcome, name) == getattr(made, name)


class TestFile:
    def test_a_row_comes_back_as_it_was(self, path: Path) -> None:
        rows = (
            row(1, session="s", own=True, role=None, first_token=None, finish=None, ok=False),
            row(2, fell_back=True, error="busy"),
        )
        with closing(_opened(path)) as file:
            file.append(rows, {"s": History(7, 9)})
        with closing(_opened(path)) as file:
            assert file.newest(10) == rows
            assert file.newest(1) == rows[1:]
            assert file.history("s") == History(7, 9)
            assert file.history("t") is None

    def test_it_is_private(self, path: Path) -> None:
        _opened(path).close()
        assert path.stat().st_mode & 0o777 == 0o600

    @settings(
        max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        data=st.lists(
            st.tuples(
                st.floats(0, 40 * HOUR),
                st.sampled_from(["small", "large"]),
                st.sampled_from(["ux", "task", None]),
                st.sampled_from(["talk", "code"]),
                st.booleans(),
            ),
            max_size=30,
        ),
        cuts=st.lists(st.tuples(st.floats(0, 41 * HOUR), st.integers(0, 30)), max_size=4),
    )
    def test_thinning_changes_no_total(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        data: list[tuple[float, str, Role | None, str, bool]],
        cuts: list[tuple[float, int]],
    ) -> None:
        rows = [
            row(number, at, model=model, role=role, kind=cast("Kind", kind), error="x" * failed)
            for number, (at, model, role, kind, failed) in enumerate(data)
        ]
        with closing(_opened(tmp_path_factory.mktemp("thin") / "ledger.db")) as file:
            for each in rows:
                file.append([each], {})
            for before, keep_rows in cuts:
                file.thin(before, keep_rows)
                assert len(file.newest(100)) <= keep_rows
                assert merged(file.sums()) == merged(map(tally_of, rows))
            for hour in (0, 7, 39):
                since = hour * HOUR
                expected = [tally_of(each) for each in rows if each.at >= since]
                assert merged(file.sums(since)) == merged(expected)

    async def test_old_rows_are_thinned_by_themselves(self, path: Path) -> None:
        later = now() + 31 * DAY
        async with Ledger(path, clock=lambda: later) as ledger:
            ledger.note(entry(1))
            ledger.note(entry(2, at=later))
            assert (await ledger.usage()).total.requests == 2
        async with Ledger(path, clock=lambda: later) as ledger:
            assert (await ledger.usage()).total.requests == 2
        with closing(_opened(path)) as file:
            assert [row.id for row in file.newest(10)] == ["r2"]

    async def test_of_a_huge_file_only_the_newest_rows_are_learned(self, path: Path) -> None:
        with closing(_opened(path)) as file:
            file.append((row(number, at=number) for number in range(60_000)), {})
        learner = Learner()
        async with Ledger(path, learn=learner.learned.append, clock=lambda: 70_000.0) as ledger:
            assert (await ledger.usage()).total.requests == 60_000
        assert [outcome.at for outcome in learner.learned] == list(range(55_000, 60_000))

    def test_a_reader_needs_no_file_and_makes_none(self, path: Path) -> None:
        assert read_usage(path) == ()
        assert not path.parent.exists()

    def test_a_reader_says_what_is_wrong_and_moves_nothing(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b"something else entirely" * 100)
        with pytest.raises(StorageError) as caught:
            read_usage(path)
        assert str(path) in caught.value.message
        assert set_aside(path) == []


WRITER = """
import sys
from pathlib import Path
from tale.models.entry import Entry, Row
from tale.models.backend import Usage
from tale.models.ledger_file import LedgerFile
from tale.models.naive import Naive

file = LedgerFile.open(Path(sys.argv[1]))
number = 0
while True:
    rows = []
    for _ in range(5):
        entry = Entry(f"r{number}", 1.0, None, False, "m", "ux", "talk", "easy", Usage(1, 1), "",
                      1, None, 1.0, "stop")
        rows.append(Row.of(entry, 1, Naive(1, 1, 1)))
        number += 1
    file.append(rows, {})
    print(number, flush=True)
"""


class TestProcesses:
    def writer(self, path: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(path)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def test_what_was_written_survives_sigkill_of_the_writer(self, path: Path) -> None:
        with self.writer(path) as process:
            assert process.stdout is not None
            told = [int(process.stdout.readline()) for _ in range(20)]
            os.kill(process.pid, signal.SIGKILL)
            told += [int(line) for line in process.stdout.read().split()]
        with closing(_opened(path)) as file:
            rows = file.newest(10**6)
        assert set_aside(path) == []
        assert len(rows) >= told[-1]
        assert len(rows) % 5 == 0  # a batch is there as a whole, or not at all
        assert [row.id for row in rows] == [f"r{number}" for number in range(len(rows))]

    def test_others_read_while_one_writes(self, path: Path) -> None:
        read = (
            "import sys; from pathlib import Path\n"
            "from tale.models.ledger_file import read_usage\n"
            "for _ in range(30): print(sum(s.requests for s in read_usage(Path(sys.argv[1]))))"
        )
        with self.writer(path) as process:
            assert process.stdout is not None
            process.stdout.readline()
            readers = [
                subprocess.Popen(
                    [sys.executable, "-c", read, str(path)], stdout=subprocess.PIPE, text=True
                )
                for _ in range(2)
            ]
            seen = [reader.communicate(timeout=60)[0].split() for reader in readers]
            process.kill()
        for reader, counts in zip(readers, seen, strict=True):
            assert reader.returncode == 0
            figures = list(map(int, counts))
            assert len(figures) == 30
            assert figures == sorted(figures)
            assert all(figure and figure % 5 == 0 for figure in figures)
