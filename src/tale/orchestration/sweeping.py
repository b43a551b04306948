"""The supervisor's side of `sweeper`: starts it, and tells it whom to end.

For servers that are foreign programs; tale's own leave by themselves. Above: whoever spawns.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Final

from tale.orchestration import sweeper
from tale.orchestration.detach import wait_gone
from tale.telemetry import get_logger

__all__ = ["Sweeper"]

log = get_logger(__name__)

# What ends a session, or a service, is not for it: it ends when its line does.
_NOT_ITS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_KILLED_SECONDS: Final = 2.0


class Sweeper:
    """A process that outlives this one for a moment, and the line to it."""

    def __init__(self) -> None:
        """Start it; takes a few milliseconds.

        Raises:
            OSError: It can't be started.
        """
        self._watched: set[int] = set()
        self.pid, self._line = _spawn()

    def watch(self, group: int) -> None:
        """Have a process group killed should this process be gone; its leader must be there."""
        self._watched.add(group)
        self._say(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Have it left alone from now on; call it before the leader is reaped."""
        self._watched.discard(group)
        self._say(f"-{group}\n")

    def close(self) -> None:
        """Let it kill what is still watched, and wait until it has gone."""
        os.close(self._line)
        if not wait_gone(self.pid, _KILLED_SECONDS):
            log.warning("sweeper.hangs", pid=self.pid)

    def _say(self, word: str) -> None:
        try:
            os.write(self._line, word.encode())
        except BrokenPipeError:
            self._replace()
        except BlockingIOError:  # thousands of words behind: somebody has stopped it
            log.warning("sweeper.hangs", pid=self.pid)

    def _replace(self) -> None:
        """Start another in place of one that was killed, and tell it everything."""
        log.warning("sweeper.gone", pid=self.pid)
        os.close(self._line)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        self.pid, self._line = _spawn()
        os.write(self._line, "".join(f"+{group}\n" for group in self._watched).encode())


def _spawn() -> tuple[int, int]:
    """Start a sweeper in a session of its own; gives its process id and the line to it."""
    reader, line = os.pipe()
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", sweeper.__file__],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0)],
            setsid=True,
            setsigmask=_NOT_ITS,
        )
    except BaseException:
        os.close(line)
        raise
    finally:
        os.close(reader)
    os.set_blocking(line, False)
    return pid, line
