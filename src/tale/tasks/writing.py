"""Carries out the one action that is there so far: a file is written into the workspace.

It stands in for `tasks.tools`. Above: `servers.execution`. Below: `tasks.workspace`.
"""

from __future__ import annotations

from pathlib import Path

from anyio import to_thread

from tale.tasks.hands import Action, FileChange, Outcome, WriteFile
from tale.tasks.task import Step
from tale.tasks.workspace import Refused, Workspace

__all__ = ["perform"]


async def perform(action: Action, step: Step) -> Outcome:
    """Do it in the step's workspace; raises `WorkspaceUnusable`."""
    if not isinstance(action, WriteFile):
        return Outcome(ok=False, text=f"{type(action).__name__} is not available.")
    workspace = Workspace(Path(step.workspace))
    written = await to_thread.run_sync(workspace.write, action.path, action.content)
    if isinstance(written, Refused):
        return Outcome(ok=False, text=f"{written.path} was not written: {written.why}.")
    change = FileChange(written.path, written.bytes, written.replaced)
    return Outcome(ok=True, text=f"{written.path} was written.", files=(change,))
