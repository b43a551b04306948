"""The keyboard while an answer is written: what is typed ahead is kept, and not shown in between.

The terminal shows it when the next prompt reads it. Standard library only. Above: `chat_terminal`.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["unechoed"]

if sys.platform != "win32":
    import termios

_LOCAL_FLAGS = 3  # index in what tcgetattr gives


@contextmanager
def unechoed(fd: int | None = None) -> Generator[None]:
    """Have the terminal keep what is typed to itself; Ctrl-C goes on to interrupt.

    Args:
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
    termios.tcsetattr(terminal, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
