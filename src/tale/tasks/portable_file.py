"""The container of an exported task: a tar of plain files, compressed with zstd, contents first.

The first file, `manifest.json`, names each of the others with its size and SHA-256, and the other
files follow in that order and nothing else does. So it can be read in one pass with little memory,
by `tar --zstd` too, and whatever else a tar can hold (links, devices, folders, other paths) has no
place here: it is refused before anything of it is written. Above: `tasks.portable`. Not here: what
the files mean.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import orjson

from tale.errors import ExportRefused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd  # pyright: ignore[reportMissingTypeStubs]

__all__ = ["FORMAT", "Bounds", "Manifest", "pack_files", "unpack_files"]

FORMAT: Final = 1
"""What this tale writes, and the newest that it reads."""

_MANIFEST: Final = "manifest.json"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,40}\.(json|jsonl|pack)")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_BLOCK: Final = tarfile.BLOCKSIZE
_CHUNK: Final = 1 << 18
_MANIFEST_BYTES: Final = 1 << 20
_WINDOW_LOG: Final = 23
"""zstd's own limit for what every reader must be able to take: 8 MiB (RFC 8878, 3.1.1.1.2)."""
_COMPRESS: Final[dict[int, int]] = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.checksum_flag: 1,
}
_DECOMPRESS: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an exported file may hold at most, unpacked."""

    files: int = 1000
    total_bytes: int = 16 << 30


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an exported file says of itself.

    Attributes:
        tale: The version of tale that wrote it.
        about: What it holds, in words of `tasks.portable`.
        files: Size and SHA-256 of each file, in their order.
    """

    tale: str
    about: Mapping[str, object]
    files: Mapping[str, tuple[int, str]]


def pack_files(
    target: BinaryIO, files: Sequence[Path], *, tale: str, about: Mapping[str, object]
) -> None:
    """Write files, each under its own name.

    Args:
        target: Where to.
        files: What.
        tale: This version of tale.
        about: What they are, as JSON.

    Raises:
        OSError: They can't be read, or `target` not be written.
    """
    members: list[dict[str, object]] = []
    for file in files:
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        members.append({"name": file.name, "bytes": file.stat().st_size, "sha256": digest})
    manifest = {"format": FORMAT, "tale": tale, "about": about, "files": members}
    content = orjson.dumps(manifest, option=orjson.OPT_INDENT_2)
    compressor = zstd.ZstdCompressor(options=_COMPRESS)
    target.write(compressor.compress(_header(_MANIFEST, len(content)) + content))
    target.write(compressor.compress(_padding(len(content))))
    for file in files:
        size = file.stat().st_size
        target.write(compressor.compress(_header(file.name, size)))
        with file.open("rb") as source:
            while piece := source.read(_CHUNK):
                target.write(compressor.compress(piece))
        target.write(compressor.compress(_padding(size)))
    target.write(compressor.compress(bytes(2 * _BLOCK)) + compressor.flush())


def unpack_files(source: Path, folder: Path, bounds: Bounds = Bounds()) -> Manifest:
    """Unpack into a folder what is whole and harmless; on any error the folder is worth nothing.

    Raises:
        ExportRefused: It is damaged, cut short, newer than this tale, or hostile.
        OSError: It can't be read, or the folder not be written.
    """
    with source.open("rb") as file:
        stream = _Stream(source, file, bounds.total_bytes + (4 << 20))
        if stream.header() != (_MANIFEST, stream.size):
            raise stream.refused("it does not begin with a manifest")
        if stream.size > _MANIFEST_BYTES:
            raise stream.refused("its manifest is too large")
        manifest = _manifest(stream, b"".join(stream.content()), bounds)
        for name, (size, sha256) in manifest.files.items():
            if stream.header() != (name, size):
                raise stream.refused(f"{name} is not where its manifest says")
            digest = hashlib.sha256()
            with (folder / name).open("xb") as target:
                for piece in stream.content():
                    digest.update(piece)
                    target.write(piece)
            if digest.hexdigest() != sha256:
                raise stream.damaged(f"{name} does not have the content that its manifest says")
        stream.end()
    return manifest


class _Stream:
    """Reads a tar out of zstd, a bounded piece at a time."""

    def __init__(self, path: Path, file: BinaryIO, limit: int) -> None:
        self._path = path
        self._pieces = self._decompressed(file, limit)
        self._buffer = b""
        self.size = 0
        """Bytes of the file whose header was read last."""

    def header(self) -> tuple[str, int]:
        """Read the next file's name and size."""
        block = self._take(_BLOCK)
        try:
            info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError) as error:
            raise self.damaged("a file's header can't be understood") from error
        kinds = {tarfile.SYMTYPE: "a link", tarfile.LNKTYPE: "a link", tarfile.DIRTYPE: "a folder"}
        if info.type != tarfile.REGTYPE or info.size < 0:
            raise self.refused(f"it holds {kinds.get(info.type, 'something that is no file')}")
        if not _NAME.fullmatch(info.name):
            raise self.refused(f"it holds a file named {info.name[:80]!r}")
        if block != _header(info.name, info.size):
            raise self.refused(f"the header of {info.name} says more than a name and a size")
        self.size = info.size
        return info.name, info.size

    def content(self) -> Iterator[bytes]:
        """Read the file whose header was read last, and what fills up its last block."""
        left = self.size
        while left:
            piece = self._some(left)
            left -= len(piece)
            yield piece
        if any(self._take(len(_padding(self.size)))):
            raise self.damaged("there is something between two files")

    def end(self) -> None:
        """Make sure that nothing more comes."""
        if any(self._take(2 * _BLOCK)) or self._buffer or next(self._pieces, b""):
            raise self.refused("it holds more than its manifest says")

    def damaged(self, what: str) -> ExportRefused:
        """Say what is wrong, where an accident explains it."""
        return ExportRefused(f"{self._path} is damaged: {what}.", hint="Export the task again.")

    def newer(self, tale: str, form: int) -> ExportRefused:
        """Say that this tale is too old for it."""
        return ExportRefused(
            f"{self._path} was written by tale {tale}, in format {form}; this tale reads up to "
            f"format {FORMAT}.",
            hint="Upgrade tale.",
        )

    def refused(self, what: str) -> ExportRefused:
        """Say what is wrong, where tale never writes such a thing."""
        return ExportRefused(f"{self._path} was not written by tale, or is damaged: {what}.")

    def _take(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            taken += self._some(size - len(taken))
        return taken

    def _some(self, most: int) -> bytes:
        if not self._buffer:
            self._buffer = next(self._pieces, b"")
        if not self._buffer:
            raise self.damaged("it is cut short")
        taken, self._buffer = self._buffer[:most], self._buffer[most:]
        return taken

    def _decompressed(self, file: BinaryIO, limit: int) -> Iterator[bytes]:
        decompressor = zstd.ZstdDecompressor(options=_DECOMPRESS)
        total = 0
        try:
            while not decompressor.eof:
                data = file.read(_CHUNK) if decompressor.needs_input else b""
                if decompressor.needs_input and not data:
                    raise self.damaged("it is cut short")
                piece = decompressor.decompress(data, _CHUNK)
                total += len(piece)
                if total > limit:
                    raise self.refused(f"it unpacks to more than {limit:,} bytes")
                if piece:
                    yield piece
        except zstd.ZstdError as error:
            told = self.damaged if total else self.refused
            raise told("it can't be decompressed") from error
        if decompressor.unused_data or file.read(1):
            raise self.refused("something follows its end")


def _manifest(stream: _Stream, content: bytes, bounds: Bounds) -> Manifest:
    """Read a manifest, believing nothing."""
    try:
        read = cast("dict[str, Any]", orjson.loads(content))
        if int(read["format"]) > FORMAT:
            raise stream.newer(str(read["tale"])[:40], int(read["format"]))
        rows = [(str(row["name"]), int(row["bytes"]), str(row["sha256"])) for row in read["files"]]
        about = cast("dict[str, object]", dict(read["about"]))
        tale = str(read["tale"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise stream.damaged("its manifest can't be understood") from error
    if len(rows) > bounds.files:
        raise stream.refused(f"it holds more than {bounds.files:,} files")
    if sum(max(0, size) for _, size, _ in rows) > bounds.total_bytes:
        raise stream.refused(f"it unpacks to more than {bounds.total_bytes:,} bytes")
    files: dict[str, tuple[int, str]] = {}
    for name, size, sha256 in rows:
        if not _NAME.fullmatch(name) or name in {_MANIFEST, *files}:
            raise stream.refused(f"it holds a file named {name[:80]!r}, perhaps twice")
        if size < 0 or not _SHA256.fullmatch(sha256):
            raise stream.refused(f"its manifest says nonsense of {name}")
        files[name] = (size, sha256)
    return Manifest(tale, about, files)


def _header(name: str, size: int) -> bytes:
    """A file's header, the same for the same name and size: no times, no owners."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
