"""The gateway's tools for checkpoints: `checkpoints`, `pin`, `unpin`, `restore`, `fork`.

Above: `gateway`, which serves them beside its own. Below: `tasks.going_back`, and
`tasks.checkpoint_store` for what needs no task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import anyio.to_thread

from tale.servers.mcp_app import McpApp, Progress
from tale.tasks.checkpoint import Checkpoint
from tale.tasks.checkpoint_store import CheckpointStore
from tale.tasks.going_back import GoingBack
from tale.tasks.snapshots.scan import LeftOut
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task import Task, check_prompt
from tale.wire.checkpoint_contracts import (
    CHECKPOINTS,
    FORK,
    PIN,
    RESTORE,
    UNPIN,
    CheckpointList,
    CheckpointRequest,
    CheckpointView,
    ForkRequest,
    LeftOutView,
    RestoreReply,
)
from tale.wire.contracts import TaskRequest, TaskView

__all__ = ["CheckpointTools"]


class CheckpointTools:
    """The tools."""

    def __init__(
        self,
        store: TaskStore,
        checkpoints: CheckpointStore,
        going_back: GoingBack,
        *,
        check_folder: Callable[[str], Path],
        view: Callable[[Task], TaskView],
    ) -> None:
        """Make them.

        Args:
            store: Has the tasks.
            checkpoints: Has their checkpoints.
            going_back: Restores and forks.
            check_folder: Resolves a workspace that a user named, or refuses it.
            view: Shows a task.
        """
        self._store = store
        self._checkpoints = checkpoints
        self._going_back = going_back
        self._check_folder = check_folder
        self._view = view

    def add_to(self, app: McpApp) -> None:
        """Serve them."""
        app.add(CHECKPOINTS, self.list)
        app.add(PIN, self.pin)
        app.add(UNPIN, self.unpin)
        app.add(RESTORE, self.restore)
        app.add(FORK, self.fork)

    async def list(self, request: TaskRequest, progress: Progress) -> CheckpointList:
        """List a task's checkpoints, oldest first."""
        del progress
        task = await self._store.get(request.id)
        found = await self._checkpoints.list(task.id)
        return CheckpointList(task=task.id, checkpoints=tuple(map(_checkpoint, found)))

    async def pin(self, request: CheckpointRequest, progress: Progress) -> CheckpointView:
        """Keep a checkpoint."""
        del progress
        task = await self._store.get(request.id)
        return _checkpoint(await self._checkpoints.pin(task.id, request.number))

    async def unpin(self, request: CheckpointRequest, progress: Progress) -> CheckpointView:
        """Let a checkpoint be thinned out."""
        del progress
        task = await self._store.get(request.id)
        return _checkpoint(await self._checkpoints.unpin(task.id, request.number))

    async def restore(self, request: CheckpointRequest, progress: Progress) -> RestoreReply:
        """Bring a workspace back."""
        del progress
        done = await self._going_back.restore(request.id, request.number)
        saved = done.restored.saved
        return RestoreReply(
            task=self._view(done.task),
            number=done.restored.checkpoint.number,
            saved=saved.number if saved else None,
            written=done.restored.written,
            removed=done.restored.removed,
            kept=_left_out(done.restored.kept),
            again=done.again,
            anew=done.anew,
        )

    async def fork(self, request: ForkRequest, progress: Progress) -> TaskView:
        """Begin a new task with a checkpoint's files."""
        del progress
        folder = None
        if request.workspace is not None:
            folder = await anyio.to_thread.run_sync(self._check_folder, request.workspace)
        new = NewTask(
            "" if request.text is None else check_prompt(request.text),
            request.key,
            str(folder) if folder else None,
        )
        return self._view(await self._going_back.fork(request.id, request.number, new))


def _checkpoint(one: Checkpoint) -> CheckpointView:
    return CheckpointView(
        number=one.number,
        id=one.id,
        at=one.at,
        why=one.why,
        files=one.files,
        size=one.size,
        stored=one.stored,
        changes=one.changes,
        changed=one.changed,
        pinned=one.pinned,
        omissions=one.omissions,
        left_out=_left_out(one.left_out),
    )


def _left_out(found: Iterable[LeftOut]) -> tuple[LeftOutView, ...]:
    return tuple(LeftOutView(path=one.path, why=one.why) for one in found)
