"""The keyboard beside what is written: what is typed ahead is kept unseen, or forgotten.

While an answer is written it is kept, and the terminal shows it when the next prompt reads it;
before a question that wants a look first it is forgotten. Standard library only. Above:
`chat_terminal`, `asking`.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

__all__ = ["echoed", "forget_typed", "read_line", "unechoed"]

if sys.platform != "win32":
    import signal
    import termios

_INPUT_FLAGS, _LOCAL_FLAGS = 0, 3  # indices in what tcgetattr gives
_LOOK_SECONDS = 1.0
_LONGEST = 4096  # bytes of a line that a terminal edits


@contextmanager
def unechoed(
    gone_on: Callable[[], None] = lambda: None, *, fd: int | None = None
) -> Generator[None]:
    """Have the terminal keep what is typed to itself; Ctrl-C goes on to interrupt.

    Enter is kept as it is typed: a prompt that reads it later can tell it from Ctrl-J.

    Args:
        gone_on: Called when the process was stopped and goes on: others have used the terminal.
        fd: The terminal; standard input where it is None. Anything else is left as it is.
    """
    if sys.platform == "win32":  # its console echoes only while something reads
        yield
        return
    terminal = sys.stdin.fileno() if fd is None else fd
    try:
        before = termios.tcgetattr(terminal)
    except termios.error:
        yield
        return
    quiet = list(before)
    quiet[_LOCAL_FLAGS] &= ~termios.ECHO
    quiet[_LOCAL_FLAGS] |= termios.NOFLSH  # Ctrl-C drops nothing that was typed
    quiet[_INPUT_FLAGS] &= ~termios.ICRNL

    def go_on(number: int, frame: object) -> None:
        del number, frame
        termios.tcsetattr(terminal, termios.TCSANOW, quiet)
        gone_on()

    handles = threading.current_thread() is threading.main_thread()
    earlier = signal.signal(signal.SIGCONT, go_on) if handles else None
    termios.tcsetattr(terminal, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        if handles:
            signal.signal(signal.SIGCONT, earlier or signal.SIG_DFL)
        termios.tcsetattr(terminal, termios.TCSANOW, before)


@contextmanager
def echoed(fd: int | None = None) -> Generator[None]:
    """Have the terminal as it usually is inside of `unechoed`, for another program."""
    if sys.platform == "win32" or (fd is None and not sys.stdin.isatty()):
        yield
        return
    terminal = sys.stdin.fileno() if fd is None else fd
    before = termios.tcgetattr(terminal)
    usual = list(before)
    usual[_INPUT_FLAGS] |= termios.ICRNL
    usual[_LOCAL_FLAGS] = (usual[_LOCAL_FLAGS] | termios.ECHO) & ~termios.NOFLSH
    termios.tcsetattr(terminal, termios.TCSANOW, usual)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def forget_typed(fd: int | None = None) -> None:
    """Drop what was typed and not read yet, so that it answers nothing that came after it.

    Args:
        fd: The terminal; standard input where it is None. Anything else is left as it is.
    """
    if sys.platform == "win32":
        return
    with suppress(termios.error):
        termios.tcflush(sys.stdin.fileno() if fd is None else fd, termios.TCIFLUSH)


def read_line(given_up: Callable[[], bool], fd: int | None = None) -> str | None:
    """Read the line that somebody types at a terminal.

    Args:
        given_up: Asked about once a second whether there is nothing to answer any more.
        fd: The terminal; standard input where it is None.

    Returns:
        The line with its end; nothing at all at Ctrl-D; None where it was given up.
    """
    if sys.platform == "win32":  # where only sockets can be waited for
        return sys.stdin.readline()
    terminal = sys.stdin.fileno() if fd is None else fd
    # Not through a buffer, which would hide from `select` what it has taken already.
    while not select.select([terminal], [], [], _LOOK_SECONDS)[0]:
        if given_up():
            return None
    return os.read(terminal, _LONGEST).decode(errors="replace")
