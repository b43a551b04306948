"""Log files: their end, several in the order of time, and what comes next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tale.cli.log_files import last_entries
from tale.cli.log_tail import LogTail
from tale.cli.main import run
from tale.paths import Paths


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("TALE_HOME", str(tmp_path))
    made = Paths.from_environment()
    made.logs.mkdir()
    return made


def _lines(*numbers: int, level: str = "INFO") -> str:
    return "".join(f"2026-01-01T00:00:{n:02}.000Z {level} event n={n}\n" for n in numbers)


def test_the_last_lines_are_shown(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    paths.log_of("ux").write_text(_lines(*range(30)))
    assert run(["logs", "ux", "-n", "3"]) == 0
    assert capsys.readouterr().out == _lines(27, 28, 29)


def test_put_aside_files_make_up_the_number(paths: Paths) -> None:
    paths.log_of("ux").write_text(_lines(5))
    (paths.logs / "ux.log.1").write_text(_lines(3, 4))
    (paths.logs / "ux.log.2").write_text(_lines(1, 2))
    found = [entry.text[-1] for entry in last_entries(paths, ["ux"], 4)]
    assert found == ["2", "3", "4", "5"]


def test_several_servers_are_in_the_order_of_time_with_their_tracebacks(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    paths.log_of("gateway").write_text(_lines(1, level="ERROR") + "Traceback\n  boom\n" + _lines(4))
    paths.log_of("ux").write_text(_lines(2, 3))
    run(["logs"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["gateway"] * 3 + ["ux"] * 2 + ["gateway"]
    assert lines[1].endswith("Traceback")


def test_long_files_are_read_from_their_end(paths: Paths) -> None:
    paths.log_of("ux").write_text("x" * 200_000 + "\n" + _lines(1) + "y" * 100_000 + "\n")
    found = last_entries(paths, ["ux"], 3)
    assert [len(entry.text) for entry in found] == [200_000, len(_lines(1)) - 1, 100_000]


def test_json_is_an_object_a_line(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    paths.log_of("ux").write_text("hello\n")
    run(["logs", "--json"])
    assert capsys.readouterr().out == '{"server": "ux", "line": "hello"}\n'


def test_an_unknown_server_is_answered_with_the_known_ones(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["logs", "nope"]) == 2
    assert "Nothing has run yet" in capsys.readouterr().err
    paths.log_of("ux").write_text("")
    assert run(["logs", "nope"]) == 2
    assert "There are logs of ux." in capsys.readouterr().err


def test_no_logs_is_said(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs"]) == 0
    assert "There are no logs" in capsys.readouterr().err


class TestTail:
    def test_it_gives_what_is_added(self, paths: Paths) -> None:
        file = paths.log_of("ux")
        file.write_text("old\n")
        tail = LogTail(file)
        with file.open("a") as log:
            log.write("one\ntw")
            log.flush()
            assert list(tail.new_lines()) == ["one"]
            log.write("o\n")
            log.flush()
            assert list(tail.new_lines()) == ["two"]

    def test_rotation_loses_nothing(self, paths: Paths) -> None:
        file = paths.log_of("ux")
        file.write_text("")
        tail = LogTail(file)
        with file.open("a") as log:
            log.write("last of the old\n")
        file.rename(file.with_name("ux.log.1"))
        file.write_text("first of the new\n")
        assert list(tail.new_lines()) == ["last of the old", "first of the new"]

    def test_a_file_that_vanishes_or_is_emptied_is_followed_on(self, paths: Paths) -> None:
        file = paths.log_of("ux")
        tail = LogTail(file)
        assert list(tail.new_lines()) == []
        file.write_text("born\n")
        assert list(tail.new_lines()) == ["born"]
        os.truncate(file, 0)
        assert list(tail.new_lines()) == []
        file.write_text("new\n")
        assert list(tail.new_lines()) == ["new"]
        file.unlink()
        assert list(tail.new_lines()) == []


def test_following_ends_with_ctrl_c_and_its_exit_code(paths: Paths) -> None:
    paths.log_of("ux").write_text("one\n")
    command = [sys.executable, "-m", "tale.cli", "logs", "-f"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(b"one\n")
        with paths.log_of("ux").open("a") as log:
            log.write("two\n")
        assert process.stdout.readline().endswith(b"two\n")
        paths.log_of("gateway").write_text("born\n")
        assert process.stdout.readline() == b"gateway      born\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
