"""The weights that ship with the package: one file, read once, added up without numpy.

A bucket has one signed byte for each head. They are kept side by side in one integer, three bytes
of room each, so that Python adds the weights of all heads at once: a decision takes a few hundred
additions, and the process that makes it loads no library. Above: `assess`, and the training, which
writes the file.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Final, cast

from tale.errors import ModelFileDamaged
from tale.models.features import CUE_BUCKETS, FEATURES, GRAM_BUCKETS, Shown

__all__ = ["CUE_VALUE", "WEIGHTS_FILE", "Heads", "pack", "shipped", "unpack"]

WEIGHTS_FILE: Final = Path(__file__).with_name("assess.weights")

CUE_VALUE: Final = 0.3
"""What a cue counts, where the pieces of words together have the length 1."""

_ROOM: Final = 24
_MASK: Final = (1 << _ROOM) - 1
# Bytes are stored unsigned: a lane that went below zero would borrow from its neighbour.
_ZERO: Final = 128
_ROWS: Final = GRAM_BUCKETS + CUE_BUCKETS


@dataclass(frozen=True, slots=True)
class Heads:
    """Linear heads over the same features.

    Attributes:
        names: What each says.
        scales: What one step of each head's bytes is worth.
        constants: What each says of a text that shows nothing.
        rows: The weights of each bucket, side by side; cues after grams.
    """

    names: tuple[str, ...]
    scales: tuple[float, ...]
    constants: tuple[float, ...]
    rows: tuple[int, ...]

    def judge(self, shown: Shown) -> dict[str, float]:
        """Give what each head says: log odds."""
        row = self.rows.__getitem__
        grams = sum(map(row, shown.grams))
        cues = sum(map(row, map(GRAM_BUCKETS.__add__, shown.cues)))
        many = len(shown.grams)
        return {
            name: constant
            + scale
            * (
                _lane(grams, at, many) / sqrt(many or 1)
                + _lane(cues, at, len(shown.cues)) * CUE_VALUE
            )
            for at, (name, scale, constant) in enumerate(
                zip(self.names, self.scales, self.constants, strict=True)
            )
        }

    def weigh(self, name: str, grams: Sequence[int]) -> float:
        """Give what some pieces add to what one head says."""
        at = self.names.index(name)
        found = _lane(sum(map(self.rows.__getitem__, grams)), at, len(grams))
        return found * self.scales[at]


def _lane(total: int, at: int, count: int) -> int:
    return (total >> at * _ROOM & _MASK) - _ZERO * count


def pack(tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[float]]]]) -> bytes:
    """Write weights down, each head's in 255 steps.

    Args:
        tables: By name: the names of the heads, and each head's weights, the constant last.
    """
    about: dict[str, object] = {}
    body = b""
    for table, (names, heads) in tables.items():
        steps = [max(map(abs, head[:-1])) / 127 or 1.0 for head in heads]
        lanes = bytearray(_ROWS * len(names))
        for at, (head, step) in enumerate(zip(heads, steps, strict=True)):
            lanes[at :: len(names)] = bytes(round(w / step) + _ZERO for w in head[:-1])
        about[table] = {
            "names": list(names),
            "scales": steps,
            "constants": [head[-1] for head in heads],
        }
        body += bytes(lanes)
    head = json.dumps({"features": FEATURES, "rows": _ROWS, "tables": about}).encode()
    return struct.pack("<I", len(head)) + head + body


def unpack(content: bytes) -> dict[str, Heads]:
    """Read weights.

    Raises:
        ModelFileDamaged: They aren't weights, or were trained for other features than these.
    """
    try:
        (length,) = struct.unpack_from("<I", content)
        about = json.loads(content[4 : 4 + length])
        version = (about["features"], about["rows"])
        tables = cast("dict[str, dict[str, list[float]]]", about["tables"])
        widths = {name: len(table["scales"]) for name, table in tables.items()}
    except (struct.error, ValueError, KeyError, TypeError) as damage:
        raise ModelFileDamaged(_TROUBLE.format("can't be read")) from damage
    if version != (FEATURES, _ROWS):
        what = f"were trained for features {version}, and these are {(FEATURES, _ROWS)}"
        raise ModelFileDamaged(_TROUBLE.format(what))
    if len(content) != 4 + length + _ROWS * sum(widths.values()):
        raise ModelFileDamaged(_TROUBLE.format("are cut off"))
    found: dict[str, Heads] = {}
    at = 4 + length
    for name, table in tables.items():
        end = at + _ROWS * widths[name]
        found[name] = Heads(
            tuple(map(str, table["names"])),
            tuple(table["scales"]),
            tuple(table["constants"]),
            _side_by_side(content[at:end], widths[name]),
        )
        at = end
    return found


_TROUBLE: Final = (
    "The weights by which requests are judged {}. Install tale again, or, if you work on it, run "
    "python -m training.assess."
)


def _side_by_side(lanes: bytes, width: int) -> tuple[int, ...]:
    wide = bytearray(3 * len(lanes))
    wide[::3] = lanes
    step = 3 * width
    return tuple(int.from_bytes(wide[at : at + step], "little") for at in range(0, len(wide), step))


@cache
def shipped() -> dict[str, Heads]:
    """Give the weights that ship with the package; read at the first call."""
    return unpack(WEIGHTS_FILE.read_bytes())
