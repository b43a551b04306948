"""Brings a task's files back to a checkpoint, or has a new task begin with them.

A task is at rest while its files change. What it holds is saved first. Then it is recorded that
they are about to change, which begins a new round (`tasks.rounds`): cut off at any point, no step
goes on from a record that the files contradict, and the same can be done again. Above:
`servers.checkpoints`. Below: `tasks.engine` (rest, submission), `tasks.checkpointing`,
`tasks.checkpoint_store`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

import anyio

from tale.errors import TaleError, TaskError, WorkspaceUnusable
from tale.tasks.checkpoint import Checkpoint, checkpoint_event
from tale.tasks.checkpoint_history import Restored
from tale.tasks.checkpointing import Checkpointing
from tale.tasks.engine import Engine
from tale.tasks.plan import afresh
from tale.tasks.progress import ProgressHub
from tale.tasks.rounds import NewEvent, key_taken, others_at_work, record, undone
from tale.tasks.store import NewTask, TaskStore, utc_now
from tale.tasks.task import ENDED, Origin, Task
from tale.telemetry import get_logger

__all__ = ["GoingBack", "History", "Returned"]

log = get_logger(__name__)


class History(Protocol):
    """What is used of `CheckpointStore`."""

    async def find(self, task: str, wanted: str) -> Checkpoint:
        """Give a checkpoint by its number; raises `CheckpointNotFound`."""
        ...

    async def take(self, task: str, workspace: Path, why: str) -> Checkpoint:
        """Save what a workspace holds; where nothing changed, the newest checkpoint is given."""
        ...

    async def restore(self, task: str, number: int, workspace: Path) -> Restored:
        """Bring a workspace back to a checkpoint."""
        ...


@dataclass(frozen=True, slots=True)
class Returned:
    """What became of a task whose files were brought back.

    Attributes:
        task: As it stands now.
        restored: What was done with the files; `saved` is what they were before.
        again: The parts that are to be done again.
        anew: What is unfinished of it begins anew once it goes on.
    """

    task: Task
    restored: Restored
    again: tuple[str, ...]
    anew: bool


class GoingBack:
    """Restores tasks' workspaces, and forks tasks."""

    def __init__(
        self,
        engine: Engine,
        store: TaskStore,
        hub: ProgressHub,
        keeper: Checkpointing,
        history: History,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Make one.

        Args:
            engine: Keeps a task at rest, and takes new ones.
            store: Has the tasks.
            hub: Is told what happens.
            keeper: Is kept from taking checkpoints meanwhile.
            history: Has the checkpoints.
            now: The time that events carry.
        """
        self._engine = engine
        self._store = store
        self._hub = hub
        self._keeper = keeper
        self._history = history
        self._now = now
        self._turn = anyio.Lock()

    async def restore(self, identity: str, number: int) -> Returned:
        """Bring a task's workspace back to a checkpoint; what it holds now is saved first.

        A task that waits for its user is paused: its question was about files that are gone.

        Raises:
            TaskError: It is queued or runs, or another one runs in the same folder.
            CheckpointNotFound: There is none of that number.
            WorkspaceUnusable: The workspace can't be read.
        """
        async with self._turn, self._engine.holding(identity):
            target = await self._history.find(identity, str(number))
            task = await self._store.get(identity)
            if others := await others_at_work(self._store.database, task.workspace):
                raise TaskError(
                    f"Task {others[0]} runs in the same folder, {task.workspace}.",
                    hint=f"`tale pause {others[0]}` lets it rest.",
                )
            if task.state == "waiting":
                task = await self._engine.pause(identity)
            async with self._keeper.apart(identity):
                restored, again = await self._restore(task, target)
            task = await self._store.get(identity)
            return Returned(task, restored, again, anew=task.state not in ENDED)

    async def fork(self, identity: str, number: int, new: NewTask) -> Task:
        """Have a new task begin with the files of another's checkpoint.

        Args:
            identity: The other task.
            number: Its checkpoint.
            new: The new task; without a text, it is asked for the same as the other one was.

        Raises:
            CheckpointNotFound: There is none of that number.
            WorkspaceUnusable: The new workspace is not empty.
        """
        if new.key and (known := await key_taken(self._store.database, new.key)):
            return await self._store.get(known)
        source = await self._store.get(identity)
        await self._history.find(identity, str(number))
        if new.workspace:
            await _check_empty(Path(new.workspace))
        if not new.text:
            plan = await self._store.plan(identity)
            new = replace(new, text=source.text, subtasks=afresh(plan))
        origin = Origin(identity, number)
        if new.permission is None:
            new = replace(new, permission=source.permission)
        if new.approve is None:
            new = replace(new, approve=source.approve)
        if source.private:
            new = replace(new, private=True)
        # From here on its own start fills its workspace, should this be cut off.
        task = await self._engine.submit(replace(new, origin=origin))
        await self._keeper.fill(task.id, Path(task.workspace), origin)
        return task

    async def _restore(self, task: Task, target: Checkpoint) -> tuple[Restored, tuple[str, ...]]:
        number, workspace = target.number, Path(task.workspace)
        events: list[NewEvent] = []
        data: dict[str, object] = {"number": number}
        if await anyio.Path(workspace).exists():
            why = f"before going back to checkpoint {number}"
            saved = await self._history.take(task.id, workspace, why)
            events.append(checkpoint_event(saved))
            data["saved"] = saved.number
        again = await self._undone(task, number)
        if again:
            data["subtasks"] = list(again)
        await self._record(task, [*events, ("restoring", data, None)], again)
        restored = await self._history.restore(task.id, number, workspace)
        log.info("workspace.restored", task=task.id, number=number, written=restored.written)
        events = [("restored", data, None)]
        try:
            # The newest checkpoint is what a workspace that vanishes is brought back to.
            now = await self._history.take(task.id, workspace, f"back at checkpoint {number}")
            events.insert(0, checkpoint_event(now))
        except TaleError as error:
            log.warning("checkpoint.missed", task=task.id, reason=error.message)
        await self._record(task, events)
        return restored, again

    async def _undone(self, task: Task, number: int) -> tuple[str, ...]:
        if task.state in ENDED:
            return ()
        events, _ = await self._store.events(task.id, 0)
        return undone(events, await self._store.plan(task.id), number)

    async def _record(
        self, task: Task, events: list[NewEvent], again: tuple[str, ...] = ()
    ) -> None:
        for event in await record(self._store.database, task.id, events, self._now(), again=again):
            self._hub.publish(event)


async def _check_empty(workspace: Path) -> None:
    folder = anyio.Path(workspace)
    if await folder.exists() and [one async for one in folder.iterdir()]:
        raise WorkspaceUnusable(
            f"{workspace} is not empty.", hint="Name a folder that doesn't exist yet."
        )
