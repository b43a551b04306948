"""`python -m training.meaning FOLDER`: write the vectors by which memories are compared.

FOLDER has `model.safetensors` and `vocab.txt` of sentence-transformers/all-MiniLM-L6-v2, as its
publisher made them. Each piece of a word is given to the model alone, and the mean of what it says
of the three tokens is the piece's vector, of which the first principal components are kept, as
model2vec does. Frequent pieces count less: by a / (a + p) (Arora et al. 2017), where p is the
piece's share of all text, which Zipf's law gives from its place in the vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tale.memory.meaning import VECTORS_FILE, pack

_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_LAYERS = 6
_HEADS = 12
_EPSILON = 1e-12
_BEGIN, _END = 101, 102
_AT_ONCE = 512
# 256 find no more once they are fused with the words.
_DIMENSIONS = 128
_FREQUENT = 1e-3
# Where whole words begin in the vocabulary, the most frequent first; before it are single
# characters, each of which counts as the 50th word.
_FIRST_WORD = 1996
_CHARACTER_RANK = 50
_PIECES = 30_522
# The rest, some thousands, is other scripts and placeholders.
_KEPT = re.compile(r"(?:##)?[\x21-\x7e]+")

Floats = NDArray[np.float32]


class _Model:
    """BERT's forward pass, for the short inputs that are needed here."""

    def __init__(self, file: Path) -> None:
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != _SHA256:
            raise SystemExit(f"{file} is not what its publisher made.")
        (length,) = struct.unpack_from("<Q", content)
        body = content[8 + length :]
        self._tensors: dict[str, Floats] = {}
        for name, about in json.loads(content[8 : 8 + length]).items():
            if name == "__metadata__" or about["dtype"] != "F32":
                continue
            begin, end = about["data_offsets"]
            values = np.frombuffer(body[begin:end], dtype="<f4")
            self._tensors[name] = values.reshape(about["shape"])

    def means(self, numbers: list[int]) -> Floats:
        """Give the mean of what it says of each piece alone and the two tokens around it."""
        ids = np.array([[_BEGIN, number, _END] for number in numbers])
        name = "embeddings"
        held = self._tensors[f"{name}.word_embeddings.weight"][ids]
        held = held + self._tensors[f"{name}.position_embeddings.weight"][: ids.shape[1]]
        held = held + self._tensors[f"{name}.token_type_embeddings.weight"][0]
        held = self._normal(held, f"{name}.LayerNorm")
        for layer in range(_LAYERS):
            held = self._layer(held, f"encoder.layer.{layer}")
        return held.mean(axis=1)

    def _layer(self, held: Floats, name: str) -> Floats:
        many, length, width = held.shape
        query, key, value = (
            self._linear(held, f"{name}.attention.self.{part}")
            .reshape(many, length, _HEADS, width // _HEADS)
            .transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(width // _HEADS)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        seen = (shares @ value).transpose(0, 2, 1, 3).reshape(many, length, width)
        told = self._linear(seen.astype(np.float32), f"{name}.attention.output.dense")
        held = self._normal(held + told, f"{name}.attention.output.LayerNorm")
        inner = self._linear(held, f"{name}.intermediate.dense")
        told = self._linear(_gelu(inner), f"{name}.output.dense")
        return self._normal(held + told, f"{name}.output.LayerNorm")

    def _linear(self, held: Floats, name: str) -> Floats:
        # As one product: numpy would multiply each text alone.
        flat = held.reshape(-1, held.shape[-1]) @ self._tensors[f"{name}.weight"].T
        return flat.reshape(*held.shape[:-1], -1) + self._tensors[f"{name}.bias"]

    def _normal(self, held: Floats, name: str) -> Floats:
        centred = held - held.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + _EPSILON)
        return centred / spread * self._tensors[f"{name}.weight"] + self._tensors[f"{name}.bias"]


def _gelu(values: Floats) -> Floats:
    # The error function by Abramowitz and Stegun 7.1.26; off by 1.5e-7 at most.
    scaled = np.abs(values) / np.sqrt(2.0)
    step = 1 / (1 + 0.3275911 * scaled)
    series = step * (
        0.254829592
        + step * (-0.284496736 + step * (1.421413741 + step * (-1.453152027 + step * 1.061405429)))
    )
    error = np.sign(values) * (1 - series * np.exp(-(scaled**2)))
    return (values * (1 + error) / 2).astype(np.float32)


def main(folder: Path) -> None:
    """Write the file."""
    names = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    kept = [
        at
        for at, name in enumerate(names)
        if _KEPT.fullmatch(name) and not re.fullmatch(r"\[.{2,}\]", name)
    ]
    model = _Model(folder / "model.safetensors")
    blocks = [
        model.means(kept[begin : begin + _AT_ONCE]) for begin in range(0, len(kept), _AT_ONCE)
    ]
    content = pack([names[at] for at in kept], _cut(np.concatenate(blocks), kept).tolist())
    VECTORS_FILE.write_bytes(content)
    print(f"{VECTORS_FILE}: {len(kept):,} pieces, {len(content):,} bytes")


def _cut(means: Floats, kept: list[int]) -> NDArray[np.float64]:
    vectors = means.astype(np.float64)
    vectors -= vectors.mean(axis=0)
    components = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1][:, :_DIMENSIONS]
    ranks = np.array(kept) - _FIRST_WORD + 1
    # The first 30,522 numbers of the harmonic series sum to about ln 30,522.
    shares = 1 / (np.where(ranks > 0, ranks, _CHARACTER_RANK) * np.log(_PIECES))
    return vectors @ components * (_FREQUENT / (_FREQUENT + shares))[:, None]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
