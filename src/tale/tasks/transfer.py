"""A task leaves for another machine in one file, or comes from one; each whole or not at all.

What comes in is there for others only with its last move, the recording of its rows: before that,
what fails is undone. Above: `servers.transferring`. Below: `records` (rows), `checkpoint_store`
(files), `portable_rows` (what a row may say).
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from tale.errors import StorageReadOnly, TaskError, TaskFileUnusable, WorkspaceUnusable
from tale.tasks.checkpoint_store import CheckpointStore
from tale.tasks.portable import Imported
from tale.tasks.portable_rows import Checked, check_rows
from tale.tasks.progress import ProgressHub
from tale.tasks.records import TaskRecords
from tale.tasks.rounds import past_of
from tale.tasks.store import TaskStore
from tale.tasks.task import ENDED, Task

__all__ = ["Arrived", "Left", "Transfer"]

_WHY: Final = "before its export"
_SHOWN: Final = 40
"""Characters that are believed of what a file says of its version and its time."""


@dataclass(frozen=True, slots=True)
class Left:
    """A task is in a file.

    Attributes:
        size: The file's, in bytes.
        checkpoints: How many of its checkpoints are in it.
        files: How many files its workspace holds, as far as they are in it.
        omissions: What of the workspace is not: ignored, or too large for a checkpoint.
        steps: Recorded steps, which are not done again.
    """

    path: Path
    size: int
    checkpoints: int
    files: int
    omissions: int
    steps: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A task is here.

    Attributes:
        task: Its id.
        origin: Its id where it comes from.
        checkpoints: How many of its checkpoints came with it.
        files: How many files its workspace holds.
        steps: Recorded steps, which are not done again.
    """

    task: str
    origin: str
    checkpoints: int
    files: int
    steps: int


class Transfer:
    """Exports and imports tasks."""

    def __init__(
        self,
        store: TaskStore,
        records: TaskRecords,
        checkpoints: CheckpointStore,
        hub: ProgressHub,
        *,
        workspaces: Path,
        settled: Callable[[str], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        """Make one.

        Args:
            store: Where tasks are looked up.
            records: Where their rows are.
            checkpoints: Where their files are.
            hub: Is told what has happened to a task.
            workspaces: Where the folders are of tasks that were given none.
            settled: Waits until nothing goes on of a task that was stopped.
            now: The present time, in UTC.
        """
        self._store = store
        self._records = records
        self._checkpoints = checkpoints
        self._hub = hub
        self._workspaces = workspaces
        self._settled = settled
        self._now = now
        self._one_by_one = anyio.Lock()

    async def leave(self, identity: str, target: Path, *, replace: bool = False) -> Left:
        """Write a task to a file, with its workspace as it is now.

        Args:
            identity: A task that rests, or has ended.
            target: The file, absolute; its folder must exist.
            replace: Whether it may take the place of a file that is there.

        Raises:
            TaskError: It is at work.
            CheckpointNotFound: It is a fork that has not begun, and what it begins with is gone.
            TaskFileUnusable: The file can't be written there.
            StorageReadOnly: The disk is full.
        """
        await anyio.to_thread.run_sync(_check_target, target, replace)
        task = await self._store.get(identity)
        if task.state in {"queued", "running"}:
            raise TaskError(
                f"Task {identity} is {task.state}; only a task that rests can be exported.",
                hint=f"`tale pause {identity}`, then export it.",
            )
        await self._settled(identity)
        await self._keep(task)
        rows = await self._records.dump(identity)
        await self._checkpoints.export(identity, rows, target)
        listed = await self._checkpoints.list(identity)
        newest = listed[-1] if listed else None
        return Left(
            target,
            (await anyio.Path(target).stat()).st_size,
            len(listed),
            newest.files if newest else 0,
            newest.omissions if newest else 0,
            len(list(rows.steps)),
        )

    async def _keep(self, task: Task) -> None:
        """Have the workspace kept as it is now, that of a fork with the files it begins with."""
        workspace = Path(task.workspace)
        origin = (await past_of(self._store.database, task.id)).origin
        # Where it has a checkpoint it never gets them any more: its first one must hold them.
        if origin and task.state not in ENDED and not await self._checkpoints.list(task.id):
            await self._checkpoints.fork(
                origin.task, origin.number, task.id, workspace, beside=True
            )
        with suppress(WorkspaceUnusable):  # it is gone; its checkpoints are not
            await self._checkpoints.take(task.id, workspace, _WHY)

    async def arrive(self, source: Path, workspace: Path | None = None) -> Arrived:
        """Take a task over from a file; it rests here until it is resumed.

        Args:
            source: The file, absolute.
            workspace: A new or empty folder for it; None gives it one of its own.

        Raises:
            ExportRefused: The file is damaged, cut short, newer than this tale, or hostile.
            TaskFileUnusable: It can't be read.
            WorkspaceUnusable: The folder holds something.
            StorageReadOnly: The disk is full.
        """
        await anyio.to_thread.run_sync(_check_source, source)
        if workspace is not None:
            await anyio.to_thread.run_sync(_check_empty, workspace)
        async with self._one_by_one, self._checkpoints.opened(source) as imported:
            checked = await anyio.to_thread.run_sync(check_rows, source, imported.rows)
            return await self._settle(imported, checked, workspace)

    async def _settle(
        self, imported: Imported, checked: Checked, workspace: Path | None
    ) -> Arrived:
        at, origin = self._now(), checked.task.id
        identity = await self._records.name(origin, at, await self._taken())
        folder = workspace or self._workspaces / identity
        newest = imported.checkpoints[-1] if imported.checkpoints else None
        async with self._forgotten_on_failure(identity), AsyncExitStack() as undone:
            await self._checkpoints.install(imported, identity)
            if newest is not None and newest.files:
                await undone.enter_async_context(_emptied_on_failure(folder))
                await self._checkpoints.lay_out(identity, newest.number, folder)
            told = {
                "from": origin,
                "exported": str(imported.manifest.about.get("exported", ""))[:_SHOWN],
                "tale": imported.manifest.tale[:_SHOWN],
            }
            happened = await self._records.load(identity, checked, folder, told, at)
        for event in happened:
            self._hub.publish(event)
        return Arrived(
            identity,
            origin,
            len(imported.checkpoints),
            newest.files if newest else 0,
            checked.steps,
        )

    async def _taken(self) -> set[str]:
        """Name the tasks of which something is left, whatever the database says."""
        taken = set(await self._checkpoints.tasks())
        if await anyio.Path(self._workspaces).is_dir():
            taken |= {one.name async for one in anyio.Path(self._workspaces).iterdir()}
        return taken

    @asynccontextmanager
    async def _forgotten_on_failure(self, identity: str) -> AsyncGenerator[None]:
        """Leave no checkpoints of a task that could not be recorded."""
        try:
            yield
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self._checkpoints.forget(identity)
            if isinstance(error, StorageReadOnly):
                raise StorageReadOnly(
                    error.message,
                    hint="Free some space and import it again; nothing of it is left.",
                ) from error
            raise


@asynccontextmanager
async def _emptied_on_failure(folder: Path) -> AsyncGenerator[None]:
    """Leave none of a task's files in a folder that is empty until they are laid out in it."""
    was_there = await anyio.Path(folder).exists()
    try:
        yield
    except WorkspaceUnusable:  # what is in it is not the task's
        raise
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_empty, folder, was_there)
        raise


def _check_target(target: Path, replace: bool) -> None:
    if not target.parent.is_dir():
        raise TaskFileUnusable(
            f"{target} can't be written: {target.parent} is no folder.",
            hint=f"mkdir -p {target.parent}",
        )
    if target.is_dir():
        raise TaskFileUnusable(f"{target} is a folder.", hint="Name a file in it: -o FILE")
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise TaskFileUnusable(f"{target} is no plain file.", hint="Name another file.")
    if target.exists() and not replace:
        raise TaskFileUnusable(
            f"{target} is there already.", hint="Name another file, or replace it with --force."
        )


def _check_source(source: Path) -> None:
    try:
        mode = source.stat().st_mode
    except OSError as error:
        raise TaskFileUnusable(f"{source} can't be read: {error.strerror}.") from error
    if not stat.S_ISREG(mode):  # a pipe would never end
        raise TaskFileUnusable(f"{source} is no plain file.", hint="`tale export` writes one.")


def _check_empty(workspace: Path) -> None:
    if workspace.exists() and any(workspace.iterdir()):
        raise WorkspaceUnusable(
            f"{workspace} is not empty.", hint="Name a folder that doesn't exist yet."
        )


def _empty(folder: Path, was_there: bool) -> None:
    """Take out of a folder what was just laid out in it."""
    for inside in list(folder.iterdir()) if folder.is_dir() else []:
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside, ignore_errors=True)
        else:
            inside.unlink(missing_ok=True)
    if not was_there and folder.is_dir():
        folder.rmdir()
