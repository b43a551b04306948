"""A task's folder: which folders may be one, and reading and writing that can't get out of it.

Every step of a path is opened relative to the one before, without following links, so neither `..`
nor a link that appears meanwhile leads outside. A file appears whole or not at all; nothing is ever
deleted. Above: `servers.gateway` (may this folder be used?), `tasks.agent` and `tasks.tools`.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tale.errors import WorkspaceFull, WorkspaceUnusable

__all__ = ["Entry", "FileRead", "Refused", "Workspace", "Written", "check_workspace", "path_parts"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
# Without waiting for the other end of a pipe that somebody put there.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_NO_SPACE: Final = {errno.ENOSPC, errno.EDQUOT}
_MAX_PATH: Final = 1024
_ABSOLUTE: Final = "Give an absolute path to a folder of its own, or none to get a new one."


@dataclass(frozen=True, slots=True)
class Written:
    """A file is there; `replaced` says that there was one of that name."""

    path: str
    bytes: int
    replaced: bool


@dataclass(frozen=True, slots=True)
class FileRead:
    """The beginning of a file; `size` is that of the whole."""

    path: str
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in a folder; `size` is None for what isn't a file."""

    name: str
    kind: Literal["file", "folder", "link", "other"]
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A file was not read or written, and why."""

    path: str
    why: str


def check_workspace(given: str, *, home: Path, private: Collection[Path] = ()) -> Path:
    """Resolve a folder that a user named as workspace; it need not exist, its parent must.

    Args:
        given: The path as given.
        home: The user's home folder, which itself is no workspace.
        private: Folders of tale's own; neither they nor what is above them is a workspace.

    Raises:
        WorkspaceUnusable: Nothing should be, or can be, written there.
    """
    if not given or "\0" in given or not (path := Path(given)).is_absolute():
        raise WorkspaceUnusable(f"{given!r} is not an absolute path.", hint=_ABSOLUTE)
    try:
        path = path.resolve()
        if path == Path(path.anchor):
            raise WorkspaceUnusable(f"{path} is the root of the file system.", hint=_ABSOLUTE)
        if home.resolve().is_relative_to(path):
            raise WorkspaceUnusable(f"{path} is or holds your home folder.", hint=_ABSOLUTE)
        if any(folder.resolve().is_relative_to(path) for folder in private):
            raise WorkspaceUnusable(f"{path} holds tale's own data.", hint=_ABSOLUTE)
        if path.exists() and not path.is_dir():
            raise WorkspaceUnusable(f"{path} is a file, not a folder.", hint=_ABSOLUTE)
        exists = path if path.exists() else path.parent
        if not exists.is_dir():
            raise WorkspaceUnusable(
                f"{path} can't be made: {exists} does not exist.", hint=f"mkdir -p {exists}"
            )
    except (OSError, RuntimeError) as error:  # too long, a loop of links, no permission
        raise WorkspaceUnusable(f"{given} can't be used: {error}.", hint=_ABSOLUTE) from error
    if not os.access(exists, os.W_OK | os.X_OK):
        raise WorkspaceUnusable(
            f"{exists} is not writable for you.", hint="Change its mode, or take another folder."
        )
    return path


class Workspace:
    """One folder, made when the first file is written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, content: str) -> Written | Refused:
        """Write a file atomically, with the folders above it.

        Args:
            name: Path relative to the workspace, as a model wrote it.
            content: The whole content.

        Raises:
            WorkspaceUnusable: The workspace itself can't be written, or its disk is full.
        """
        parts = self._parts(name)
        if isinstance(parts, Refused):
            return parts
        path, data = "/".join(parts), content.encode(errors="replace")
        try:
            with _folder(self.root, parts[:-1]) as folder:
                replaced = _replace(folder, parts[-1], data)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise _full(self.root) from error
            return Refused(path, _why(error))
        return Written(path, len(data), replaced)

    def read(self, name: str, limit: int) -> FileRead | Refused:
        """Read a file's first bytes.

        Args:
            name: Path relative to the workspace, as a model wrote it.
            limit: How many bytes at most.
        """
        parts = self._parts(name)
        if isinstance(parts, Refused):
            return parts
        path = "/".join(parts)
        try:
            with _folder(self.root, parts[:-1], make=False) as folder:
                descriptor = os.open(parts[-1], _READ, dir_fd=folder)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    return Refused(path, "it is no plain file")
                return FileRead(path, file.read(limit), status.st_size)
        except OSError as error:
            return Refused(path, _why(error))

    def list(self, name: str = ".") -> tuple[Entry, ...] | Refused:
        """Name what is in a folder, folders first.

        Args:
            name: Path relative to the workspace, as a model wrote it; `.` is the workspace.
        """
        parts = self._parts(f"{name.rstrip('/')}/x")
        if isinstance(parts, Refused):
            return Refused(name, parts.why)
        path = "/".join(parts[:-1]) or "."
        try:
            with (
                _folder(self.root, parts[:-1], make=False) as folder,
                os.scandir(folder) as entries,
            ):
                found = [_entry(entry) for entry in entries]
        except OSError as error:
            return Refused(path, _why(error))
        return tuple(sorted(found, key=lambda entry: (entry.kind != "folder", entry.name)))

    def make(self) -> None:
        """Make the folder, if it isn't there.

        Raises:
            WorkspaceUnusable: It can't be made.
        """
        with _folder(self.root, ()):
            pass

    def holds(self, name: str) -> bool:
        """Tell whether a path, as a model wrote it, is one of the workspace, links aside."""
        plain = name.strip()
        return plain in {"", ".", "./", str(self.root)} or not isinstance(
            self._parts(plain.rstrip("/")), Refused
        )

    def called(self, name: str) -> str:
        """Give the one name of a path, as a model wrote it: outside of here it is absolute."""
        if self.holds(name):
            parts = self._parts(name.strip().rstrip("/"))
            return "." if isinstance(parts, Refused) else "/".join(parts)
        # Unlike pathlib's, it leaves the home of an unknown user as it is, and raises nothing.
        return os.path.normpath(self.root / os.path.expanduser(name.strip()))  # noqa: PTH111

    def barred(self, name: str) -> str | None:
        """Say why a path can't be used whatever the user agrees to; None where it can."""
        below = self.called(name).lstrip("/")
        parts = path_parts(below) if below else ()
        return parts.why if isinstance(parts, Refused) else None

    def _parts(self, name: str) -> tuple[str, ...] | Refused:
        """Split a path; one that is absolute may lie in here, as programs print it."""
        inside = name.strip().removeprefix(f"{self.root}/")
        return path_parts(inside if inside != name.strip() else name)


def path_parts(name: str) -> tuple[str, ...] | Refused:
    """Split a path into names that stay below the workspace."""
    plain = name.strip().replace("\\", "/")
    parts = tuple(part for part in plain.split("/") if part not in {"", "."})
    if plain.startswith(("/", "~")) or plain[1:2] == ":":
        return Refused(name, "the path is absolute")
    if ".." in parts:
        return Refused(name, "the path leads out of the workspace")
    if not parts or plain.endswith("/"):
        return Refused(name, "the path names no file")
    if not plain.isprintable() or len(plain.encode(errors="replace")) > _MAX_PATH:
        return Refused(name[:80], "the path is not a usable one")
    if any(part.lower() == ".git" for part in parts):
        return Refused(name, "Git's own files are left alone")
    return parts


@contextmanager
def _folder(root: Path, parts: Sequence[str], *, make: bool = True) -> Generator[int]:
    """Open the folder below `root`, making what is missing; no link is followed below it."""
    try:
        if make:
            root.mkdir(parents=True, exist_ok=True)
        here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if not make:
            raise
        if error.errno in _NO_SPACE:
            raise _full(root) from error
        raise WorkspaceUnusable(
            f"{root} can't be used: {error.strerror}.", hint="Submit it with another workspace."
        ) from error
    try:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=here)
            below = os.open(part, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def _replace(folder: int, name: str, data: bytes) -> bool:
    """Put a file in place at once; tells whether it took the place of another."""
    try:
        before = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        before = None
    if before is not None and not stat.S_ISREG(before.st_mode):
        code = errno.EISDIR if stat.S_ISDIR(before.st_mode) else errno.ELOOP
        raise OSError(code, os.strerror(code))
    temporary = f".tale-{secrets.token_hex(8)}"
    descriptor = os.open(temporary, _NEW_FILE, 0o666, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if before is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)
    return before is not None


def _full(root: Path) -> WorkspaceFull:
    try:
        room = f" ({shutil.disk_usage(root).free / (1 << 20):,.1f} MiB left)"
    except OSError:
        room = ""
    return WorkspaceFull(f"{root}: the disk is full{room}.", hint="Free some space.")


def _entry(entry: os.DirEntry[str]) -> Entry:
    if entry.is_symlink():
        return Entry(entry.name, "link")
    if entry.is_dir(follow_symlinks=False):
        return Entry(entry.name, "folder")
    if not entry.is_file(follow_symlinks=False):
        return Entry(entry.name, "other")
    return Entry(entry.name, "file", entry.stat(follow_symlinks=False).st_size)


def _why(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "there is no such file or folder"
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return "a part of the path is a link or a file"
    if error.errno == errno.EISDIR:
        return "there is a folder of that name"
    return (error.strerror or repr(error)).lower()
