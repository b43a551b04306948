"""A tale of its own for a demonstration, and what is asked of it beside what its terminals show."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from benchmarks.installation import TALE, Installation

from demos.terminal import NotShown, Terminal
from tale.cli.record import Record

__all__ = ["Tale", "until"]

_ENDED: Final = frozenset({"done", "failed", "cancelled"})
_LOOK_SECONDS: Final = 4.0
_BOTH_MODELS: Final = r"(?s)coder-0\.5b.*coder-1\.5b|coder-1\.5b.*coder-0\.5b"

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Tale:
    """An installation with an empty home, and a folder in which somebody works."""

    installation: Installation
    folder: Path

    @classmethod
    @contextmanager
    def fresh(cls) -> Generator[Tale]:
        """Make one; all of it is gone in the end."""
        with Installation.fresh() as installation, tempfile.TemporaryDirectory() as folder:
            yield cls(installation, Path(folder))

    def terminal(self, *arguments: str, columns: int = 100, lines: int = 30) -> Terminal:
        """Start a command on a terminal."""
        return Terminal(
            [TALE, *arguments],
            environment=self.installation.environment,
            folder=self.folder,
            columns=columns,
            lines=lines,
        )

    @contextmanager
    def dashboard(self) -> Generator[Terminal]:
        """Open the dashboard, once it shows both models; it is closed in the end."""
        terminal = self.terminal("dashboard", columns=130, lines=42)
        try:
            terminal.wait(_BOTH_MODELS, 60, what="the models")
            terminal.settle(2.5)
            yield terminal
        finally:
            terminal.type("q")
            terminal.close()

    def says(self, *arguments: str) -> str:
        """Give what a command prints."""
        return self.installation.tale(*arguments)

    def tells(self, *arguments: str) -> Record:
        """Give what a command prints as JSON; an empty record where it has nothing to say."""
        said = self.installation.tale(*arguments, "--json")
        try:
            return Record.parse(said)
        except ValueError:
            return Record()

    def task(self, identity: str) -> Record:
        """Show a task; empty while nobody can tell."""
        return self.tells("show", identity)

    def question(self, identity: str) -> str:
        """Give what a task asks; empty where it asks nothing."""
        return self.task(identity).record("progress").text("question")

    def ended(self, identity: str) -> bool:
        """Tell whether a task has ended."""
        return self.task(identity).text("state") in _ENDED

    def parts(self, identity: str) -> list[Record]:
        """Give the parts of a task's plan, without those that only plan."""
        parts = self.task(identity).record("progress").records("parts")
        return [part for part in parts if part.text("kind") != "plan"]

    def newest_task(self) -> str:
        """Give the id of the task that was asked for last; empty where there is none."""
        return next((one.text("id") for one in self.tells("tasks").records("tasks")), "")

    def kill(self) -> int:
        """End every process at once, as a power cut does; gives how many there were."""
        pids = {self.installation.runtime.pid}
        pids |= {one["pid"] for one in self.installation.servers().values() if one["pid"]}
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)


def until(look: Callable[[], Found], seconds: float, what: str) -> Found:
    """Look until there is something to see.

    Raises:
        NotShown: There was nothing in time.
    """
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise NotShown(f"{what}: not in {seconds:.0f} s")
        time.sleep(_LOOK_SECONDS)
    return found
