"""The header of a GGUF file: what the memory plan and the launcher must know before loading it.

Reads metadata and tensor descriptions, never weights; every read is checked against the file's
size, so that a damaged file is named as such here instead of aborting llama.cpp. It knows nothing
about where files come from (`fetch`) nor what they cost (`memory_plan`).

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from tale.errors import ModelFileDamaged

__all__ = ["GgufInfo", "ModelShape", "read_gguf"]


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The dimensions that decide how much memory a model takes beyond its file.

    Attributes:
        layers: Transformer blocks.
        kv_heads: Key/value heads of a layer; the largest where layers differ.
        key_length: Elements of one head's key.
        value_length: Elements of one head's value.
        window: Tokens of context it was trained for; 0 if the file doesn't say.
        vocabulary: Tokens the tokenizer knows; 0 without one.
        repacked: Bytes of weights that llama.cpp copies into a layout of its own for the CPU.
    """

    layers: int
    kv_heads: int
    key_length: int
    value_length: int
    window: int
    vocabulary: int
    repacked: int


@dataclass(frozen=True, slots=True)
class GgufInfo:
    """What a file's header says.

    Attributes:
        architecture: llama.cpp's name for the kind of model (`qwen2`, `llama`, …).
        embedding_length: Elements of a token's vector.
        head_count: Attention heads of a layer.
        has_chat_template: Whether the file brings its own; else llama.cpp guesses one.
        file_size: Bytes of the file, which is what the mapped weights take.
    """

    architecture: str
    shape: ModelShape
    embedding_length: int
    head_count: int
    has_chat_template: bool
    file_size: int


_CHUNK: Final = 1 << 20
_MAX_ENTRIES: Final = 1 << 20  # of metadata or tensors; real files have hundreds
_MAX_KEPT: Final = 1 << 16  # bytes of a string, or items of an array, that are read, not skipped
_MAX_NESTING: Final = 4
_STRING, _ARRAY = 8, 9
_SCALARS: Final[Mapping[int, struct.Struct]] = {
    number: struct.Struct("<" + letter)
    for number, letter in {
        0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
    }.items()
}  # fmt: skip
_U32, _U64 = _SCALARS[4], _SCALARS[10]

# ggml type → (elements in a block, bytes of a block); types not listed are bounded by their offset.
_BLOCKS: Final[Mapping[int, tuple[int, int]]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 36), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4),
    27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip

# Q4_0, Q2_K, Q4_K and IQ4_NL have interleaved layouts for AVX2 and NEON (ggml-cpu/repack.cpp).
_REPACKED_TYPES: Final = frozenset({2, 10, 12, 20})

_Scalar = int | float | bool | str
_Value = _Scalar | tuple[_Scalar, ...] | int


def read_gguf(path: Path) -> GgufInfo:
    """Read and check a model file's header.

    Raises:
        ModelFileDamaged: Not GGUF, cut off, or its header contradicts itself; says what and where.
        OSError: The file can't be opened or read.
    """
    with path.open("rb") as file:
        return _Reader(path, file).read()


class _Reader:
    """A cursor over the file that refuses to run past its end."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._size = file.seek(0, 2)
        file.seek(0)
        self._buffer = b""
        self._at = 0  # in the buffer
        self._base = 0  # of the buffer in the file

    def read(self) -> GgufInfo:
        if (magic := self._take(4, "the magic number")) != b"GGUF":
            self._damaged(f"begins with {magic!r} instead of b'GGUF'")
        version = self._number(_U32, "the version")
        if version not in (2, 3):
            self._damaged(f"has GGUF version {version}; 2 and 3 can be read")
        tensors = self._count("tensors", 24)
        entries = self._count("metadata entries", 13)
        metadata: dict[str, _Value] = {}
        for _ in range(entries):
            key = self._string("a metadata key")
            metadata[key] = self._value(self._number(_U32, f"the type of {key!r}"), key, 0)
        repacked = self._tensors(tensors, metadata)
        return self._info(metadata, repacked)

    def _info(self, metadata: Mapping[str, _Value], repacked: int) -> GgufInfo:
        architecture = metadata.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            self._damaged("does not say its architecture")

        def whole(key: str, default: int | None = None) -> int:
            value = metadata.get(f"{architecture}.{key}", default)
            if isinstance(value, tuple):
                value = max((item for item in value if isinstance(item, int)), default=default)
            if not isinstance(value, int) or not 0 <= value < 1 << 32:
                self._damaged(f"has no usable {architecture}.{key} (found {value!r})")
            return value

        heads = whole("attention.head_count")
        embedding = whole("embedding_length")
        head = embedding // heads if heads else 0
        vocabulary = metadata.get("tokenizer.ggml.tokens", 0)
        return GgufInfo(
            architecture=architecture,
            shape=ModelShape(
                layers=whole("block_count"),
                kv_heads=whole("attention.head_count_kv", heads),
                key_length=whole("attention.key_length", head),
                value_length=whole("attention.value_length", head),
                window=whole("context_length", 0),
                vocabulary=vocabulary if isinstance(vocabulary, int) else 0,
                repacked=repacked,
            ),
            embedding_length=embedding,
            head_count=heads,
            has_chat_template="tokenizer.chat_template" in metadata,
            file_size=self._size,
        )

    def _tensors(self, count: int, metadata: Mapping[str, _Value]) -> int:
        """Walk the tensor descriptions, check that all weights are there; give repacked bytes."""
        repacked = end = 0
        for _ in range(count):
            name = self._string("a tensor's name")
            rank = self._number(_U32, f"the rank of {name!r}")
            if rank > 8:
                self._damaged(f"gives tensor {name!r} {rank} dimensions")
            size = prod(self._number(_U64, f"a dimension of {name!r}") for _ in range(rank))
            kind = self._number(_U32, f"the type of {name!r}")
            offset = self._number(_U64, f"the offset of {name!r}")
            elements, stored = _BLOCKS.get(kind, (1, 0))
            taken = size // elements * stored
            end = max(end, offset + taken)
            # Token embeddings are looked up, not multiplied with, so they stay as they are.
            if rank == 2 and kind in _REPACKED_TYPES and name != "token_embd.weight":
                repacked += taken
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= _CHUNK:
            self._damaged(f"has an alignment of {alignment!r}")
        start = -(-self._position // alignment) * alignment
        if start + end > self._size:
            self._damaged(f"is cut off: its weights need {start + end:,} bytes")
        return repacked

    def _value(self, kind: int, key: str, nesting: int) -> _Value:
        """Read a value; of an array too large to keep, give the number of its items."""
        if scalar := _SCALARS.get(kind):
            (value,) = scalar.unpack(self._take(scalar.size, key))
            return value
        if kind == _STRING:
            return self._string(key)
        if kind != _ARRAY or nesting == _MAX_NESTING:
            self._damaged(f"gives {key!r} the unknown type {kind}")
        inner = self._number(_U32, f"the item type of {key!r}")
        if scalar := _SCALARS.get(inner):
            count = self._count(f"items in {key!r}", scalar.size, limit=self._size)
            if count > _MAX_KEPT:
                self._skip(count * scalar.size)
                return count
            block = self._take(count * scalar.size, key)
            return tuple(item for (item,) in scalar.iter_unpack(block))
        if inner == _STRING:
            count = self._count(f"items in {key!r}", 8, limit=self._size)
            self._skip_strings(count, key)
            return count
        count = self._count(f"items in {key!r}", 12)
        for _ in range(count):
            self._value(inner, key, nesting + 1)
        return count

    def _skip_strings(self, count: int, key: str) -> None:
        """Pass over a vocabulary: hundreds of thousands of strings, so the loop is tight."""
        unpack = _U64.unpack_from
        for _ in range(count):
            if len(self._buffer) - self._at < 8:
                self._fill(8, key)
            (length,) = unpack(self._buffer, self._at)
            self._at += 8
            if length > len(self._buffer) - self._at:
                self._check(length, key)
                self._skip(length)
            else:
                self._at += length

    def _string(self, what: str) -> str:
        length = self._number(_U64, what)
        self._check(length, what)
        if length > _MAX_KEPT:
            self._skip(length)
            return ""
        return self._take(length, what).decode("utf-8", "replace")

    def _count(self, what: str, least: int, limit: int = _MAX_ENTRIES) -> int:
        """Read how many things follow, each of at least so many bytes."""
        count = self._number(_U64, f"the number of {what}")
        if count > limit or count * least > self._size - self._position:
            self._damaged(f"claims {count:,} {what}")
        return count

    def _number(self, scalar: struct.Struct, what: str) -> int:
        (number,) = scalar.unpack(self._take(scalar.size, what))
        return number

    def _take(self, size: int, what: str) -> bytes:
        if len(self._buffer) - self._at < size:
            self._fill(size, what)
        self._at += size
        return self._buffer[self._at - size : self._at]

    def _fill(self, size: int, what: str) -> None:
        self._check(size, what)
        rest = self._buffer[self._at :]
        self._base += self._at
        self._buffer = rest + self._file.read(max(_CHUNK, size - len(rest)))
        self._at = 0
        if len(self._buffer) < size:  # it shrank while it was read
            self._damaged(f"is cut off at {what}")

    def _skip(self, size: int) -> None:
        target = self._position + size
        if size <= len(self._buffer) - self._at:
            self._at += size
            return
        self._file.seek(target)
        self._buffer, self._at, self._base = b"", 0, target

    def _check(self, size: int, what: str) -> None:
        if size > self._size - self._position:
            self._damaged(f"is cut off at {what}")

    @property
    def _position(self) -> int:
        return self._base + self._at

    def _damaged(self, what: str) -> NoReturn:
        raise ModelFileDamaged(
            f"{self._path} {what} (at byte {self._position:,} of {self._size:,}).",
            hint="Fetch it again: `tale models pull`.",
        )
