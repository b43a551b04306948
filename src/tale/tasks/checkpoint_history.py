"""The checkpoints of tasks: taken, listed, gone back to, branched off, thinned out. Synchronous.

`refs/tale/TASK/NUMBER` names a checkpoint's commit, and `refs/pins/TASK/NUMBER` marks it as pinned.
A checkpoint's objects are durable before its name is, so it is there whole or not at all; whoever
takes one holds the repository's lock until then, so nothing that it relies on is collected. Above:
`tasks.checkpoint_store`, which runs this in threads. Below: `tasks.snapshots`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tale.errors import CheckpointNotFound, WorkspaceUnusable
from tale.tasks.checkpoint import MAX_NAMED, Checkpoint, from_message, to_message
from tale.tasks.snapshots.objects import (
    FOLDER,
    Damaged,
    Kind,
    decode_commit,
    encode_commit,
    encode_tree,
    object_id,
)
from tale.tasks.snapshots.packs import PackWriter
from tale.tasks.snapshots.repository import Repository
from tale.tasks.snapshots.restore import Difference, differences, rewrite
from tale.tasks.snapshots.scan import DEFAULT_LIMITS, Folder, LeftOut, Limits, Scan, scan

__all__ = ["History", "Restored"]

_REMEMBERED: Final = 16
"""Workspaces whose files' times are remembered; 10,000 files take about 4 MB."""
_READ_ONCE: Final = 64 << 20
"""Bytes of files that are kept between being checked and being written."""
_EMPTY_TREE: Final = encode_tree(())


@dataclass(frozen=True, slots=True)
class Restored:
    """What going back did.

    Attributes:
        checkpoint: What the workspace holds now.
        saved: What it held before, so that this can be undone; None if it wasn't there.
        written: Files and links that were written.
        removed: Files and links that were removed.
        kept: What was left as it is, because no checkpoint holds it or it can't be changed.
    """

    checkpoint: Checkpoint
    saved: Checkpoint | None
    written: int
    removed: int
    kept: tuple[LeftOut, ...] = ()


class History:
    """The checkpoints in one repository; safe in threads and processes.

    All calls raise `OSError` where the disk does, and `Damaged` where the repository is.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        limits: Limits = DEFAULT_LIMITS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.repository = repository
        self._limits = limits
        self._clock = clock
        # What a workspace held, and the name of the checkpoint that keeps all of it.
        self._seen: OrderedDict[Path, tuple[str, bytes, Folder]] = OrderedDict()
        self._seen_lock = threading.Lock()

    def take(self, task: str, workspace: Path, why: str, *, pinned: bool = False) -> Checkpoint:
        """Save what a workspace holds; where nothing changed, the newest checkpoint is given.

        Raises:
            WorkspaceUnusable: It is gone, or can't be read.
        """
        with self.repository.sharing():
            self.repository.refresh()
            latest = self._latest(task)
            add = _Adding(self.repository)
            found = self._scan(workspace, add, missing_ok=latest is None)
            if latest is not None and latest.tree == found.root.tree.hex():
                taken = latest
            else:
                taken = self._record(task, why, latest, found, add)
            self._remember(workspace, taken, found.root)
        return self.pin(task, taken.number) if pinned else taken

    def list(self, task: str) -> tuple[Checkpoint, ...]:
        """Give a task's checkpoints that can be read, oldest first."""
        checkpoints: list[Checkpoint] = []
        with self.repository.sharing():
            for number in self._numbers(task):
                with suppress(Damaged, CheckpointNotFound):
                    checkpoints.append(self._read(task, number))
        return tuple(checkpoints)

    def get(self, task: str, number: int) -> Checkpoint:
        """Give one.

        Raises:
            CheckpointNotFound: There is none of that number.
        """
        with self.repository.sharing():
            return self._read(task, number)

    def tasks(self) -> tuple[str, ...]:
        """Give the tasks that have checkpoints."""
        return tuple(sorted(task for task in self.repository.names("tale") if self._numbers(task)))

    def restore(self, task: str, number: int, workspace: Path) -> Restored:
        """Bring a workspace back to a checkpoint; what it holds now is saved first.

        Raises:
            CheckpointNotFound: There is none of that number.
            WorkspaceUnusable: It can't be read.
        """
        with self.repository.sharing():
            target = self._read(task, number)
            saved = None
            if workspace.exists():
                saved = self.take(task, workspace, f"before going back to checkpoint {number}")
            return self._write(target, saved, workspace)

    def lay_out(self, task: str, number: int, workspace: Path) -> None:
        """Write a checkpoint's files into a new or empty folder.

        Raises:
            CheckpointNotFound: There is none of that number.
            WorkspaceUnusable: The folder isn't empty.
        """
        with self.repository.sharing():
            self._begin(self._read(task, number), workspace)

    def fork(
        self, task: str, number: int, into: str, workspace: Path, *, beside: bool = False
    ) -> Checkpoint:
        """Begin another task's workspace with a checkpoint's files, `beside` those that are there.

        Raises:
            CheckpointNotFound: There is none of that number.
            WorkspaceUnusable: The folder isn't empty.
        """
        with self.repository.sharing():
            source = self._read(task, number)
            self._begin(source, workspace, beside=beside)
            first = replace(
                source,
                task=into,
                number=1,
                parent=None,
                at=self._clock(),
                why=f"taken over from checkpoint {number} of {task}",
                stored=0,
                changed=(),
                changes=0,
                pinned=False,
            )
            return self._name(first, _Adding(self.repository))

    def pin(self, task: str, number: int) -> Checkpoint:
        """Have a checkpoint kept until it is unpinned.

        Raises:
            CheckpointNotFound: There is none of that number.
        """
        with self.repository.sharing():
            checkpoint = self._read(task, number)
            self.repository.add_ref(f"pins/{task}/{number}", bytes.fromhex(checkpoint.id))
        return replace(checkpoint, pinned=True)

    def unpin(self, task: str, number: int) -> Checkpoint:
        """Let a checkpoint be thinned out again.

        Raises:
            CheckpointNotFound: There is none of that number.
        """
        self.repository.remove_ref(f"pins/{task}/{number}")
        return self.get(task, number)

    def drop(self, task: str, numbers: Collection[int]) -> None:
        """Forget checkpoints; what they alone held is freed by the repository's `collect`."""
        for number in numbers:
            self.repository.remove_ref(f"pins/{task}/{number}")
            self.repository.remove_ref(f"tale/{task}/{number}")

    # -- reading -----------------------------------------------------------------------------------

    def _numbers(self, task: str) -> list[int]:
        names = self.repository.names(f"tale/{task}")
        return sorted(int(name) for name in names if name.isdecimal())

    def _latest(self, task: str) -> Checkpoint | None:
        for number in reversed(self._numbers(task)):
            with suppress(Damaged, CheckpointNotFound):
                return self._read(task, number)
        return None

    def _read(self, task: str, number: int) -> Checkpoint:
        identity = self.repository.ref(f"tale/{task}/{number}")
        if identity is None:
            raise CheckpointNotFound(
                f"Task {task} has no checkpoint {number}.",
                hint=f"`tale checkpoints {task}` lists them.",
            )
        tree, message = decode_commit(self.repository.read(identity, "commit"))
        pinned = self.repository.ref(f"pins/{task}/{number}") is not None
        # The name, not the words, says whose it is: an imported one may have got another.
        found = from_message(identity, tree, message)
        return replace(found, task=task, number=number, pinned=pinned)

    def _read_tree(self, tree: bytes) -> bytes:
        return self.repository.read(tree, "tree")

    def _read_blob(self, blob: bytes) -> bytes:
        return self.repository.read(blob, "blob")

    # -- taking ------------------------------------------------------------------------------------

    def _scan(self, workspace: Path, add: _Adding, *, missing_ok: bool) -> Scan:
        name, commit, before = self._seen.get(workspace, ("", b"", None))
        if before is not None and self.repository.ref(name) != commit:
            before = None  # what kept its objects is gone, and they may be too
        try:
            return scan(workspace, add, before, limits=self._limits)
        except FileNotFoundError as error:
            if missing_ok:
                tree = add("tree", _EMPTY_TREE)
                return Scan(Folder(b"", {}, {}, set(), tree), 0, 0, ())
            raise WorkspaceUnusable(
                f"{workspace} is gone.", hint="`tale restore` brings its last checkpoint back."
            ) from error
        except (NotADirectoryError, PermissionError) as error:
            if str(error.filename) != str(workspace):
                raise
            raise WorkspaceUnusable(f"{workspace} can't be read: {error.strerror}.") from error

    def _record(
        self, task: str, why: str, latest: Checkpoint | None, found: Scan, add: _Adding
    ) -> Checkpoint:
        before = bytes.fromhex(latest.tree) if latest else None
        try:
            changes = list(differences(add.read_tree, before, found.root.tree))
        except Damaged:  # the one before can't be compared with; this one is none the worse
            changes = list(differences(add.read_tree, None, found.root.tree))
        changed = [_shown(one) for one in changes if not _is_folder(one)]
        return self._name(
            Checkpoint(
                id="",
                task=task,
                number=latest.number + 1 if latest else 1,
                at=self._clock(),
                why=why,
                tree=found.root.tree.hex(),
                parent=latest.number if latest else None,
                files=found.files,
                size=found.size,
                stored=add.written,
                changed=tuple(changed[:MAX_NAMED]),
                changes=len(changed),
                left_out=found.left_out[:MAX_NAMED],
                omissions=len(found.left_out),
            ),
            add,
        )

    def _name(self, checkpoint: Checkpoint, add: _Adding) -> Checkpoint:
        """Make a checkpoint durable under the first free number from its own on."""
        while True:
            message = to_message(checkpoint)
            content = encode_commit(bytes.fromhex(checkpoint.tree), message, checkpoint.at)
            identity = add("commit", content)
            add.finish()
            if self.repository.add_ref(f"tale/{checkpoint.task}/{checkpoint.number}", identity):
                return replace(checkpoint, id=identity.hex())
            checkpoint = replace(checkpoint, number=checkpoint.number + 1)

    def _remember(self, workspace: Path, taken: Checkpoint, root: Folder) -> None:
        name = f"tale/{taken.task}/{taken.number}"
        with self._seen_lock:
            self._seen[workspace] = (name, bytes.fromhex(taken.id), root)
            self._seen.move_to_end(workspace)
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)

    # -- going back --------------------------------------------------------------------------------

    def _begin(self, source: Checkpoint, workspace: Path, *, beside: bool = False) -> None:
        if not beside and workspace.exists() and any(workspace.iterdir()):
            raise WorkspaceUnusable(
                f"{workspace} is not empty.", hint="Name a folder that doesn't exist yet."
            )
        self._write(source, None, workspace)

    def _write(self, target: Checkpoint, saved: Checkpoint | None, workspace: Path) -> Restored:
        before = bytes.fromhex(saved.tree) if saved else None
        changes = list(differences(self._read_tree, before, bytes.fromhex(target.tree)))
        read: dict[bytes, bytes] = {}
        room = _READ_ONCE
        for change in changes:  # all of it is whole, or nothing is touched
            if change.after and change.after.mode != FOLDER:
                content = self._read_blob(change.after.id)
                room -= len(content)
                if room >= 0:
                    read[change.after.id] = content

        def blob(identity: bytes) -> bytes:
            return found if (found := read.get(identity)) is not None else self._read_blob(identity)

        done = rewrite(workspace, changes, blob)
        return Restored(target, saved, done.written, done.removed, tuple(done.kept))


class _Adding:
    """Puts what the repository doesn't have yet into it."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._writer: PackWriter = repository.writer()
        self._trees: dict[bytes, bytes] = {}

    @property
    def written(self) -> int:
        """Bytes that were new, compressed."""
        return self._writer.written

    def __call__(self, kind: Kind, content: bytes) -> bytes:
        identity = object_id(kind, content)
        if kind == "tree":
            self._trees[identity] = content
        if identity not in self._repository:
            self._writer.add(kind, content, identity)
        return identity

    def read_tree(self, tree: bytes) -> bytes:
        """Give a tree, also one that was just added."""
        found = self._trees.get(tree)
        return self._repository.read(tree, "tree") if found is None else found

    def finish(self) -> None:
        """Make it durable."""
        self._writer.finish()


def _is_folder(change: Difference) -> bool:
    return all(one is None or one.mode == FOLDER for one in (change.before, change.after))


def _shown(change: Difference) -> str:
    return change.path.decode(errors="backslashreplace")
