"""What a killed supervisor can't end any more, its sweeper does; real processes throughout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tale.orchestration import sweeper as process
from tale.orchestration.sweeping import Sweeper

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")

PACK = str(Path(__file__).with_name("pack.py"))


class Pack:
    """A foreign server of two processes."""

    def __init__(self, *arguments: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-S", "-E", PACK, *arguments],
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.popen.stdout is not None
        leader, member = map(int, self.popen.stdout.readline().split())
        self.group = leader
        self.leader, self.member = psutil.Process(leader), psutil.Process(member)

    def lose_leader(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write("go\n")
        self.popen.stdin.flush()
        assert self.popen.wait(10) == 0

    def goes(self) -> None:
        _until(lambda: _is_dead(self.leader) and _is_dead(self.member))

    def lives(self) -> bool:
        return not _is_dead(self.leader) and not _is_dead(self.member)

    def close(self) -> None:
        for file in (self.popen.stdin, self.popen.stdout):
            if file:
                file.close()
        with suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        self.popen.wait(10)


NewPack = Callable[..., Pack]


@pytest.fixture
def pack() -> Generator[NewPack]:
    made: list[Pack] = []

    def make(*arguments: str) -> Pack:
        made.append(Pack(*arguments))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_when_the_supervisor_is_killed_a_foreign_server_and_its_children_go_too() -> None:
    with subprocess.Popen(
        [sys.executable, PACK, "supervise"], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        pids = map(int, supervisor.stdout.readline().split())
        left = [psutil.Process(pid) for pid in pids]
        assert len(left) == 3  # leader, member, sweeper
        supervisor.kill()
        _until(lambda: all(map(_is_dead, left)))


def test_at_the_end_what_is_watched_is_killed_and_what_is_forgotten_lives(pack: NewPack) -> None:
    watched, forgotten, never = pack(), pack(), pack()
    sweeper = Sweeper()
    sweeper.watch(watched.group)
    sweeper.watch(forgotten.group)
    sweeper.forget(forgotten.group)
    sweeper.forget(never.group)
    sweeper.close()
    watched.goes()
    assert forgotten.lives()
    assert never.lives()
    assert not psutil.pid_exists(sweeper.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="needs pidfd")
def test_what_a_dead_leader_leaves_in_its_group_is_killed(pack: NewPack) -> None:
    server = pack("orphaned")
    sweeper = Sweeper()
    sweeper.watch(server.group)
    sweeper.watch(server.group)  # once more does no harm
    _until(lambda: _holds_leaders(sweeper) == 1)
    server.lose_leader()
    sweeper.close()
    server.goes()


@pytest.mark.skipif(sys.platform != "linux", reason="needs pidfd")
def test_a_group_whose_leader_is_reaped_before_it_is_watched_is_left_alone(pack: NewPack) -> None:
    server = pack("orphaned")
    server.lose_leader()
    sweeper = Sweeper()
    sweeper.watch(server.group)
    sweeper.close()
    assert not _is_dead(server.member)


def test_it_stands_apart_and_is_deaf_to_what_ends_a_session(pack: NewPack) -> None:
    server = pack()
    sweeper = Sweeper()
    assert os.getsid(sweeper.pid) == os.getpgid(sweeper.pid) == sweeper.pid
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(sweeper.pid, number)
    sweeper.watch(server.group)
    sweeper.close()
    server.goes()


def test_one_that_was_killed_is_replaced_and_the_next_knows_everything(pack: NewPack) -> None:
    first, second = pack(), pack()
    sweeper = Sweeper()
    sweeper.watch(first.group)
    killed = sweeper.pid
    os.kill(killed, signal.SIGKILL)
    psutil.Process(killed).wait(10)
    sweeper.watch(second.group)
    assert sweeper.pid != killed
    sweeper.close()
    first.goes()
    second.goes()


def test_words_are_understood_however_they_are_cut(pack: NewPack) -> None:
    server = pack("orphaned")
    reader, line = os.pipe()
    os.write(line, f"+{server.group}\n-{server.group}\n+{server.group}\n-9".encode())
    os.close(line)
    process.main(reader)
    os.close(reader)
    server.goes()


def test_it_takes_hardly_more_memory_than_python_alone() -> None:
    sweeper = Sweeper()
    bare = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(bare, stdin=subprocess.PIPE) as python:
        read = [psutil.Process(pid) for pid in (sweeper.pid, python.pid)]
        _until(lambda: all(each.status() == psutil.STATUS_SLEEPING for each in read), times=20)
        ours, alone = (each.memory_info().rss for each in read)
        assert python.stdin is not None
        python.stdin.close()
    sweeper.close()
    assert ours < 1.25 * alone


def _holds_leaders(sweeper: Sweeper) -> int:
    held = 0
    for link in Path(f"/proc/{sweeper.pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            held += "pidfd" in str(link.readlink())
    return held


def _is_dead(process: psutil.Process) -> bool:
    """Whether it has ended; whoever inherits it may take its time to reap it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _until(condition: Callable[[], bool], times: int = 1) -> None:
    """Wait until a condition has held at so many looks in a row."""
    deadline, seen = time.monotonic() + 10, 0
    while seen < times:
        assert time.monotonic() < deadline
        seen = seen + 1 if condition() else 0
