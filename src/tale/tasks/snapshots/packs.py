"""Packs: many git objects in one file, with an index beside it; written whole, never changed.

One checkpoint is one pack, so it costs two files and three fsyncs however much it holds, where
loose objects cost a file and an fsync each. The format is gitformat-pack(5) version 2 with index
version 2, without deltas: `git --git-dir` reads it. Above: `repository`. Below: `objects`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
import zlib
from bisect import bisect_left
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from tale.tasks.snapshots.objects import Damaged, Kind, object_id

__all__ = ["TEMPORARY", "Pack", "PackWriter", "read_object_header", "sync_folder", "write_whole"]

TEMPORARY: Final = ".tale-"
"""How the names of files begin that are being written; what a crash leaves is swept up later."""

_PACK_BYTES: Final = 32 << 20
"""Compressed bytes after which a pack is closed and the next begun; bounds the memory."""
_LEVEL: Final = 3
"""zlib's level: on source code 40 % quicker than the default 6, and 4 % larger."""
_NUMBERS: Final[dict[Kind, int]] = {"commit": 1, "tree": 2, "blob": 3}
_KINDS: Final[dict[int, Kind]] = {number: kind for kind, number in _NUMBERS.items()}
_HEADER: Final = struct.Struct(">4sII")
_INDEX_MAGIC: Final = b"\xfftOc\0\0\0\2"
_FANOUT: Final = struct.Struct(">256I")
_IDS: Final = len(_INDEX_MAGIC) + _FANOUT.size
_ID: Final = 20
_CHUNK: Final = 1 << 16


class PackWriter:
    """Collects objects and writes them as packs; what isn't `finish`ed leaves nothing behind."""

    def __init__(self, folder: Path, pack_bytes: int = _PACK_BYTES) -> None:
        self._folder = folder
        self._pack_bytes = pack_bytes
        self._chunks: list[bytes] = []
        self._index: dict[bytes, tuple[int, int]] = {}  # id -> CRC-32, offset
        self._size = _HEADER.size
        self._flushed: set[bytes] = set()
        self.written = 0
        """Bytes that the objects take, compressed."""
        self.paths: set[Path] = set()
        """The packs that were written."""

    def __contains__(self, identity: bytes) -> bool:
        """Whether it was added."""
        return identity in self._index or identity in self._flushed

    def add(self, kind: Kind, content: bytes, identity: bytes) -> None:
        """Take an object under the id that `object_id` gives it, unless it was added already."""
        if identity not in self:
            header = _object_header(kind, len(content))
            self._append(identity, header + zlib.compress(content, _LEVEL))

    def add_packed(self, identity: bytes, raw: bytes) -> None:
        """Take an object as another pack has it."""
        if identity not in self:
            self._append(identity, raw)

    def finish(self) -> None:
        """Put all of it in place; afterwards it survives power loss."""
        self._flush()

    def _append(self, identity: bytes, raw: bytes) -> None:
        if self._index and self._size + len(raw) > self._pack_bytes:
            self._flush()
        self._index[identity] = (zlib.crc32(raw), self._size)
        self._chunks.append(raw)
        self._size += len(raw)
        self.written += len(raw)

    def _flush(self) -> None:
        if not self._index:
            return
        body = b"".join([_HEADER.pack(b"PACK", 2, len(self._index)), *self._chunks])
        checksum = hashlib.sha1(body, usedforsecurity=False).digest()
        name = self._folder / f"pack-{checksum.hex()}"
        # The pack before the index: readers look for indexes.
        write_whole(name.with_suffix(".pack"), body + checksum, 0o444)
        write_whole(name.with_suffix(".idx"), _encode_index(self._index, checksum), 0o444)
        sync_folder(self._folder)
        self.paths.add(name.with_suffix(".pack"))
        self._flushed |= self._index.keys()
        self._chunks, self._index, self._size = [], {}, _HEADER.size


class Pack:
    """A pack that is there, to read from."""

    def __init__(self, index: Path) -> None:
        """Open it by its index.

        Raises:
            Damaged: The index isn't whole.
            OSError: It can't be read.
        """
        self.path = index.with_suffix(".pack")
        self.index = index
        self._data = data = index.read_bytes()
        if not data.startswith(_INDEX_MAGIC) or len(data) < _IDS + 2 * _ID:
            raise Damaged(f"{index} is no index of a pack")
        self._fanout = (0, *_FANOUT.unpack_from(data, len(_INDEX_MAGIC)))
        self.count = self._fanout[-1]
        if len(data) != _IDS + (_ID + 8) * self.count + 2 * _ID:
            raise Damaged(f"{index} is cut short")

    def __contains__(self, identity: bytes) -> bool:
        """Whether it holds that object."""
        return self._find(identity) is not None

    def __iter__(self) -> Iterator[bytes]:
        """Give the ids of its objects, in their order."""
        return (self._id(place) for place in range(self.count))

    def read(self, identity: bytes) -> tuple[Kind, bytes] | None:
        """Give an object, checked against its id; None where it isn't in this pack.

        Raises:
            Damaged: What stands there is something else.
            OSError: The pack can't be read.
        """
        if (offset := self._find(identity)) is None:
            return None
        with self.path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), _CHUNK, offset)
            kind, size, at = read_object_header(data)
            inflate = zlib.decompressobj()
            try:
                content = bytearray(inflate.decompress(data[at:], size + 1))
                while not inflate.eof and len(content) <= size and data:
                    offset += len(data)
                    data = os.pread(file.fileno(), _CHUNK, offset)
                    content += inflate.decompress(data, size + 1 - len(content))
            except zlib.error as error:
                raise Damaged(f"{self.path}: {error}") from error
        whole = bytes(content)
        if len(whole) != size or object_id(kind, whole) != identity:
            raise Damaged(f"{self.path}: object {identity.hex()} isn't what it was")
        return kind, whole

    def lengths(self) -> Iterator[tuple[bytes, int]]:
        """Give each object's id and the bytes it takes in the pack."""
        return ((self._id(place), length) for place, _, length in self._pieces())

    def raw(self, wanted: Container[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Give objects as they stand in the pack; those that don't match their CRC are left out."""
        with self.path.open("rb", buffering=0) as file:
            for place, offset, length in self._pieces():
                if (identity := self._id(place)) in wanted:
                    raw = os.pread(file.fileno(), length, offset)
                    if zlib.crc32(raw) == self._number(place, column=0):
                        yield identity, raw

    def _pieces(self) -> Iterator[tuple[int, int, int]]:
        """Place in the index, offset and length of each object, as they follow each other."""
        places = sorted(range(self.count), key=self._offset)
        offsets = [self._offset(place) for place in places]
        ends = [*offsets[1:], self.path.stat().st_size - _ID]
        for place, offset, end in zip(places, offsets, ends, strict=True):
            yield place, offset, end - offset

    def _id(self, place: int) -> bytes:
        at = _IDS + _ID * place
        return self._data[at : at + _ID]

    def _offset(self, place: int) -> int:
        return self._number(place, column=1)

    def _number(self, place: int, column: int) -> int:
        """An object's CRC-32 (column 0) or offset (column 1)."""
        at = _IDS + (_ID + 4 * column) * self.count + 4 * place
        return int.from_bytes(self._data[at : at + 4])

    def _find(self, identity: bytes) -> int | None:
        low, high = self._fanout[identity[0]], self._fanout[identity[0] + 1]
        place = bisect_left(range(low, high), identity, key=self._id) + low
        return self._offset(place) if place < high and self._id(place) == identity else None


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file that is there whole or not at all; its folder is for the caller to sync."""
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _object_header(kind: Kind, size: int) -> bytes:
    """Kind and size in git's variable length: 4 bits of size first, then 7 at a time."""
    byte = _NUMBERS[kind] << 4 | size & 15
    size >>= 4
    header = bytearray()
    while size:
        header.append(byte | 0x80)
        byte = size & 0x7F
        size >>= 7
    header.append(byte)
    return bytes(header)


def read_object_header(data: bytes) -> tuple[Kind, int, int]:
    """Give an object's kind and size, and where its content begins.

    Raises:
        Damaged: It is none, or one of a kind that tale doesn't write.
    """
    at = shift = size = 0
    try:
        number, size, shift = data[0] >> 4 & 7, data[0] & 15, 4
        while data[at] & 0x80:
            at += 1
            size |= (data[at] & 0x7F) << shift
            shift += 7
        return _KINDS[number], size, at + 1
    except (IndexError, KeyError) as error:
        raise Damaged("an object's header can't be understood") from error


def _encode_index(index: dict[bytes, tuple[int, int]], checksum: bytes) -> bytes:
    ordered = sorted(index.items())
    counts = [0] * 256
    for identity, _ in ordered:
        counts[identity[0]] += 1
    total = 0
    fanout = [total := total + count for count in counts]
    data = b"".join(
        [
            _INDEX_MAGIC,
            _FANOUT.pack(*fanout),
            *(identity for identity, _ in ordered),
            *(crc.to_bytes(4) for _, (crc, _) in ordered),
            *(offset.to_bytes(4) for _, (_, offset) in ordered),
            checksum,
        ]
    )
    return data + hashlib.sha1(data, usedforsecurity=False).digest()
