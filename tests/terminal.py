"""`tale` as a person has it: on a pseudo-terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

# A terminal sends Ctrl-C as a signal only to those whose controlling terminal it is. Its owner is a
# shell, which outlives the command: where the owner ends, the kernel hangs up and drops what nobody
# has read yet.
_IN_ITS_TERMINAL = """
import faulthandler, fcntl, os, signal, sys, termios
ended = int(sys.argv.pop(1))
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
command = os.fork()
if command == 0:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.close(ended)
    faulthandler.register(signal.SIGUSR1)
    from tale.cli.main import main
    main()
status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
os.write(ended, str(status).encode())
signal.pause()
"""

_LOOK_SECONDS = 0.2
_LONGEST_LOOK_SECONDS = 1.0
_STACK_SECONDS = 1.0


class Terminal:
    """`tale` on a pseudo-terminal, started as by a shell."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self._ended, ended = os.pipe()
        environment = {**os.environ, "TALE_HOME": str(home), "TERM": "xterm", "COLUMNS": "100"}
        environment.pop("NO_COLOR", None)
        self._shell = subprocess.Popen(
            [sys.executable, "-c", _IN_ITS_TERMINAL, str(ended), *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            pass_fds=[ended],
        )
        os.close(slave)
        os.close(ended)
        self.text = ""
        self._hung_up = False

    def until(self, words: str, seconds: float = 30, after: str = "") -> str:
        """Read until some words stand on the screen, where asked behind others."""
        waited = 0.0
        while words not in self.text.rpartition(after)[2] if after else words not in self.text:
            assert waited < seconds, self._with_stack()
            waited += self._look()
            if self._hung_up:
                break
        assert words in self.text, self.text
        return self.text

    def _look(self) -> float:
        """Read what comes within a moment, and give the seconds that this counts for.

        A machine that stood still meanwhile (a virtual one does) was given no time to answer in.
        """
        before = time.monotonic()
        if self._master in select.select([self._master, self._ended], [], [], _LOOK_SECONDS)[0]:
            try:
                self.text += os.read(self._master, 65536).decode(errors="replace")
            except OSError:
                self._hung_up = True
        return min(time.monotonic() - before, _LONGEST_LOOK_SECONDS)

    def _with_stack(self) -> str:
        """Give what stands on the screen, and where the command is now or how it ended."""
        before = self.text
        os.killpg(self._shell.pid, signal.SIGUSR1)
        end = time.monotonic() + _STACK_SECONDS
        while time.monotonic() < end:
            self._look()
        how = os.read(self._ended, 8).decode() if self._has_ended() else "not ended"
        return f"{before}\n---\n{self.text.removeprefix(before)}\n{how}"

    def _has_ended(self) -> bool:
        return bool(select.select([self._ended], [], [], 0)[0])

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        os.close(self._master)
        os.close(self._ended)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self, seconds: float = 30) -> int:
        """Wait for its end, reading all that it still writes.

        Returns:
            Its exit code; a signal that ended it is a negative number.
        """
        waited = 0.0
        while not self._has_ended():
            assert waited < seconds, self._with_stack()
            waited += self._look()
        while select.select([self._master], [], [], 0)[0]:
            self._look()
        return int(os.read(self._ended, 8))
