"""What a question asks for: the words that carry it, without those that carry nothing.

Pure. The database's own tokenizer takes words to their stems; here only what is asked is chosen.
What comes of it is letters and digits in quotes, so that nothing in a question is ever syntax.
Above: `index`, `retrieval`. Below: `words`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tale.memory.words import EMPTY, pieces

__all__ = ["asked", "match_any", "match_one"]

_MOST: Final = 24
"""Words that are looked up; a pasted page is asked about by its beginning."""
_READ: Final = 4000
"""Characters of a question in which they are looked for."""


def asked(question: str) -> list[str]:
    """Give the words that a question is about, each once; all of them where none carries anything.

    "What did I say?" is about nothing, but an answer to it can still only be found by its words.
    """
    every = list(dict.fromkeys(pieces(question[:_READ])))
    return [word for word in every if word not in EMPTY][:_MOST] or every[:_MOST]


def match_one(word: str) -> str:
    """Write a word as SQLite's full-text search takes it."""
    return f'"{word}"'


def match_any(chosen: Sequence[str]) -> str:
    """Write a search for any of some words."""
    return " OR ".join(map(match_one, chosen))
