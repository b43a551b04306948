"""Logs that are put aside while they are written, and read on across that."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tale.cli.log_tail import LogTail
from tale.orchestration.logfile import last_lines, open_log, place, previous, rotate

LIMIT = 1000


class Writer:
    """A server that writes numbered lines and holds its log open."""

    def __init__(self, file: Path, first: int = 0) -> None:
        self.file = file
        self.number = first
        self.fd = open_log(file, limit=LIMIT)

    def write(self, lines: int) -> None:
        numbers = range(self.number, self.number + lines)
        os.write(self.fd, b"".join(b"line %d\n" % number for number in numbers))
        self.number += lines

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path / "logs" / "a.log")


def test_a_small_log_is_left_alone(writer: Writer) -> None:
    assert not rotate(writer.file.with_name("none.log"), limit=LIMIT)
    writer.write(3)
    assert not rotate(writer.file, limit=LIMIT)
    assert [path.name for path in writer.file.parent.iterdir()] == ["a.log"]
    writer.close()


def test_a_large_log_is_put_aside_under_its_writer_who_goes_on_at_the_new_start(
    writer: Writer,
) -> None:
    for _ in range(5):
        writer.write(150)
        assert rotate(writer.file, limit=LIMIT)
    writer.write(1)
    assert writer.file.read_text() == "line 750\n"
    kept = [path.read_text().splitlines()[0] for path in previous(writer.file)]
    assert kept == ["line 600", "line 450", "line 300"]
    assert len(list(writer.file.parent.iterdir())) == 4
    assert {path.stat().st_mode & 0o777 for path in writer.file.parent.iterdir()} == {0o600}
    writer.close()


def test_of_a_flood_only_the_end_is_kept_from_the_beginning_of_a_line(writer: Writer) -> None:
    writer.write(10_000)
    size = writer.file.stat().st_size
    rotate(writer.file, limit=LIMIT)
    note, first, *_, last = previous(writer.file)[0].read_text().splitlines()
    assert first.startswith("line ")
    assert last == "line 9999"
    assert LIMIT - 20 < len("\n".join(last_lines(previous(writer.file)[0], 9999)[1:])) < LIMIT
    dropped = int(note.strip("[").split(" ")[0])
    assert dropped == size - (previous(writer.file)[0].stat().st_size - len(note) - 1)
    writer.close()


def test_a_full_disk_leaves_the_log_as_it_was(writer: Writer) -> None:
    writer.write(1000)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, unlimited[1]))
    try:
        with pytest.raises(OSError, match="large"):
            rotate(writer.file, limit=LIMIT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert len(writer.file.read_text().splitlines()) == 1000
    assert [path.name for path in writer.file.parent.iterdir()] == ["a.log"]
    writer.close()


@given(st.lists(st.integers(0, 150), min_size=2, max_size=12), st.data())
@settings(deadline=None)
def test_what_stood_in_the_log_is_found_in_what_was_put_aside(
    lengths: list[int], data: st.DataObject
) -> None:
    content = b"".join(bytes([97 + n]) * length + b"\n" for n, length in enumerate(lengths))
    offset = data.draw(st.integers(0, len(content) - 1))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.log"
        file.write_bytes(content)
        rotate(file, limit=100)
        kept = previous(file)[0] if previous(file)[0].exists() else file
        aside = kept.read_bytes()
    at = place(aside, offset)
    note = content not in aside and aside.index(b"\n") + 1
    assert content.endswith(aside[note:])
    assert len(aside) - note >= min(50, len(content))
    assert aside[at:] == content[offset:] or (at == 0 and offset < len(content) - len(aside) + note)


class TestFollowing:
    def test_lines_from_before_and_after_the_emptying_are_all_given_once(
        self, writer: Writer
    ) -> None:
        writer.write(10)
        tail = LogTail(writer.file)
        writer.write(150)
        rotate(writer.file, limit=LIMIT)
        writer.write(5)
        assert list(tail.new_lines()) == [f"line {n}" for n in range(10, 165)]
        assert list(tail.new_lines()) == []
        writer.close()

    def test_a_log_that_has_grown_past_its_old_size_since_is_no_trap(self, writer: Writer) -> None:
        tail = LogTail(writer.file)
        writer.write(3)
        assert len(list(tail.new_lines())) == 3
        writer.write(150)
        rotate(writer.file, limit=LIMIT)
        writer.write(400)
        assert list(tail.new_lines()) == [f"line {n}" for n in range(3, 553)]
        writer.close()

    def test_a_line_that_is_cut_in_two_by_the_emptying_is_one(self, writer: Writer) -> None:
        tail = LogTail(writer.file)
        writer.write(150)
        os.write(writer.fd, b"one ")
        rotate(writer.file, limit=LIMIT)
        os.write(writer.fd, b"line\n")
        assert list(tail.new_lines())[-2:] == ["line 149", "one line"]
        writer.close()

    def test_what_was_dropped_unread_is_said(self, writer: Writer) -> None:
        tail = LogTail(writer.file)
        writer.write(2)
        os.write(writer.fd, b"begun")
        assert len(list(tail.new_lines())) == 2
        writer.write(1000)
        rotate(writer.file, limit=LIMIT)
        begun, note, *_, last = tail.new_lines()
        assert begun == "begun"
        assert "dropped" in note
        assert last == "line 1001"
        writer.close()

    def test_a_copy_that_is_there_before_the_log_is_emptied_is_not_read_twice(
        self, writer: Writer
    ) -> None:
        tail = LogTail(writer.file)
        writer.write(150)
        previous(writer.file)[0].write_bytes(writer.file.read_bytes())
        assert list(tail.new_lines()) == []
        os.truncate(writer.file, 0)
        assert list(tail.new_lines()) == [f"line {n}" for n in range(150)]
        writer.close()

    @given(st.lists(st.sampled_from(["write", "grow", "rotate", "restart", "look"]), max_size=40))
    @settings(max_examples=60, deadline=None)
    def test_whatever_happens_every_line_comes_once_and_in_order(self, story: list[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            writer = Writer(Path(folder) / "a.log")
            tail = LogTail(writer.file)
            seen: list[str] = []
            put_aside = 0
            for event in story:
                before = writer.file.stat().st_ino
                match event:
                    case "write":
                        writer.write(7)
                    case "grow" if writer.file.stat().st_size < LIMIT:
                        writer.write(100)
                    case "rotate":
                        put_aside += rotate(writer.file, limit=LIMIT)
                    case "restart":
                        writer.close()
                        writer = Writer(writer.file, writer.number)
                        put_aside += writer.file.stat().st_ino != before
                    case _:
                        seen += tail.new_lines()
                        put_aside = 0
                if put_aside == 3:  # with one more, the oldest would be gone
                    seen += tail.new_lines()
                    put_aside = 0
            seen += tail.new_lines()
            writer.close()
        assert seen == [f"line {n}" for n in range(writer.number)]

    def test_the_command_follows_across_it(self, tmp_path: Path) -> None:
        writer = Writer(tmp_path / "logs" / "a.log")
        writer.write(150)
        command = [sys.executable, "-m", "tale.cli", "logs", "-f", "-n", "1", "a"]
        environ = {**os.environ, "TALE_HOME": str(tmp_path)}
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "line 149\n"
            writer.write(1)
            rotate(writer.file, limit=LIMIT)
            writer.write(1)
            assert process.stdout.readline() == "line 150\n"
            assert process.stdout.readline() == "line 151\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        writer.close()
