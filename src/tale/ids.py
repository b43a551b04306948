"""Short ids for people: time-ordered, so that they sort by age, and easy to read out.

An id is a prefix and eight characters of Crockford's base 32 in lower case (no i, l, o, u): 30 bits
of seconds since 2025 and a 10-bit counter, as in `t-1w3k9f00`. Each id is greater than the last one
stored, also when many are made within a second or the clock steps back; so it is the caller's
transaction, not chance, that keeps them unique. Below everything, above nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

__all__ = ["next_id"]

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH: Final = datetime(2025, 1, 1, tzinfo=UTC)
_LENGTH: Final = 8
_COUNTER_BITS: Final = 10


def next_id(prefix: str, now: datetime, last: str | None) -> str:
    """Make the id after `last`.

    Args:
        prefix: What the id names: `t-` a task, `s-` a session.
        now: The present time, with its zone.
        last: The greatest id of that prefix so far, if there is one.
    """
    value = max(0, int((now - _EPOCH).total_seconds())) << _COUNTER_BITS
    if last is not None:
        value = max(value, _number(last.removeprefix(prefix)) + 1)
    return prefix + _text(value)


def _number(text: str) -> int:
    value = 0
    for character in text:
        value = value << 5 | _ALPHABET.index(character)
    return value


def _text(value: int) -> str:
    digits = [_ALPHABET[value >> shift & 31] for shift in range(0, 5 * _LENGTH, 5)]
    return "".join(reversed(digits))
