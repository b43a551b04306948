"""Turns a folder into git's trees and blobs, reading only what may have changed since last time.

A file whose size, times, inode and mode are as they were is taken to hold what it held; one that
was written as late as the scan itself is read again next time, for a second change within the same
tick of the file system's clock would not show (git's "racy" rule, Documentation/technical/
racy-git.txt). Every name is opened relative to its folder and no link is followed, so a scan can't
be led out of the workspace. Above: `tasks.checkpoint`. Below: `ignoring`, `objects`.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tale.tasks.snapshots.ignoring import MAX_RULES_BYTES, Rules
from tale.tasks.snapshots.objects import EXECUTABLE, FILE, FOLDER, LINK, Entry, Kind, encode_tree

__all__ = ["DEFAULT_LIMITS", "Folder", "LeftOut", "Limits", "Scan", "scan"]

Keep = Callable[[Kind, bytes], bytes]
"""Stores an object and gives its id."""
Opener = Callable[[str, int], int]
"""Opens a file for reading, by its name in an open folder."""
_Stat = tuple[int, int, int, int, int]
_Known = tuple[_Stat | None, int, bytes, int]  # stat (None: read it again), mode, id, size

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TICK_NS: Final = 20_000_000
"""Longest tick of Linux's coarse clock (HZ=100, twice)."""
_WHOLE_SECONDS_NS: Final = 2_000_000_000
"""The tick of file systems that stamp whole seconds: FAT's two."""
_UNFINISHED: Final = re.compile(r"\.tale-[0-9a-f]{16}")
"""Files that tale was writing when it was killed."""
_MAX_DEPTH: Final = 200
"""Each level holds a descriptor and Python's stack; real trees have below 40."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a snapshot takes at most; the rest is left out, and named."""

    file_bytes: int = 50 << 20
    total_bytes: int = 2 << 30
    files: int = 200_000


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that isn't in a snapshot, and why; folders end in a slash."""

    path: str
    why: str


@dataclass(slots=True)
class Folder:
    """What a folder held when it was scanned."""

    rules: bytes
    files: dict[str, _Known]
    folders: dict[str, Folder]
    ignored: set[str]  # folders end in a slash
    tree: bytes


@dataclass(frozen=True, slots=True)
class Scan:
    """A folder as it is: the root `tree`, and what the next scan can rely on."""

    root: Folder
    files: int
    size: int
    left_out: tuple[LeftOut, ...]


def open_file(name: str, folder: int) -> int:
    """Open a file for reading, unless it is a link."""
    return os.open(name, _OPEN, dir_fd=folder)


def scan(
    workspace: Path,
    keep: Keep,
    before: Folder | None = None,
    *,
    limits: Limits = DEFAULT_LIMITS,
    now_ns: Callable[[], int] = time.time_ns,
    opener: Opener = open_file,
) -> Scan:
    """Scan a folder.

    Args:
        workspace: The folder.
        keep: Takes each object that is new; called for a folder after all that it holds.
        before: What an earlier scan found, if all its objects are still kept.
        limits: What is left out for its size.
        now_ns: The clock that file times are compared with.
        opener: How files are opened.

    Raises:
        OSError: The folder itself can't be read.
    """
    run = _Run(keep, limits, now_ns(), opener)
    root = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = run.folder(root, _listed(root), before, Rules(), b"")
    finally:
        os.close(root)
    return Scan(found, run.files, run.size, tuple(run.left_out))


_NOTHING: Final = Folder(b"", {}, {}, set(), b"")


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder in the middle of its scan.

    Attributes:
        here: Its descriptor.
        decided: The same patterns hold as when `old` was found.
        old: What it held before.
        now: What it holds, as far as is known.
    """

    here: int
    path: bytes
    rules: Rules
    decided: bool
    old: Folder
    now: Folder


@dataclass(slots=True)
class _Run:
    """One scan as it goes."""

    keep: Keep
    limits: Limits
    began_ns: int
    opener: Opener
    files: int = 0
    size: int = 0
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])

    def folder(
        self,
        here: int,
        entries: Sequence[os.DirEntry[str]],
        before: Folder | None,
        rules: Rules,
        path: bytes,
    ) -> Folder:
        """Scan an open folder; `path` is empty or ends in a slash."""
        if any(entry.name == ".gitignore" for entry in entries):
            rules = self._rules(here, rules, path)
        decided = before is not None and before.rules == rules.key
        now = Folder(rules.key, {}, {}, set(), b"")
        place = _Place(here, path, rules, decided, before or _NOTHING, now)
        for entry in entries:
            try:
                facts = entry.stat(follow_symlinks=False)
            except OSError:  # it went away
                continue
            if stat.S_ISDIR(facts.st_mode):
                self._take_folder(place, entry.name)
            else:
                self._take_file(place, entry.name, facts)
        unchanged = before is not None and _alike(before, now)
        now.tree = before.tree if before and unchanged else self._tree(now)
        return now

    def _take_folder(self, place: _Place, name: str) -> None:
        before = place.old.folders.get(name)
        if not (place.decided and before) and self._refused(place, name, is_folder=True):
            return
        if place.path.count(b"/") >= _MAX_DEPTH:
            self._leave(place.path, name + "/", f"it is more than {_MAX_DEPTH} folders deep")
            return
        try:
            below = os.open(name, _OPEN_FOLDER, dir_fd=place.here)
        except FileNotFoundError:
            return
        except OSError as error:
            self._leave(place.path, name + "/", f"it can't be read: {error.strerror}")
            return
        try:
            entries = _listed(below)
            inside = place.path + os.fsencode(name) + b"/"
            # What it raises comes from the store, and ends the scan.
            found = self.folder(below, entries, before, place.rules, inside)
        finally:
            os.close(below)
        place.now.folders[name] = found

    def _take_file(self, place: _Place, name: str, facts: os.stat_result) -> None:
        stamp, mode = _stamp(facts), facts.st_mode
        known = place.old.files.get(name)
        settled = place.decided and known and (stat.S_ISREG(mode) or stat.S_ISLNK(mode))
        if not settled and self._refused(place, name, mode):
            return
        if not self._fits(place, name, stamp[1]):
            return
        if known is None or known[0] != stamp:
            known = self._file(place, name, stamp)
        if known is not None:
            place.now.files[name] = known
            self.files += 1
            self.size += known[3]

    def _refused(
        self, place: _Place, name: str, mode: int = stat.S_IFREG, *, is_folder: bool = False
    ) -> bool:
        """Whether an entry is left out by its name or kind; says so."""
        shown = name + "/" * is_folder
        if name.lower() == ".git":
            self._leave(place.path, shown, "Git's own files are never touched")
        elif _UNFINISHED.fullmatch(name):
            pass
        elif not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            self._leave(place.path, shown, "it is neither a file, a folder nor a link")
        elif (place.decided and shown in place.old.ignored) or place.rules.ignores(
            place.path + os.fsencode(name), is_folder=is_folder
        ):
            place.now.ignored.add(shown)
            self._leave(place.path, shown, "a .gitignore file says so")
        else:
            return False
        return True

    def _rules(self, here: int, rules: Rules, path: bytes) -> Rules:
        try:
            content, _ = self._read(here, ".gitignore", MAX_RULES_BYTES)
        except OSError:
            return rules
        return rules if content is None else rules.inside(path, content)

    def _file(self, place: _Place, name: str, stamp: _Stat) -> _Known | None:
        """Read a file or a link; None where it is left out."""
        mode, limit = stamp[0], self.limits.file_bytes
        content: bytes | None = None
        seen: _Stat | None = stamp
        try:
            if stat.S_ISLNK(mode):
                content = os.fsencode(os.readlink(name, dir_fd=place.here))
            elif stamp[1] <= limit:
                content, seen = self._read(place.here, name, limit)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._leave(place.path, name, f"it can't be read: {error.strerror}")
            return None
        if content is None:
            self._leave(place.path, name, f"it is larger than {limit >> 20} MiB")
            return None
        kind = LINK if stat.S_ISLNK(mode) else EXECUTABLE if mode & stat.S_IXUSR else FILE
        trusted = stamp if seen == stamp and not self._racy(stamp) else None
        return trusted, kind, self.keep("blob", content), len(content)

    def _read(self, here: int, name: str, limit: int) -> tuple[bytes | None, _Stat | None]:
        """Give a file's content, None if it is too large; and its stamp, if it held still."""
        descriptor = self.opener(name, here)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            first = _stamp(os.fstat(descriptor))
            if not stat.S_ISREG(first[0]):
                raise FileNotFoundError(name)  # another thing took its place
            content = bytearray()
            while len(content) <= limit and (piece := file.read(limit + 1 - len(content))):
                content += piece
            held_still = _stamp(os.fstat(descriptor)) == first
        return (
            bytes(content) if len(content) <= limit else None,
            first if held_still else None,
        )

    def _racy(self, stamp: _Stat) -> bool:
        newest = max(stamp[2], stamp[3])
        tick = _TICK_NS if newest % 1_000_000_000 else _WHOLE_SECONDS_NS
        return newest >= self.began_ns - tick

    def _fits(self, place: _Place, name: str, size: int) -> bool:
        limits = self.limits
        if self.files >= limits.files:
            why = f"the workspace has more than {limits.files:,} files"
        elif self.size + size > limits.total_bytes and size <= limits.file_bytes:
            why = f"the workspace is larger than {limits.total_bytes >> 20:,} MiB"
        else:
            return True
        self._leave(place.path, name, why)
        return False

    def _tree(self, folder: Folder) -> bytes:
        entries = [
            Entry(os.fsencode(name), mode, identity)
            for name, (_, mode, identity, _) in folder.files.items()
        ]
        entries += [
            Entry(os.fsencode(name), FOLDER, child.tree) for name, child in folder.folders.items()
        ]
        return self.keep("tree", encode_tree(entries))

    def _leave(self, path: bytes, name: str, why: str) -> None:
        shown = (path + os.fsencode(name)).decode(errors="backslashreplace")
        self.left_out.append(LeftOut(shown, why))


def _listed(folder: int) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _stamp(facts: os.stat_result) -> _Stat:
    return (
        facts.st_mode,
        facts.st_size,
        facts.st_mtime_ns,
        facts.st_ctime_ns,
        facts.st_ino,
    )


def _alike(old: Folder, now: Folder) -> bool:
    """Whether a folder's tree is what it was; what was not read again is the same object."""
    return (
        old.files.keys() == now.files.keys()
        and old.folders.keys() == now.folders.keys()
        and all(old.folders[name].tree == one.tree for name, one in now.folders.items())
        and all(
            (before := old.files[name]) is one or before[1:3] == one[1:3]
            for name, one in now.files.items()
        )
    )
