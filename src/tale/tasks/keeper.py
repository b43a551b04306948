"""Who keeps the states of a task's workspace: the seam between the engine and the checkpoints.

Above: `tasks.engine`, which asks. Filled by `tasks.checkpointing`, over `tasks.checkpoint_store`;
`KeepsNothing` stands in where no checkpoints are wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

from tale.tasks.checkpoint import Checkpoint
from tale.tasks.checkpoint_rule import Moment, Retention, Verdict
from tale.tasks.hands import Hands
from tale.tasks.task import Step

__all__ = ["Checkpoints", "Keeper", "KeepsNothing", "Tell"]


class Tell(Protocol):
    """Records and shows an event of the task; raises `Overtaken` where it has ended."""

    async def __call__(self, kind: str, data: Mapping[str, object], key: str | None = None) -> bool:
        """Tell it; False where one of that key is there already."""
        ...


class Checkpoints(Protocol):
    """What is used of `CheckpointStore`."""

    async def take(self, task: str, workspace: Path, why: str) -> Checkpoint:
        """Save what a workspace holds; where nothing changed, the newest checkpoint is given."""
        ...

    async def list(self, task: str) -> tuple[Checkpoint, ...]:
        """Give a task's checkpoints, oldest first."""
        ...

    async def restore(self, task: str, number: int, workspace: Path) -> object:
        """Bring a workspace back to a checkpoint."""
        ...

    async def fork(
        self, task: str, number: int, into: str, workspace: Path, *, beside: bool = False
    ) -> Checkpoint:
        """Begin another task's workspace with a checkpoint's files."""
        ...

    async def tasks(self) -> tuple[str, ...]:
        """Give the tasks that have checkpoints."""
        ...

    async def prune(self, task: str, rule: Retention, now: datetime) -> tuple[Verdict, ...]:
        """Drop the checkpoints that a rule doesn't keep."""
        ...

    async def collect(self) -> object:
        """Free what no checkpoint needs."""
        ...


class Keeper(Protocol):
    """Keeps the states of workspaces; no call changes what a step does, and but one none fails."""

    async def begin(self, step: Step, tell: Tell) -> None:
        """Have a step's workspace as it was left, before the step goes on in it.

        Raises:
            TaleError: Its task was forked, and the files for it can't be had.
        """
        ...

    def hands(self, step: Step, hands: Hands, tell: Tell) -> Hands:
        """Give hands that do the same, and whose effects are kept."""
        ...

    async def keep(self, step: Step, moment: Moment, tell: Tell) -> None:
        """Keep the present state, if it has changed."""
        ...


class KeepsNothing:
    """A keeper that takes no checkpoints."""

    async def begin(self, step: Step, tell: Tell) -> None:
        """Do nothing."""

    def hands(self, step: Step, hands: Hands, tell: Tell) -> Hands:
        """Give the hands back."""
        del step, tell
        return hands

    async def keep(self, step: Step, moment: Moment, tell: Tell) -> None:
        """Do nothing."""
