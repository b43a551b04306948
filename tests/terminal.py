"""`tale` as a person has it: on a pseudo-terminal of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

# A terminal sends Ctrl-C as a signal only to those whose controlling terminal it is.
_IN_ITS_TERMINAL = (
    "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "from tale.cli.main import main; main()"
)


class Terminal:
    """`tale` on a pseudo-terminal."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        environment = {**os.environ, "TALE_HOME": str(home), "TERM": "xterm", "COLUMNS": "100"}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_ITS_TERMINAL, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def until(self, words: str, seconds: float = 30, after: str = "") -> str:
        """Read until some words stand on the screen, where asked behind others."""
        deadline = time.monotonic() + seconds
        while words not in self.text.rpartition(after)[2] if after else words not in self.text:
            assert time.monotonic() < deadline, self.text
            if select.select([self._master], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self._master, 65536).decode(errors="replace")
                except OSError:
                    break
        assert words in self.text, self.text
        return self.text

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self, seconds: float = 30) -> int:
        """Wait for its end, reading what it still writes."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self._master], [], [], 0.05)[0]:
                try:
                    self.text += os.read(self._master, 65536).decode(errors="replace")
                except OSError:
                    break
        code = self.process.wait(seconds)
        with contextlib.suppress(OSError):
            while select.select([self._master], [], [], 0)[0]:
                self.text += os.read(self._master, 65536).decode(errors="replace")
        return code
