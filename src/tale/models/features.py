"""What a text shows, as numbers of buckets: hashed pieces of its words, and cues. Pure.

Pieces of words (character n-grams, as in fastText, arXiv 1607.04606) survive typos and inflection,
and need no word list of a language. Long texts are judged by their beginning and end, so that none
takes longer than another. Above: `assess`, and the training, which must see the same. Below:
`orders`, whose findings are cues.

Whoever changes what comes out of here raises `FEATURES` and trains anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final
from unicodedata import normalize
from zlib import crc32

from tale.models.orders import Order, is_code, names_file

__all__ = ["CUE_BUCKETS", "FEATURES", "GRAM_BUCKETS", "Shown", "matter", "request"]

FEATURES: Final = 1
"""The version of what is computed here; weights carry the one they were trained with."""

GRAM_BUCKETS: Final = 1 << 14
CUE_BUCKETS: Final = 1 << 11

# What is looked at, in characters: what is asked for stands at the beginning or the end, what it is
# about anywhere. More took longer and told no more.
_ASKED: Final = (220, 100)
_ABOUT: Final = (500, 200)

_WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_ASKING: Final = ("?", "\N{FULLWIDTH QUESTION MARK}", "\N{ARABIC QUESTION MARK}")
_URL: Final = re.compile(r"https?://|www\.")
_QUOTE: Final = re.compile(r"[\"'«»„“”「『]")
_PASTED: Final = re.compile(r"[:\uFF1A]\s*\S.{20}|\n\s*\S", re.DOTALL)
_FORMULA: Final = re.compile(r"[=^√∫∑≤≥]|[\d)][*/+-][\d(]|\b[a-z]\([a-z]\)")
_OPTION: Final = re.compile(r"^[A-E][.)] ?(.*)$", re.MULTILINE)
_CAPITAL: Final = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")
_STEPS: Final = (
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    12,
    16,
    20,
    25,
    30,
    40,
    50,
    65,
    80,
    100,
    130,
    160,
    250,
    400,
)
# Where words aren't parted by spaces, one or two characters are what a word is elsewhere.
_UNPARTED: Final = "\N{CJK RADICAL REPEAT}"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a text shows.

    Attributes:
        grams: Buckets of the pieces of its words, below `GRAM_BUCKETS`.
        cues: Buckets of what else was noticed, below `CUE_BUCKETS`, each once.
    """

    grams: tuple[int, ...]
    cues: tuple[int, ...]


def request(text: str, order: Order | None) -> Shown:
    """Show what a text asks for.

    Args:
        text: The request, stripped.
        order: What the rules found in it.
    """
    plain = _plain(text, _ASKED)
    words = _WORD.findall(plain)
    return Shown(_grams(words), _cues(_request_cues(text, plain, words, order)))


def matter(text: str) -> Shown:
    """Show what a text is about, for how hard it is."""
    words = _WORD.findall(_plain(text, _ABOUT))
    # Each once: what a text is about, it need not repeat.
    return Shown(
        tuple(sorted(set(_grams(words)))), _cues(_matter_cues(text[: _ABOUT[0] * 2], words))
    )


def _grams(words: list[str]) -> tuple[int, ...]:
    grams: list[int] = []
    for word in words:
        grams += pieces(word)
    for first, second in pairwise(words):
        grams.append(_bucket(f"{first} {second}", GRAM_BUCKETS))
    return tuple(grams)


@lru_cache(maxsize=1 << 13)
def pieces(word: str) -> tuple[int, ...]:
    """Give the buckets of a word and of its pieces."""
    if max(word) >= _UNPARTED:
        sizes, padded = (1, 2, 3), word
    else:
        sizes, padded = (3, 4), f"<{word}>"
    found = [padded]
    for size in sizes:
        found += [padded[at : at + size] for at in range(len(padded) - size + 1)]
    return tuple(_bucket(piece, GRAM_BUCKETS) for piece in found)


def _bucket(piece: str, buckets: int) -> int:
    return crc32(piece.encode("utf-8", "surrogatepass")) % buckets


def _cues(found: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted({_bucket(cue, CUE_BUCKETS) for cue in found}))


def _plain(text: str, bounds: tuple[int, int]) -> str:
    head, tail = bounds
    if len(text) > head + tail:
        text = f"{text[:head]} {text[-tail:]}"
    # Twice as long at most afterwards: some single characters stand for a whole phrase.
    return normalize("NFKC", text)[: 2 * (head + tail)].lower()


def _steps(name: str, value: int) -> Iterator[str]:
    """Give one cue for each step reached, so that a line through them may bend."""
    for step in _STEPS:
        if value < step:
            break
        yield f"{name}>={step}"


def _request_cues(text: str, plain: str, words: list[str], order: Order | None) -> Iterator[str]:
    yield "any"
    if order:
        yield f"order {order.sure}"
        yield f"order {order.verb}"
        yield f"makes {order.thing}"
        yield "makes something" if order.thing else "makes nothing"
    if not words:
        yield "no words"
    else:
        yield f"first {words[0]}"
        yield f"last {words[-1]}"
        yield f"first two {' '.join(words[:2])}"
        if len(words) == 1:
            yield f"only {words[0]}"
    yield from _steps("words", len(words))
    yield from _steps("characters", len(plain) // 8)
    if plain.rstrip(" \"')").endswith(_ASKING):
        yield "asks"
        yield "asks, and an order" if order else "asks, and no order"
    elif any(sign in plain for sign in _ASKING):
        yield "asks within"
    if is_code(text):
        yield "code"
    if names_file(plain):
        yield "file"
    for name, pattern in (
        ("url", _URL),
        ("quote", _QUOTE),
        ("pasted", _PASTED),
        ("number", _NUMBER),
    ):
        if pattern.search(plain):
            yield name


def _matter_cues(text: str, words: list[str]) -> Iterator[str]:
    options = _OPTION.findall(text)
    if options:
        text = text[: text.find("\nA")] if "\nA" in text else text
        yield "options"
        yield from _steps("option", sum(map(len, options)) // len(options))
        if all(_NUMBER.search(option) for option in options):
            yield "options are numbers"
    numbers = _NUMBER.findall(text)
    yield from _steps("words", len(words))
    yield from _steps("numbers", len(numbers))
    yield from _steps("different numbers", len(set(numbers)))
    yield from _steps("sentences", len(re.findall(r"[.!?](?:\s|$)", text)))
    yield from _steps("names", len(set(_CAPITAL.findall(text))))
    yield from _steps("formulas", len(_FORMULA.findall(text)))
    for sign in '%$/°:;("':
        if sign in text:
            yield f"has {sign}"
    if "/" in text and re.search(r"\d/\d", text):
        yield "fraction"
    if re.search(r"\d\.\d", text):
        yield "decimal"
    yield f"ends {words[-1] if words else ''}"
    asked = text.rfind(".", 0, len(text) - 2)
    for word in _WORD.findall(text[asked + 1 :].lower())[:4]:
        yield f"asked {word}"
