"""Text in pieces of words, as the model that the vectors come from was taught to read it.

WordPiece, uncased (Devlin et al. 2019): words and punctuation apart, lower case, without accents,
each word in the longest pieces that the vocabulary has. Pure. Above: `meaning`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

__all__ = ["pieces"]

_LONGEST_WORD: Final = 100
"""Characters; what is longer, such as base64, is no word and is left out."""
_WORDS: Final = re.compile(r"\w+|[^\w\s]")


def pieces(text: str, vocabulary: Mapping[str, int], limit: int) -> list[int]:
    """Give the numbers of a text's first pieces; words that can't be put together are left out."""
    return list(islice(_pieces(text, vocabulary), limit))


def _pieces(text: str, vocabulary: Mapping[str, int]) -> Iterator[int]:
    decomposed = unicodedata.normalize("NFD", text.lower())
    plain = "".join(mark for mark in decomposed if unicodedata.category(mark) != "Mn")
    for found in _WORDS.finditer(plain):
        for word in found[0].split("_"):
            if word in vocabulary:
                yield vocabulary[word]
            elif len(word) <= _LONGEST_WORD:
                yield from _split(word, vocabulary)


def _split(word: str, vocabulary: Mapping[str, int]) -> list[int]:
    found: list[int] = []
    start = 0
    while start < len(word):
        mark = "##" if start else ""
        for end in range(len(word), start, -1):
            if (number := vocabulary.get(mark + word[start:end])) is not None:
                found.append(number)
                start = end
                break
        else:
            return []
    return found
