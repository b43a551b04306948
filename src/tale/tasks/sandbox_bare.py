"""Programs of a task with nothing around them but limits: `sandbox = "none"`, the user's choice.

They run as the user, in the workspace, and can reach whatever the user can. Kept up: an environment
of their own, limits on what they take, and that nothing of them is left. Beside: `sandbox_bwrap`.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio.to_thread

from tale.errors import SandboxUnavailable
from tale.tasks.sandbox import Command, Ran
from tale.tasks.sandbox_process import environment, limited, supervise, usable

__all__ = ["Bare"]

_MARK: Final = "TALE_RUN"


class Bare:
    """Runs programs as the user."""

    async def run(self, command: Command) -> Ran:
        """Run it; see `Sandbox`. The network can't be kept from it."""
        if sys.platform == "win32":
            raise SandboxUnavailable(
                "Tasks can't run programs on Windows.", hint="Run tale in WSL 2."
            )
        command = replace(command, workspace=usable(command.workspace))
        # What became a daemon left the group and the tree; its environment still tells it apart.
        mark = secrets.token_hex(8)
        with tempfile.TemporaryDirectory(prefix="tale-") as scratch:
            env = {**environment(scratch, scratch, command.workspace), _MARK: mark}
            try:
                argv = limited(command.argv, command.limits, command.seconds)
                return await supervise(argv, command, env=env)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(_kill_marked, f"{_MARK}={mark}".encode())


def _kill_marked(mark: bytes) -> None:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
