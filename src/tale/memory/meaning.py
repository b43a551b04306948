"""What a text is about, as a direction: texts about the same thing point the same way.

The vectors are static: each piece of a word has one, and a text's is their weighted sum (Arora et
al. 2017); a turn costs a fraction of a millisecond and no model. They are all-MiniLM-L6-v2's
own answers to each piece alone, cut down to the first principal components (`training.meaning`,
which writes the file). A vector is one signed byte for each dimension; only its direction counts.
Pure but for reading the file. Above: `index`, `retrieval`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from operator import mul
from pathlib import Path
from typing import Final

from tale.errors import ModelFileDamaged
from tale.memory.word_pieces import pieces

__all__ = ["VECTORS_FILE", "Meaning", "closeness", "pack", "shipped", "unpack"]

VECTORS_FILE: Final = Path(__file__).with_name("meaning.vectors")

_MOST_PIECES: Final = 512
"""Of one text; what is longer is about what it begins with."""
_MOST_CHARACTERS: Final = 8 * _MOST_PIECES
_LARGEST: Final = 127
_TROUBLE: Final = "The vectors by which memories are compared are damaged. Install tale again."


@dataclass(frozen=True, slots=True)
class Meaning:
    """The vectors of the pieces.

    Attributes:
        dimensions: Length of a vector.
        vocabulary: The number of each piece.
        rows: The vectors of all pieces, one after the other, a signed byte each.
    """

    dimensions: int
    vocabulary: Mapping[str, int]
    rows: bytes

    def of(self, *texts: str) -> bytes | None:
        """Give the direction of some texts together; None where no word of theirs is known."""
        found = [
            number
            for text in texts
            for number in pieces(text[:_MOST_CHARACTERS], self.vocabulary, _MOST_PIECES)
        ]
        if not found:
            return None
        signed = memoryview(self.rows).cast("b")
        width = self.dimensions
        columns = zip(*(signed[at * width : (at + 1) * width] for at in found), strict=True)
        sums = [sum(column) for column in columns]
        largest = max(map(abs, sums))
        if not largest:
            return None
        return struct.pack(f"{width}b", *(round(each * _LARGEST / largest) for each in sums))


def closeness(one: bytes, other: bytes) -> float:
    """Give the cosine of two vectors."""
    first, second = memoryview(one).cast("b"), memoryview(other).cast("b")
    lengths = sqrt(sum(map(mul, first, first)) * sum(map(mul, second, second)))
    return sum(map(mul, first, second)) / lengths if lengths else 0.0


def pack(names: Sequence[str], rows: Sequence[Sequence[float]]) -> bytes:
    """Write vectors down, in 255 steps."""
    largest = max(abs(each) for row in rows for each in row)
    head = json.dumps({"dimensions": len(rows[0]), "pieces": list(names)}).encode()
    body = b"".join(
        struct.pack(f"{len(row)}b", *(round(each * _LARGEST / largest) for each in row))
        for row in rows
    )
    return struct.pack("<I", len(head)) + head + body


def unpack(content: bytes) -> Meaning:
    """Read vectors.

    Raises:
        ModelFileDamaged: They aren't vectors, or are cut off.
    """
    try:
        (length,) = struct.unpack_from("<I", content)
        about = json.loads(content[4 : 4 + length])
        dimensions = int(about["dimensions"])
        vocabulary = {str(name): at for at, name in enumerate(about["pieces"])}
    except (struct.error, ValueError, KeyError, TypeError) as damage:
        raise ModelFileDamaged(_TROUBLE) from damage
    rows = content[4 + length :]
    if len(rows) != dimensions * len(vocabulary):
        raise ModelFileDamaged(_TROUBLE)
    return Meaning(dimensions, vocabulary, rows)


@cache
def shipped() -> Meaning:
    """Give the vectors that ship with the package; read at the first call."""
    return unpack(VECTORS_FILE.read_bytes())
