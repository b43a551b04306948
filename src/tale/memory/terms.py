"""What a question asks for: the words that carry it, without those that carry nothing.

Pure. The database's own tokenizer takes words to their stems; here only what is asked is chosen.
What comes of it is letters and digits in quotes, so that nothing in a question is ever syntax.
Above: `index`, `relevance`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

__all__ = ["asked", "carries", "match_any", "match_one", "words"]

_MOST: Final = 24
"""Words that are looked up; a pasted page is asked about by its beginning."""
_READ: Final = 4000
"""Characters of a question in which they are looked for."""
_WORD: Final = re.compile(r"[^\W_]+")

_EMPTY: Final = frozenset(
    """
    a about after again all also am an and any are as at be because been before being both but by
    can could d did do does doing don during each few for from further get got had has have having
    he her here hers him his how i if in into is isn it its just kind ll like m many me might more
    most much my no nor not now of off on once only or other our out over own please re s same
    shall she should so some such t than that the their them then there these they this those
    through to too under until up us ve very was we were what when where which while who whom
    whose why will with would you your yours assistant user tale tell told say said remember
    """.split()  # noqa: SIM905 - easier to read than 150 quotes
)


def words(text: str) -> list[str]:
    """Give the words of a text as the index has them before stemming: lower case, no accents."""
    decomposed = unicodedata.normalize("NFD", text.lower())
    plain = "".join(mark for mark in decomposed if unicodedata.category(mark) != "Mn")
    return _WORD.findall(plain)


def carries(word: str) -> bool:
    """Tell whether a word says what a text is about, as "harbour" does and "about" doesn't."""
    return word not in _EMPTY


def asked(question: str) -> list[str]:
    """Give the words that a question is about, each once; all of them where none carries anything.

    "What did I say?" is about nothing, but an answer to it can still only be found by its words.
    """
    every = list(dict.fromkeys(words(question[:_READ])))
    return [word for word in every if carries(word)][:_MOST] or every[:_MOST]


def match_one(word: str) -> str:
    """Write a word as SQLite's full-text search takes it."""
    return f'"{word}"'


def match_any(chosen: Sequence[str]) -> str:
    """Write a search for any of some words."""
    return " OR ".join(map(match_one, chosen))
