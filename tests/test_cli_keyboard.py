"""What is typed while an answer is written doesn't land in the middle of it."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Generator

import pytest

from tale.cli.keyboard import unechoed


@pytest.fixture
def terminal() -> Generator[int]:
    controller, terminal = pty.openpty()
    yield terminal
    os.close(terminal)
    os.close(controller)


def _echoes(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def test_a_terminal_is_silent_for_as_long_as_the_answer_lasts(terminal: int) -> None:
    def interrupted() -> None:
        with unechoed(terminal):
            assert not _echoes(terminal)
            raise KeyboardInterrupt

    assert _echoes(terminal)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert _echoes(terminal)


def test_what_is_no_terminal_is_left_alone() -> None:
    reader, writer = os.pipe()
    with unechoed(reader):
        os.write(writer, b"typed\n")
    assert os.read(reader, 100) == b"typed\n"
    os.close(reader)
    os.close(writer)
