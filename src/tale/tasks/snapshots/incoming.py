"""Packs that come from outside: read through and checked before any object of them is used.

Each object must inflate to exactly the size that it declares, within bounds, and nothing may
follow; the ids are computed, never believed. Deltas are refused: tale writes none. Memory is
bounded by the largest object, all folders, and some 300 bytes for each object. Above:
`tasks.portable`. Below: `objects`.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from tale.tasks.snapshots.objects import (
    Damaged,
    Kind,
    decode_commit,
    decode_tree,
    kind_of,
    object_id,
)
from tale.tasks.snapshots.packs import PackWriter, read_object_header

__all__ = ["Incoming", "PackBounds"]

_HEADER: Final = struct.Struct(">4sII")
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class PackBounds:
    """What packs may hold at most, inflated."""

    object_bytes: int = 64 << 20
    total_bytes: int = 64 << 30
    objects: int = 2_000_000
    small_bytes: int = 512 << 20


@dataclass(slots=True)
class Incoming:
    """The objects of some packs."""

    bounds: PackBounds = field(default_factory=PackBounds)
    _kinds: dict[bytes, Kind] = field(default_factory=dict[bytes, Kind])
    _places: list[tuple[Path, bytes, int, int]] = field(
        default_factory=list[tuple[Path, bytes, int, int]]
    )
    _small: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    _inflated: int = 0
    _small_bytes: int = 0
    _needed: set[bytes] = field(default_factory=set[bytes])

    def check(self, path: Path) -> None:
        """Read a pack through.

        Raises:
            Damaged: It isn't what a pack of tale's looks like, or larger than is allowed.
        """
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = hashlib.sha1(usedforsecurity=False)
            for piece in _pieces(file, size - digest.digest_size):
                digest.update(piece)
            if file.read() != digest.digest():
                raise Damaged("a pack has another checksum than it says")
            file.seek(0)
            head = file.read(_HEADER.size)
            magic, version, count = _HEADER.unpack(head) if len(head) == _HEADER.size else (0, 0, 0)
            if magic != b"PACK" or version != 2:
                raise Damaged("a pack is none")
            if len(self._places) + count > self.bounds.objects:
                raise Damaged(f"there are more than {self.bounds.objects:,} objects")
            at = _HEADER.size
            for _ in range(count):
                at = self._take(path, file, at)
            if at != size - digest.digest_size:
                raise Damaged("a pack holds more than it says")

    def require(self, commits: Iterable[bytes]) -> None:
        """Make sure that all that commits need is among the packs.

        Raises:
            Damaged: Something is missing, or is of another kind.
        """
        todo: list[tuple[bytes, Kind]] = [(commit, "commit") for commit in commits]
        seen = self._needed
        while todo:
            identity, kind = todo.pop()
            if self._kinds.get(identity) != kind:
                raise Damaged(f"{kind} {identity.hex()} is missing")
            if identity in seen:
                continue
            seen.add(identity)
            if kind == "commit":
                todo.append((decode_commit(self._small[identity])[0], "tree"))
            elif kind == "tree":
                entries = decode_tree(self._small[identity])
                todo.extend((one.id, kind_of(one)) for one in entries)

    def commit(self, identity: bytes) -> bytes:
        """Give a commit's content; raises `Damaged` where there is none."""
        if self._kinds.get(identity) != "commit":
            raise Damaged(f"commit {identity.hex()} is missing")
        return self._small[identity]

    def copy_to(self, writer: PackWriter) -> None:
        """Add what was `require`d to a writer, as it stands."""
        for path, identity, offset, length in self._places:
            if identity in self._needed:
                with path.open("rb") as file:
                    file.seek(offset)
                    writer.add_packed(identity, file.read(length))

    def _take(self, path: Path, file: BinaryIO, at: int) -> int:
        """Check the object at an offset; gives the offset of the next."""
        file.seek(at)
        data = file.read(_CHUNK)
        kind, size, begin = read_object_header(data)
        self._inflated += size
        if size > self.bounds.object_bytes or self._inflated > self.bounds.total_bytes:
            raise Damaged(f"there are more than {self.bounds.object_bytes:,} bytes in an object")
        inflate = zlib.decompressobj()
        content = bytearray()
        fed = len(data)
        data = data[begin:]
        try:
            while not inflate.eof and len(content) <= size:
                content += inflate.decompress(data, size + 1 - len(content))
                if not inflate.eof and not (data := inflate.unconsumed_tail):
                    data = file.read(_CHUNK)
                    fed += len(data)
                    if not data:
                        raise Damaged("an object is cut short")
        except zlib.error as error:
            raise Damaged("an object can't be inflated") from error
        if len(content) != size:
            raise Damaged("an object is not as large as it says")
        end = at + fed - len(inflate.unused_data)
        identity = object_id(kind, bytes(content))
        self._kinds[identity] = kind
        if kind != "blob":
            self._small_bytes += size
            if self._small_bytes > self.bounds.small_bytes:
                raise Damaged(f"there are more than {self.bounds.small_bytes:,} bytes of folders")
            self._small[identity] = bytes(content)
        self._places.append((path, identity, at, end - at))
        return end


def _pieces(file: BinaryIO, size: int) -> Iterable[bytes]:
    while size > 0 and (piece := file.read(min(size, _CHUNK))):
        size -= len(piece)
        yield piece
