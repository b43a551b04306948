"""The GGUF header: real fields, and every kind of damage named as such."""

from __future__ import annotations

import struct
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.errors import ModelFileDamaged
from tale.models.gguf import GgufInfo, ModelShape, read_gguf

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10
Q4_K, F32_TENSOR = 12, 0


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _entry(key: str, kind: int, value: bytes) -> bytes:
    return _string(key) + struct.pack("<I", kind) + value


def _u32(key: str, value: int) -> bytes:
    return _entry(key, U32, struct.pack("<I", value))


def _strings(*texts: str) -> bytes:
    return struct.pack("<IQ", STRING, len(texts)) + b"".join(map(_string, texts))


def _tensor(name: str, dimensions: tuple[int, ...], kind: int, offset: int) -> bytes:
    shape = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return _string(name) + shape + struct.pack("<IQ", kind, offset)


_ENTRIES = (
    _entry("general.architecture", STRING, _string("llama")),
    _u32("llama.block_count", 30),
    _u32("llama.context_length", 8192),
    _u32("llama.embedding_length", 576),
    _u32("llama.attention.head_count", 9),
    _u32("llama.attention.head_count_kv", 3),
    _entry("tokenizer.ggml.tokens", ARRAY, _strings("<s>", "</s>", "a", "é")),
    _entry("tokenizer.ggml.scores", ARRAY, struct.pack("<IQ4f", F32, 4, 0, 1, 2, 3)),
    _entry("tokenizer.chat_template", STRING, _string("{{ messages }}")),
)
_TENSORS = (
    _tensor("token_embd.weight", (256, 4), Q4_K, 0),
    _tensor("blk.0.ffn_up.weight", (256, 2), Q4_K, 576),
    _tensor("blk.0.norm.weight", (8,), F32_TENSOR, 864),
)


def _file(
    entries: tuple[bytes, ...] = _ENTRIES,
    tensors: tuple[bytes, ...] = _TENSORS,
    *,
    version: int = 3,
    weights: int = 896,
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries))
    head += b"".join(entries) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(weights)


def _read(data: bytes) -> GgufInfo:
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(data)
        file.flush()
        return read_gguf(Path(file.name))


def _without(key: str) -> tuple[bytes, ...]:
    return tuple(entry for entry in _ENTRIES if not entry[8:].startswith(key.encode()))


def test_a_header_gives_dimensions_tokenizer_template_and_size() -> None:
    data = _file()
    assert _read(data) == GgufInfo(
        architecture="llama",
        shape=ModelShape(
            layers=30, kv_heads=3, key_length=64, value_length=64, window=8192, vocabulary=4,
            repacked=288,
        ),
        embedding_length=576,
        head_count=9,
        has_chat_template=True,
        file_size=len(data),
    )  # fmt: skip


def test_lengths_that_the_file_gives_win_over_those_that_follow() -> None:
    extra = (_u32("llama.attention.key_length", 128), _u32("llama.attention.value_length", 96))
    shape = _read(_file(_ENTRIES + extra)).shape
    assert (shape.key_length, shape.value_length) == (128, 96)


def test_without_key_value_heads_every_head_has_its_own() -> None:
    assert _read(_file(_without("llama.attention.head_count_kv"))).shape.kv_heads == 9


def test_where_layers_differ_the_largest_counts() -> None:
    each = _entry("llama.attention.head_count_kv", ARRAY, struct.pack("<IQ3i", I32, 3, 2, 5, 4))
    entries = (*_without("llama.attention.head_count_kv"), each)
    assert _read(_file(entries)).shape.kv_heads == 5


def test_a_file_without_tokenizer_or_template_says_so() -> None:
    info = _read(_file(_without("tokenizer")))
    assert info.shape.vocabulary == 0
    assert not info.has_chat_template


def test_large_vocabularies_long_strings_and_nested_arrays_are_passed_over() -> None:
    tokens = tuple(f"token{number}" * 3 for number in range(90_000))
    nested = struct.pack("<IQ", ARRAY, 2) + 2 * struct.pack("<IQ2H", 2, 2, 1, 1)
    entries = (
        _entry("a.nested", ARRAY, nested),
        _entry("a.long", STRING, _string("x" * 3_000_000)),
        _entry("a.numbers", ARRAY, struct.pack("<IQ", U32, 500_000) + bytes(2_000_000)),
        _entry("a.huge", ARRAY, _strings("y" * 2_000_000, "z")),
        *_without("tokenizer.ggml.tokens"),
        _entry("tokenizer.ggml.tokens", ARRAY, _strings(*tokens)),
    )
    assert _read(_file(entries)).shape.vocabulary == 90_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut off at the magic number"),
        (b"PK\x03\x04" + bytes(100), "begins with b'PK"),
        (_file(version=1), "version 1"),
        (_file(version=99), "version 99"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1), "claims 1,152,921,504,606,846,976 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 50_000), "claims 50,000 metadata entries"),
        (_file(_without("general.architecture")), "does not say its architecture"),
        (_file(_without("llama.block_count")), r"no usable llama\.block_count"),
        (_file((*_ENTRIES, _entry("x", 77, b""))), "'x' the unknown type 77"),
        (_file((*_ENTRIES, _u32("general.alignment", 0))), "alignment of 0"),
        (_file((), (_tensor("t", (1,) * 9, 0, 0),)), "9 dimensions"),
        (_file(weights=800), "is cut off: its weights need"),
        (_file((*_ENTRIES, _entry("t", ARRAY, struct.pack("<IQ", STRING, 1 << 50)))), "claims"),
        (
            _file((*_ENTRIES, _entry("t", ARRAY, struct.pack("<IQQ", STRING, 1, 1 << 50)))),
            "cut off at t",
        ),
        (
            _file((*_ENTRIES, _entry("t", ARRAY, struct.pack("<IQ", ARRAY, 1) * 9))),
            "unknown type 9",
        ),
    ],
)
def test_damage_is_named_with_its_place(data: bytes, reason: str) -> None:
    with pytest.raises(ModelFileDamaged, match=rf"{reason}.* \(at byte [\d,]+ of [\d,]+\)"):
        _read(data)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_gguf(tmp_path / "gone.gguf")


@given(cut=st.integers(0, len(_file()) - 1))
def test_every_cut_is_named_as_damage(cut: int) -> None:
    with pytest.raises(ModelFileDamaged):
        _read(_file()[:cut])


@given(data=st.binary(max_size=400))
def test_random_bytes_raise_nothing_but_damage(data: bytes) -> None:
    with pytest.raises(ModelFileDamaged):
        _read(b"GGUF\x03\x00\x00\x00" + data)


@given(
    changes=st.lists(
        st.tuples(st.integers(4, len(_file()) - 900), st.integers(0, 255)), min_size=1, max_size=8
    )
)
def test_a_flipped_header_raises_nothing_but_damage(changes: list[tuple[int, int]]) -> None:
    data = bytearray(_file())
    for position, value in changes:
        data[position] = value
    with suppress(ModelFileDamaged):
        _read(bytes(data))
