"""An installation of its own for a test: a home folder, and the `tale` command in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil


class Tale:
    """An installation of its own, and the command in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._environ = {**os.environ, "TALE_HOME": str(home)}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tale.cli", *arguments]

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            input=stdin,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def processes(self) -> list[psutil.Process]:
        """Every process of this installation that lives."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TALE_HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found
