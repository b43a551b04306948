"""A bare git repository of tale's own: packs, names for commits, and the lock that guards them.

`git --git-dir` reads it, so that what is in it can be had without tale; its settings forbid git to
tidy it up. Never the user's repository, settings or hooks: nothing here runs git. Whoever reads or
adds holds the lock together with others (`sharing`), whoever deletes holds it alone (`alone`), in
all processes; so nothing that a snapshot in progress relies on goes away. Above:
`tasks.checkpoint_history`, `tasks.portable`. Below: `packs`, `objects`.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tale.tasks.snapshots.objects import Damaged, Kind, decode_commit, decode_tree, kind_of
from tale.tasks.snapshots.packs import TEMPORARY, Pack, PackWriter, sync_folder, write_whole

__all__ = ["Collected", "Repository"]

_CONFIG: Final = """\
[core]
\trepositoryformatversion = 1
\tbare = true
\tlogallrefupdates = false
[extensions]
\tpreciousObjects = true
[gc]
\tauto = 0
"""
"""`preciousObjects` is git's own way to be forbidden to prune or repack (gitrepository-layout)."""
_REF_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_GRACE_SECONDS: Final = 3600.0
_SMALL_PACK: Final = 8 << 20
"""Packs below this many bytes are put together, so that an object is looked for in few."""
_WORTH: Final = 0.2
"""Share of a larger pack that must be garbage before it is written anew."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a garbage collection did; `freed` is in bytes."""

    freed: int
    packs: int


class Repository:
    """The repository in one folder, made when first opened; safe in threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._packs_folder = root / "objects" / "pack"
        self._packs: tuple[Pack, ...] = ()
        self._make()

    # -- the lock ----------------------------------------------------------------------------------

    @contextmanager
    def sharing(self) -> Generator[None]:
        """Keep everything from being deleted; waits while somebody deletes."""
        with (self.root / "tale.lock").open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield

    @contextmanager
    def alone(self) -> Generator[bool]:
        """Hold the repository alone; gives False, and doesn't, while anybody else is at it."""
        with (self.root / "tale.lock").open("ab") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held = False
            else:
                held = True
            yield held

    # -- objects -----------------------------------------------------------------------------------

    def writer(self) -> PackWriter:
        """Begin to add objects."""
        return PackWriter(self._packs_folder)

    def refresh(self) -> None:
        """Take notice of what others have added."""
        known = {pack.index: pack for pack in self._packs}
        packs: list[Pack] = []
        for index in sorted(self._packs_folder.glob("pack-*.idx")):
            with suppress(Damaged, OSError):
                packs.append(known.get(index) or Pack(index))
        self._packs = tuple(packs)

    def __contains__(self, identity: bytes) -> bool:
        """Whether that object was there at the last `refresh`."""
        return any(identity in pack for pack in self._packs)

    def read(self, identity: bytes, kind: Kind) -> bytes:
        """Give an object's content.

        Raises:
            Damaged: It isn't there, is damaged everywhere it is, or is of another kind.
        """
        try:
            return self._read(identity, kind)
        except Damaged:
            self.refresh()
            return self._read(identity, kind)

    def _read(self, identity: bytes, kind: Kind) -> bytes:
        why = f"object {identity.hex()} is missing"
        for pack in self._packs:
            try:
                found = pack.read(identity)
            except (Damaged, OSError) as error:
                why = str(error)
                continue
            if found is not None and found[0] == kind:
                return found[1]
        raise Damaged(why)

    def reachable(self, commits: Iterable[bytes]) -> Iterator[tuple[bytes, Kind]]:
        """Walk all objects that commits need, each once, whether blobs are there or not.

        Raises:
            Damaged: A commit or a tree is missing.
        """
        seen: set[bytes] = set()
        todo: list[tuple[bytes, Kind]] = [(commit, "commit") for commit in commits]
        while todo:
            identity, kind = todo.pop()
            if identity in seen:
                continue
            seen.add(identity)
            yield identity, kind
            if kind == "commit":
                todo.append((decode_commit(self.read(identity, kind))[0], "tree"))
            elif kind == "tree":
                entries = decode_tree(self.read(identity, kind))
                todo.extend((one.id, kind_of(one)) for one in entries)

    def copy_to(self, writer: PackWriter, commits: Iterable[bytes]) -> None:
        """Add all that commits need to a writer.

        Raises:
            Damaged: Some of it isn't whole.
        """
        self.refresh()
        _gather(self._packs, {identity for identity, _ in self.reachable(commits)}, writer)

    @property
    def bytes(self) -> int:
        """What the packs and their indexes take on disk."""
        return sum(file.stat().st_size for file in self._packs_folder.glob("pack-*"))

    # -- names -------------------------------------------------------------------------------------

    def refs(self, prefix: str) -> dict[str, bytes]:
        """Give the names below a prefix, with the commit of each; unreadable ones are left out."""
        found: dict[str, bytes] = {}
        top = self.root / "refs"
        for folder, _, files in os.walk(top / prefix):
            for file in files:
                name = Path(folder, file).relative_to(top).as_posix()
                if _REF_PART.fullmatch(file) and (identity := self.ref(name)):
                    found[name] = identity
        return found

    def ref(self, name: str) -> bytes | None:
        """Give the commit that a name stands for."""
        try:
            identity = bytes.fromhex(self._ref(name).read_text("ascii"))
        except (OSError, ValueError):
            return None
        return identity if len(identity) == 20 else None

    def names(self, folder: str) -> list[str]:
        """Give the last parts of the names directly below one."""
        try:
            found = [one.name for one in self._ref(folder).iterdir()]
        except OSError:
            return []
        return [one for one in found if _REF_PART.fullmatch(one)]

    def add_ref(self, name: str, identity: bytes) -> bool:
        """Name a commit durably; gives False, and does nothing, where the name is taken."""
        path = self._ref(name)
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in list(path.parents)[1 : name.count("/") + 1]:
                sync_folder(folder)
        temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
        write_whole(temporary, identity.hex().encode() + b"\n")
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        sync_folder(path.parent)
        return True

    def remove_ref(self, name: str) -> None:
        """Forget a name, if it is there."""
        path = self._ref(name)
        with suppress(FileNotFoundError):
            path.unlink()
            sync_folder(path.parent)

    def _ref(self, name: str) -> Path:
        parts = name.split("/")
        if not all(_REF_PART.fullmatch(part) for part in parts):
            raise ValueError(f"{name!r} can't be a name in a repository")
        return self.root.joinpath("refs", *parts)

    # -- garbage -----------------------------------------------------------------------------------

    def collect(
        self, *, grace: float = _GRACE_SECONDS, clock: Callable[[], float] = time.time
    ) -> Collected | None:
        """Drop what no name leads to, and put small packs together.

        What is needed is written and durable before anything is deleted, so it may be killed at any
        moment. Packs younger than `grace` seconds stay as they are.

        Returns:
            None where somebody else is at the repository: nothing was done.

        Raises:
            Damaged: What is named isn't whole: nothing was deleted.
        """
        with self.alone() as here:
            return self._collect(clock() - grace) if here else None

    def _collect(self, before: float) -> Collected:
        self.refresh()
        size = self.bytes
        needed = {identity for identity, _ in self.reachable(self.refs("").values())}
        old = [pack for pack in self._packs if _age(pack) <= before]
        kept = [pack for pack in self._packs if pack not in old]
        poor = self._poor(old, needed)
        if len(poor) > 1 or any(set(pack) - needed for pack in poor):
            kept += [pack for pack in old if pack not in poor]
            self._rewrite(poor, kept, needed)
        self._sweep(before)
        sync_folder(self._packs_folder)
        self.refresh()
        return Collected(max(0, size - self.bytes), len(self._packs))

    def _rewrite(self, poor: list[Pack], kept: list[Pack], needed: set[bytes]) -> None:
        """Put what is needed of some packs into new ones, and only then delete those."""
        writer = self.writer()
        wanted = {one for pack in poor for one in pack if one in needed}
        wanted -= {one for pack in kept for one in pack}
        _gather(poor, wanted, writer)
        writer.finish()
        for pack in poor:
            if pack.path not in writer.paths:
                # The index first: without it nobody looks for the pack.
                pack.index.unlink()
                pack.path.unlink(missing_ok=True)

    def _poor(self, packs: Iterable[Pack], needed: set[bytes]) -> list[Pack]:
        """The packs that are worth being written anew."""
        poor: list[Pack] = []
        for pack in packs:
            size = pack.path.stat().st_size
            waste = sum(length for one, length in pack.lengths() if one not in needed)
            if size < _SMALL_PACK or waste > size * _WORTH:
                poor.append(pack)
        return poor

    def _sweep(self, before: float) -> None:
        """Remove what crashes left: files in the writing, and packs without an index."""
        for file in [*self.root.rglob(f"{TEMPORARY}*"), *self._packs_folder.glob("pack-*.pack")]:
            lost = file.name.startswith(TEMPORARY) or not file.with_suffix(".idx").exists()
            with suppress(FileNotFoundError):
                if lost and file.stat().st_mtime <= before:
                    file.unlink()

    # -- the folder --------------------------------------------------------------------------------

    def _make(self) -> None:
        if (self.root / "HEAD").exists():
            return
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._packs_folder, self.root / "refs"):
            folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.root / "config", _CONFIG.encode())
        write_whole(self.root / "HEAD", b"ref: refs/heads/none\n")
        for folder in (self._packs_folder, self.root / "objects", self.root, self.root.parent):
            sync_folder(folder)


def _gather(packs: Iterable[Pack], wanted: set[bytes], writer: PackWriter) -> None:
    """Copy objects out of packs; raises `Damaged` if one isn't whole in any."""
    for pack in packs:
        for identity, raw in pack.raw(wanted):
            writer.add_packed(identity, raw)
            wanted.discard(identity)
    if wanted:
        raise Damaged(f"object {wanted.pop().hex()} is missing or damaged")


def _age(pack: Pack) -> float:
    return pack.path.stat().st_mtime
