"""What is typed does not land in the middle of an answer, nor answer what was asked after it."""

from __future__ import annotations

import os
import pty
import select
import termios
from collections.abc import Generator

import pytest

from tale.cli.keyboard import echoed, forget_typed, read_line, unechoed


@pytest.fixture
def ends() -> Generator[tuple[int, int]]:
    """Give the end at which somebody types, and the terminal."""
    controller, terminal = pty.openpty()
    yield controller, terminal
    os.close(terminal)
    os.close(controller)


@pytest.fixture
def terminal(ends: tuple[int, int]) -> int:
    return ends[1]


def _echoes(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def test_a_terminal_is_silent_for_as_long_as_the_answer_lasts(terminal: int) -> None:
    def interrupted() -> None:
        with unechoed(fd=terminal):
            assert not _echoes(terminal)
            raise KeyboardInterrupt

    assert _echoes(terminal)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert _echoes(terminal)


def test_another_program_has_the_terminal_as_it_usually_is(terminal: int) -> None:
    usual = termios.tcgetattr(terminal)
    with unechoed(fd=terminal):
        quiet = termios.tcgetattr(terminal)
        with echoed(terminal):
            assert termios.tcgetattr(terminal) == usual
        assert termios.tcgetattr(terminal) == quiet
    assert termios.tcgetattr(terminal) == usual


def test_enter_is_kept_as_it_was_typed_and_ctrl_c_drops_nothing(ends: tuple[int, int]) -> None:
    controller, terminal = ends
    with unechoed(fd=terminal):
        os.write(controller, b"typed\r\x03")
        quiet = termios.tcgetattr(terminal)
        quiet[3] &= ~termios.ICANON  # as a prompt does
        termios.tcsetattr(terminal, termios.TCSANOW, quiet)
        assert os.read(terminal, 100) == b"typed\r"


def test_what_is_no_terminal_is_left_alone() -> None:
    reader, writer = os.pipe()
    with unechoed(fd=reader):
        os.write(writer, b"typed\n")
    assert os.read(reader, 100) == b"typed\n"
    os.close(reader)
    os.close(writer)


def test_what_was_typed_before_a_question_does_not_answer_it(ends: tuple[int, int]) -> None:
    controller, terminal = ends
    os.write(controller, b"yes\n")
    assert select.select([terminal], [], [], 10)[0]
    forget_typed(terminal)
    os.write(controller, b"no\nlater\n")
    assert read_line(lambda: False, terminal) == "no\n"
    assert read_line(lambda: False, terminal) == "later\n"
    os.write(controller, b"\x04")
    assert read_line(lambda: False, terminal) == ""


def test_nobody_is_waited_for_once_there_is_nothing_to_answer(terminal: int) -> None:
    assert read_line(lambda: True, terminal) is None


def test_only_a_terminal_forgets() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"typed\n")
    forget_typed(reader)
    assert os.read(reader, 100) == b"typed\n"
    os.close(reader)
    os.close(writer)
