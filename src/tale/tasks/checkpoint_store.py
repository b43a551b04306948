"""The checkpoint store as the rest of tale sees it: asynchronous, with errors made for users.

One bare repository in tale's data folder holds the checkpoints of all tasks, so that what tasks
share is kept once. Several processes may use it at the same time. Above: `tasks.engine`, the
servers. Below: `tasks.checkpoint_history`, which does the work, here in worker threads.
"""

from __future__ import annotations

import errno
import time
from collections.abc import AsyncGenerator, Callable, Collection, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import anyio.to_thread

from tale.errors import (
    CheckpointDamaged,
    CheckpointNotFound,
    StorageError,
    StorageReadOnly,
    TaskFileUnusable,
)
from tale.tasks.checkpoint import Checkpoint
from tale.tasks.checkpoint_history import History, Restored
from tale.tasks.checkpoint_rule import Retention, Verdict, retained
from tale.tasks.portable import Imported, TaskRows, export_task, opened, sweep
from tale.tasks.snapshots.objects import Damaged
from tale.tasks.snapshots.repository import Collected, Repository
from tale.tasks.snapshots.scan import DEFAULT_LIMITS, Limits

__all__ = ["CheckpointStore", "Restored"]

ResultT = TypeVar("ResultT")

_LONGEST_IMPORT_SECONDS: Final = 24 * 3600.0


class CheckpointStore:
    """Checkpoints of all tasks.

    Every call raises `CheckpointDamaged` where the store isn't what it was, `StorageReadOnly` while
    it can't be written (a full disk), `StorageError` where it can't be used at all.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limits: Limits = DEFAULT_LIMITS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Name the store; it is made when it is first used.

        Args:
            folder: Where its repository is, or shall be.
            limits: What of a workspace is too large for a checkpoint.
            clock: The time, with its zone, that checkpoints carry.
        """
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._opened: History | None = None

    async def take(
        self, task: str, workspace: Path, why: str, *, pinned: bool = False
    ) -> Checkpoint:
        """Save what a workspace holds; where nothing changed, the newest checkpoint is given.

        Args:
            task: Whose it is.
            workspace: The folder; before a task's first checkpoint it may be missing.
            why: After what, in words.
            pinned: Whether it is kept until it is unpinned.

        Raises:
            WorkspaceUnusable: The workspace is gone, or can't be read.
        """
        return await self._run(lambda store: store.take(task, workspace, why, pinned=pinned))

    async def list(self, task: str) -> tuple[Checkpoint, ...]:
        """Give a task's checkpoints, oldest first; none for a task that isn't known."""
        return await self._run(lambda store: store.list(task))

    async def tasks(self) -> tuple[str, ...]:
        """Give the tasks that have checkpoints; needs no database."""
        return await self._run(lambda store: store.tasks())

    async def find(self, task: str, wanted: str) -> Checkpoint:
        """Give the checkpoint that a user named: its number, `latest`, or the start of its id.

        Raises:
            CheckpointNotFound: There is none, or several begin like that.
        """
        checkpoints = await self.list(task)
        if wanted == "latest" and checkpoints:
            return checkpoints[-1]
        found = [one for one in checkpoints if str(one.number) == wanted]
        if not found and len(wanted) >= 4:
            found = [one for one in checkpoints if one.id.startswith(wanted.lower())]
        if len(found) == 1:
            return found[0]
        raise CheckpointNotFound(
            f"Task {task} has no checkpoint {wanted}.",
            hint=f"`tale checkpoints {task}` lists them.",
        )

    async def restore(self, task: str, number: int, workspace: Path) -> Restored:
        """Bring a workspace back to a checkpoint; what it holds now is saved first.

        Only what differs is touched. Files that are in no checkpoint (ignored, too large) stay. A
        workspace that is gone is made anew. After a crash it can be done again.

        Raises:
            CheckpointNotFound: There is none of that number.
            WorkspaceUnusable: The workspace can't be read.
        """
        return await self._run(lambda store: store.restore(task, number, workspace))

    async def lay_out(self, task: str, number: int, workspace: Path) -> None:
        """Write a checkpoint's files into a new or empty folder.

        Raises:
            CheckpointNotFound: There is none of that number.
            WorkspaceUnusable: `workspace` is there and not empty.
        """
        await self._run(lambda store: store.lay_out(task, number, workspace))

    async def fork(
        self, task: str, number: int, into: str, workspace: Path, *, beside: bool = False
    ) -> Checkpoint:
        """Begin another task's workspace with a checkpoint's files; gives its first checkpoint.

        Args:
            task: Whose checkpoint.
            number: Which.
            into: The other task.
            workspace: Its folder.
            beside: Whether there may be files in it; those stay as they are.

        Raises:
            CheckpointNotFound: There is none of that number.
            WorkspaceUnusable: `workspace` is there and not empty.
        """
        return await self._run(
            lambda store: store.fork(task, number, into, workspace, beside=beside)
        )

    async def pin(self, task: str, number: int) -> Checkpoint:
        """Have a checkpoint kept until it is unpinned; raises `CheckpointNotFound`."""
        return await self._run(lambda store: store.pin(task, number))

    async def unpin(self, task: str, number: int) -> Checkpoint:
        """Let a checkpoint be thinned out again; raises `CheckpointNotFound`."""
        return await self._run(lambda store: store.unpin(task, number))

    async def prune(
        self, task: str, rule: Retention, now: datetime, needed: Collection[int] = ()
    ) -> tuple[Verdict, ...]:
        """Drop the checkpoints that a rule doesn't keep; `collect` then frees their space.

        Args:
            task: Whose.
            rule: What is kept.
            now: The time that ages are counted from.
            needed: Numbers that are kept whatever the rule says.

        Returns:
            What became of each, and why.
        """

        def work(store: History) -> tuple[Verdict, ...]:
            verdicts = retained(store.list(task), rule, now, needed)
            store.drop(task, [one.number for one in verdicts if not one.kept])
            return verdicts

        return await self._run(work)

    async def forget(self, task: str) -> None:
        """Drop all checkpoints of a task, pinned ones too."""
        await self._run(lambda store: store.drop(task, [one.number for one in store.list(task)]))

    async def collect(self) -> Collected | None:
        """Free what no checkpoint needs; None where the store is in use, so that it did nothing.

        What imports left that were cut off by a crash goes in any case.
        """

        def work(store: History) -> Collected | None:
            sweep(self._folder.parent, time.time() - _LONGEST_IMPORT_SECONDS)
            return store.repository.collect()

        return await self._run(work)

    async def export(self, task: str, rows: TaskRows, target: Path) -> None:
        """Write a task and all its checkpoints to a file, which is there whole or not at all.

        Args:
            task: Its id.
            rows: What the database has of it.
            target: The file, `….tale`; replaced if it is there.

        Raises:
            TaskFileUnusable: It can't be written.
        """

        def work(store: History) -> None:
            with _file_faults(target, "written"):
                export_task(target, rows, store, task)

        await self._run(work)

    @asynccontextmanager
    async def opened(self, source: Path) -> AsyncGenerator[Imported]:
        """Check a file that a task was exported to; all of it, before any of it is used.

        `install` the checkpoints under an id of this machine, then `lay_out` the newest one in the
        new workspace, then record `rows`.

        Raises:
            ExportRefused: It is damaged, cut short, newer than this tale, or hostile.
            TaskFileUnusable: It can't be read.
        """
        with ExitStack() as stack:

            def work(store: History) -> Imported:
                del store
                with _file_faults(source, "unpacked"):
                    return stack.enter_context(opened(source, self._folder.parent))

            yield await self._run(work)

    async def install(self, imported: Imported, task: str) -> None:
        """Take over the checkpoints of an opened file as those of a task of this machine.

        Raises:
            TaskError: That task has other checkpoints.
        """
        await self._run(lambda store: imported.install(store, task))

    async def size(self) -> int:
        """Give the bytes that the store takes."""
        return await self._run(lambda store: store.repository.bytes)

    async def _run(self, work: Callable[[History], ResultT]) -> ResultT:
        return await anyio.to_thread.run_sync(partial(self._work, work))

    def _work(self, work: Callable[[History], ResultT]) -> ResultT:
        with _faults_of(self._folder):
            if self._opened is None:
                repository = Repository(self._folder)
                self._opened = History(repository, limits=self._limits, clock=self._clock)
            return work(self._opened)


@contextmanager
def _faults_of(folder: Path) -> Generator[None]:
    """Map what the disk and the repository raise."""
    try:
        yield
    except Damaged as error:
        raise CheckpointDamaged(
            f"The checkpoint store {folder} is damaged: {error}.",
            hint="Other checkpoints may be whole: `tale checkpoints` lists them.",
        ) from error
    except OSError as error:
        where = error.filename or folder
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageReadOnly(
                f"The disk is full, so {where} could not be written.",
                hint="Free some space; it goes on by itself.",
            ) from error
        raise StorageError(f"{where} can't be used: {error.strerror or error}.") from error


@contextmanager
def _file_faults(file: Path, done: str) -> Generator[None]:
    """Map what the disk says of a task's file."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageReadOnly(
                f"{file} can't be {done}: the disk is full.",
                hint="Free some space and try again.",
            ) from error
        raise TaskFileUnusable(
            f"{file} can't be {done}: {error.strerror or error}.",
            hint="Check the folder and its mode, or take another.",
        ) from error
