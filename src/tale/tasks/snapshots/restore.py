"""Brings a folder from one tree to another; only what differs is touched.

What the folder holds and the first tree doesn't (ignored files, files that were too large) is left
alone, even where the second tree has something of that name: it is saved nowhere. Every name is
opened relative to its folder and no link is followed. A file is replaced at once. After a crash the
same can be done again, so files aren't synced one by one: 1,000 of them took 4 s on a busy disk.
Above: `tasks.checkpoint_history`. Below: `objects`.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tale.tasks.snapshots.objects import EXECUTABLE, FOLDER, LINK, Entry, decode_tree
from tale.tasks.snapshots.packs import TEMPORARY
from tale.tasks.snapshots.scan import LeftOut

__all__ = ["Difference", "Rewritten", "differences", "rewrite"]

ReadTree = Callable[[bytes], bytes]
ReadBlob = Callable[[bytes], bytes]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY: Final = {
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.EACCES,
    errno.EPERM,
}
"""What concerns one name; anything else, such as a full disk, ends it all."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A path that two trees hold differently; None where one doesn't hold it."""

    path: bytes
    before: Entry | None
    after: Entry | None


@dataclass(slots=True)
class Rewritten:
    """What was done; `kept` names what was left as it is, and why."""

    written: int = 0
    removed: int = 0
    kept: list[LeftOut] = field(default_factory=list[LeftOut])


def differences(
    read: ReadTree, before: bytes | None, after: bytes | None, path: bytes = b""
) -> Iterator[Difference]:
    """Compare two trees by their ids; None is an empty one. Folders come before what they hold.

    Raises:
        Damaged: A tree can't be read.
    """
    if before == after:
        return
    old, new = _entries(read, before), _entries(read, after)
    for name in sorted(old.keys() | new.keys()):
        was, will = old.get(name), new.get(name)
        if was == will:
            continue
        was_folder = was is not None and was.mode == FOLDER
        will_be_folder = will is not None and will.mode == FOLDER
        if not (was_folder and will_be_folder):
            yield Difference(path + name, was, will)
        if was_folder or will_be_folder:
            yield from differences(
                read,
                was.id if was and was_folder else None,
                will.id if will and will_be_folder else None,
                path + name + b"/",
            )


def rewrite(workspace: Path, changes: Sequence[Difference], read: ReadBlob) -> Rewritten:
    """Make the changes, removals first.

    Args:
        workspace: The folder; made if it is missing.
        changes: What `differences` found between what the folder holds and what it shall hold.
        read: Gives a blob's content.

    Raises:
        Damaged: A blob can't be read.
        OSError: The folder can't be written.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    root = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        done = Rewritten()
        for change in reversed(changes):  # what a folder holds goes before it
            if change.before and not (change.after and _same_kind(change.before, change.after)):
                with _keeping(change.path, done):
                    done.removed += _remove(root, change.path, change.before)
        for change in changes:
            if change.after:
                with _keeping(change.path, done):
                    done.written += _put(root, change, change.after, read)
        return done
    finally:
        os.close(root)


def _entries(read: ReadTree, tree: bytes | None) -> dict[bytes, Entry]:
    return {one.name: one for one in decode_tree(read(tree))} if tree else {}


def _same_kind(one: Entry, other: Entry) -> bool:
    """Whether one takes the other's place at once, by a rename."""
    return (one.mode == FOLDER) == (other.mode == FOLDER)


@contextmanager
def _keeping(path: bytes, done: Rewritten) -> Generator[None]:
    """Note what can't be changed, and go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
        why = "something that no checkpoint holds is in its place or in it"
        if error.errno in {errno.EACCES, errno.EPERM}:
            why = "you are not allowed to change it"
        done.kept.append(LeftOut(path.decode(errors="backslashreplace"), why))


def _remove(root: int, path: bytes, entry: Entry) -> int:
    """Remove a file, or a folder that has become empty; gives how many files went."""
    with suppress(FileNotFoundError), _folder_of(root, path) as (folder, name):
        if entry.mode == FOLDER:
            os.rmdir(name, dir_fd=folder)
            return 0
        os.unlink(name, dir_fd=folder)
        return 1
    return 0


def _put(root: int, change: Difference, entry: Entry, read: ReadBlob) -> int:
    """Put a file, a link or a folder in place; gives how many files were written."""
    with _folder_of(root, change.path, make=True) as (folder, name):
        if entry.mode == FOLDER:
            _make_folder(folder, name)
            return 0
        content = read(entry.id)
        temporary = f"{TEMPORARY}{secrets.token_hex(8)}".encode()
        try:
            if entry.mode == LINK:
                os.symlink(content, temporary, dir_fd=folder)
            else:
                mode = _mode(folder, name, entry)
                _write(folder, temporary, content, mode, executable=entry.mode == EXECUTABLE)
            if change.before and change.before.mode != FOLDER:
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            else:
                _place_new(folder, temporary, name)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
        return 1


def _mode(folder: int, name: bytes, entry: Entry) -> int | None:
    """The replaced file's permissions, as executable as it shall be; None if there is none."""
    try:
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(facts.st_mode):
        return None
    mode = stat.S_IMODE(facts.st_mode)
    return mode | (mode & 0o444) >> 2 if entry.mode == EXECUTABLE else mode & ~0o111


def _write(folder: int, name: bytes, content: bytes, mode: int | None, *, executable: bool) -> None:
    descriptor = os.open(name, _NEW, 0o777 if executable else 0o666, dir_fd=folder)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        if mode is not None:
            os.fchmod(descriptor, mode)
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]


def _place_new(folder: int, temporary: bytes, name: bytes) -> None:
    """Give a file its name; a link fails where a rename would replace what nobody has saved."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EMLINK}:
            raise
        # A file system without hard links, where looking first must do.
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _make_folder(folder: int, name: bytes) -> None:
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        os.close(os.open(name, _FOLDER, dir_fd=folder))  # unless it is a folder already


@contextmanager
def _folder_of(root: int, path: bytes, *, make: bool = False) -> Generator[tuple[int, bytes]]:
    """Open the folder that a path is in, following no link; gives it and the path's last name."""
    *parts, name = path.split(b"/")
    here = os.dup(root)
    try:
        for part in parts:
            try:
                below = os.open(part, _FOLDER, dir_fd=here)
            except FileNotFoundError:
                if not make:
                    raise
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=here)
                below = os.open(part, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here, name
    finally:
        os.close(here)
