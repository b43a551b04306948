"""A program on a terminal of our own: what it shows is read from an emulated screen.

A thread feeds the screen; whoever waits is woken by each change of it. Above: the demonstrations.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pyte

__all__ = ["NotShown", "Terminal"]

_OWN_TERMINAL: Final = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
"""Takes the terminal for the new session, so that Ctrl-C reaches the program, and becomes it."""
_READ: Final = 65_536
_LEAVES: Final = 10.0
_LOOKS: Final = 8
"""At a screen that should settle."""
_UNKNOWN: Final = re.compile(
    rb"\x1b\[\?\d+\$p"  # asks for a mode
    rb"|\x1b\[[>=<][0-9;]*[a-zA-Z]"  # keyboard protocols
    rb"|\x1b[P_^][^\x1b]*\x1b\\"
    rb"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, colours
)
"""What the emulator doesn't know and would show."""
_BEGUN: Final = re.compile(rb"\x1b(?:\[[0-9;?>=<$]*|[P_^\]][^\x1b\x07]*\x1b?)?$")


class NotShown(Exception):
    """What was waited for didn't come to the screen in time; the message holds what was there."""


class _Screen(pyte.HistoryScreen):
    """A screen that answers what a program asks its terminal."""

    def __init__(self, columns: int, lines: int, answer: Callable[[bytes], object]) -> None:
        self._answer = answer
        super().__init__(columns, lines, history=5000)

    def write_process_input(self, data: str) -> None:
        """Send an answer back."""
        self._answer(data.encode())


class Terminal:
    """A running program and its screen."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        columns: int = 100,
        lines: int = 30,
    ) -> None:
        """Start it."""
        self._owner, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen = _Screen(columns, lines, lambda data: os.write(self._owner, data))
        self._stream = pyte.ByteStream(self.screen)
        self._changed = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            [sys.executable, "-c", _OWN_TERMINAL, *command],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=folder,
            env={**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            start_new_session=True,
        )
        os.close(terminal)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def type(self, text: str) -> None:
        """Type as a person would; Enter is a carriage return."""
        os.write(self._owner, text.encode())

    def enter(self, line: str) -> None:
        """Type a line and send it."""
        self.type(line)
        time.sleep(0.2)  # so that no terminal takes it for something pasted
        self.type("\r")

    @property
    def text(self) -> str:
        """All that is on the screen now."""
        with self._changed:
            return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def wait(
        self, shown: Callable[[str], object] | str, seconds: float, *, what: str = ""
    ) -> float:
        """Wait until the screen shows something.

        Args:
            shown: A regular expression, or a test of the screen's text.
            seconds: For how long at most.
            what: What is waited for, in words.

        Returns:
            How long it took, in seconds.

        Raises:
            NotShown: It didn't come.
        """
        test: Callable[[str], object] = (
            shown if callable(shown) else lambda text: re.search(shown, text)
        )
        begun = time.monotonic()
        with self._changed:
            while not test("\n".join(line.rstrip() for line in self.screen.display)):
                left = seconds - (time.monotonic() - begun)
                if left <= 0 or (self._ended and self._process.poll() is not None):
                    said = "\n".join(line.rstrip() for line in self.screen.display).rstrip()
                    raise NotShown(f"{what or shown} was not shown in {seconds:.0f} s:\n{said}")
                self._changed.wait(min(left, 1.0))
        return time.monotonic() - begun

    def settle(self, seconds: float = 1.0) -> None:
        """Wait until the screen stands still for a while; what is live never does for long."""
        last = ""
        for _ in range(_LOOKS):
            if (now := self.text) == last:
                return
            last = now
            time.sleep(seconds)

    def close(self) -> None:
        """End the program."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_LEAVES)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        os.close(self._owner)

    def _read(self) -> None:
        held = b""
        while True:
            try:
                data = os.read(self._owner, _READ)
            except OSError:
                data = b""
            if not data:
                break
            data = held + data
            begun = _BEGUN.search(data)
            held, data = (data[begun.start() :], data[: begun.start()]) if begun else (b"", data)
            with self._changed:
                self._stream.feed(_UNKNOWN.sub(b"", data))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
