"""What a text shows, as numbers of buckets: hashed pieces of its words, and cues. Pure.

Pieces of words (character n-grams, as in fastText, arXiv 1607.04606) survive typos and inflection,
and need no word list of a language. Long texts are judged by their beginning and end, so that none
takes longer than another. Above: `assess`, and the training, which must see the same. Below:
`orders`, whose findings are cues.

Whoever changes what comes out of here raises `FEATURES` and trains anew.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Final
from unicodedata import normalize
from zlib import crc32

from tale.models.orders import Order, is_code, names_file, without_politeness

__all__ = ["CUE_BUCKETS", "FEATURES", "GRAM_BUCKETS", "Shown", "matter", "request"]

FEATURES: Final = 4
"""The version of what is computed here; weights carry the one they were trained with."""

GRAM_BUCKETS: Final = 1 << 15
CUE_BUCKETS: Final = 1 << 14

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
_TOKEN: Final = re.compile(r"\w+")
_SENTENCE: Final = re.compile(r"[.!?](?:\s|$)")
_BETWEEN: Final = re.compile(r"\s+(?=[.!?])")
"""What parts two sentences, in a text that is read backwards."""
_FRACTION: Final = re.compile(r"\d/\d")
_SIGNS: Final = "%$/°:;(\"|'=^<>[{\\_-"
# What ties the numbers of a problem to each other.
_RELATIONS: Final = frozenset(
    re.findall(
        r"\w+",
        "each per every twice half remaining left total more less than times percent third "
        "quarter double triple after before if same average rest first second another only "
        "except not both together year week day hour minute old cost price many much long far "
        "fast ",
    )
)
_PHRASES: Final = ("NOT", "EXCEPT", "hich of the following", "tatement 1", "best", "____")
_OPTION_PHRASES: Final = (
    *("all of the above", "none of", "both", "not ", "true", "false", "i and ii", "never"),
    *("always", "only", "increase", "decrease", "no,", "yes,", "because"),
)
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
        grams: Buckets of its words and their pieces or pairs, below `GRAM_BUCKETS`.
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
    """Show what a text is about, for how hard it is.

    Words, pairs of them, and cues, each once, in one table. Pieces of words told less here, and to
    weigh words by how rare they are gained nothing.
    """
    head, tail = _ABOUT
    if len(text) > head + tail:
        text = f"{text[:head]} {text[-tail:]}"
    words = _TOKEN.findall(_plain(text, _ABOUT))
    shown = {*words, *map(" ".join, pairwise(words))}
    buckets = {crc32(each.encode("utf-8", "surrogatepass")) % GRAM_BUCKETS for each in shown}
    buckets.update(map(_matter_cue, _matter_cues(text)))
    return Shown(tuple(sorted(buckets)), ())


def _grams(words: list[str]) -> tuple[int, ...]:
    grams: list[int] = []
    for word in words:
        grams += pieces(word)
    for first, second in pairwise(words):
        grams.append(_bucket(f"{first} {second}", GRAM_BUCKETS))
    # "need … to", "make … faster": what is said of a thing stands on either side of it.
    for first, second in zip(words, words[2:], strict=False):
        grams.append(_bucket(f"{first} _ {second}", GRAM_BUCKETS))
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


# The same few hundred cues stand in most texts.
@lru_cache(maxsize=1 << 12)
def _request_cue(cue: str) -> int:
    return _bucket(cue, CUE_BUCKETS)


@lru_cache(maxsize=1 << 12)
def _matter_cue(cue: str) -> int:
    return _bucket(f"# {cue}", GRAM_BUCKETS)


def _cues(found: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted(set(map(_request_cue, found))))


def _plain(text: str, bounds: tuple[int, int]) -> str:
    head, tail = bounds
    if len(text) > head + tail:
        text = f"{text[:head]} {text[-tail:]}"
    # Twice as long at most afterwards: some single characters stand for a whole phrase.
    return normalize("NFKC", text)[: 2 * (head + tail)].lower()


def _steps(name: str, value: int) -> tuple[str, ...]:
    """Give one cue for each step reached, so that a line through them may bend."""
    return _first_steps(name, bisect_right(_STEPS, value))


@cache
def _first_steps(name: str, many: int) -> tuple[str, ...]:
    return tuple(f"{name}>={step}" for step in _STEPS[:many])


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
        # "Hello, build …" begins as "build …" does.
        led = _WORD.findall(without_politeness(plain))[:2]
        yield f"begins {' '.join(led[:1])}"
        yield f"begins {' '.join(led)}"
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


def _matter_cues(text: str) -> Iterator[str]:
    text = text.removesuffix("\nAnswer:")
    options = _OPTION.findall(text)
    asked = text[: text.find("\nA")] if options and "\nA" in text else text
    lower = asked.lower()
    words = _WORD.findall(lower)
    numbers = _NUMBER.findall(asked)
    yield from _steps("words", len(words))
    yield from _steps("different words", len(set(words)))
    yield from _steps("characters", len(asked) // 10)
    yield from _steps("length of words", 10 * sum(map(len, words)) // (len(words) or 1) - 30)
    yield from _steps("longest word", max(map(len, words), default=0))
    yield from _steps("sentences", len(_SENTENCE.findall(asked)))
    yield from _steps("commas", asked.count(","))
    yield from _steps("numbers", len(numbers))
    yield from _steps("different numbers", len(set(numbers)))
    yield from _steps("digits", max(map(len, numbers), default=0))
    related = _RELATIONS.intersection(words)
    yield from (f"relates {word}" for word in related)
    yield from _steps("relations", sum(word in related for word in words))
    yield from (f"has {sign}" for sign in _SIGNS if sign in asked)
    if "/" in asked and _FRACTION.search(asked):
        yield "fraction"
    if any("." in number for number in numbers):
        yield "decimal"
    yield from _edges("starts", lower.split())
    last = _last_sentence(lower.strip()).split()
    yield from _steps("words asked", len(last))
    yield from _edges("asks", last)
    yield f"ends {' '.join(last[-1:])}"
    yield f"ends {' '.join(last[-2:])}"
    yield from (f"says {phrase}" for phrase in _PHRASES if phrase in asked)
    if options:
        yield from _option_cues(options, set(words))


def _last_sentence(text: str) -> str:
    parted = _BETWEEN.search(text[::-1])
    return text[len(text) - parted.start() :] if parted else text


def _edges(name: str, words: list[str]) -> Iterator[str]:
    return (f"{name} {' '.join(words[:count])}" for count in (1, 2, 3))


def _option_cues(options: list[str], asked: set[str]) -> Iterator[str]:
    lengths = [len(option) + 1 for option in options]
    words = [set(_TOKEN.findall(option.lower())) for option in options]
    every = set[str]().union(*words)
    shared = words[0].intersection(*words[1:])
    yield "options"
    yield from _steps("option", sum(lengths) // len(options) - 1)
    yield from _steps("shortest option", min(lengths) - 1)
    yield from _steps("option words", sum(map(len, words)) // len(options))
    yield from _steps("options differ", 4 * max(lengths) // min(lengths))
    yield from _steps("options share", 20 * len(shared) // (len(every) or 1))
    yield from _steps("options repeat", 20 * len(every & asked) // (len(every) or 1))
    yield from _steps("options with numbers", sum(bool(_NUMBER.search(each)) for each in options))
    yield from _steps("formulas", sum(bool(_FORMULA.search(each)) for each in options))
    said = " ".join(options).lower()
    yield from (f"options say {phrase}" for phrase in _OPTION_PHRASES if phrase in said)
