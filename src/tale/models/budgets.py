"""How long an answer is to be: the words told to the model, and the limit in tokens. Pure.

A model that is told how much it may say says less and loses little (Token-Budget-Aware LLM
Reasoning, arXiv 2412.18547: 67% fewer output tokens). What it is told depends on the text alone, so
that the same request is the same prompt whatever was learned; the limit, which no prompt shows, is
learned. Above: `router`. Below: `assess`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from tale.models.assess import BANDS, Band, Kind

__all__ = [
    "RAISE",
    "Budget",
    "Length",
    "budget",
    "has_own_length",
    "prior_length",
    "usual_hint",
    "word_hint",
]

RAISE: Final = 4
"""What a limit is multiplied by, once, for an answer that has more to say: it happens once, so it
has to be enough."""

# Above what nine in ten answers need: a limit ends what runs away, it doesn't shape the answer.
_SLACK: Final = 1.5
# Limits are of this many tokens or a multiple, so that learning a little changes nothing.
_STEP: Final = 64
# A translation, or a converted table, may have more tokens than its source.
_TRANSFORMED: Final = 1.5


class Length(NamedTuple):
    """Tokens of an answer: what half of all answers stay under, and what nine in ten do."""

    median: float
    most: float


@dataclass(frozen=True, slots=True)
class Budget:
    """How many tokens an answer may have. Both are positive and fit into the window.

    Attributes:
        limit: Sent to the model as `max_tokens`.
        raised: The limit of a second try, where the first was cut off. Equal to `limit` where the
            window or the caller allows no more.
    """

    limit: int
    raised: int


# Tokens, by band from easy to hard: what the embedded pair and models of 7 to 14 billion parameters
# answer when told how much (`_WORDS`), with four tokens for three words of English.
_LENGTHS: Final[dict[Kind, tuple[Length, Length, Length]]] = {
    "talk": (Length(25, 140), Length(40, 180), Length(80, 260)),
    "question": (Length(60, 160), Length(110, 260), Length(180, 450)),
    "summarise": (Length(70, 170), Length(110, 260), Length(180, 400)),
    "extract": (Length(30, 120), Length(70, 250), Length(140, 500)),
    "transform": (Length(60, 200), Length(150, 500), Length(300, 900)),
    "write": (Length(130, 320), Length(300, 700), Length(600, 1400)),
    "code": (Length(180, 600), Length(350, 1100), Length(700, 2400)),
    "plan": (Length(200, 600), Length(350, 900), Length(600, 1500)),
    "act": (Length(120, 600), Length(250, 1100), Length(500, 2400)),
}

# Few and far apart: a model doesn't tell 60 words from 70.
# Code is as long as it has to be, and what is transformed as long as its source.
_WORDS: Final[dict[Kind, tuple[int, int, int]]] = {
    "talk": (30, 50, 80),
    "question": (50, 80, 150),
    "summarise": (60, 100, 150),
    "write": (150, 250, 500),
}

# Whoever says how long it is to be, or to see everything, is not contradicted. Words before
# phrases: a set is asked sooner than a pattern.
_WORD: Final = re.compile(r"\w+")
_LENGTH_WORDS: Final = frozenset(
    _WORD.findall(
        "word words sentence sentences paragraph paragraphs page pages line lines character "
        "characters letters bullet bullets verse verses stanza stanzas detailed thorough "
        "thoroughly complete completely comprehensive exhaustive long longer short shorter brief "
        "briefly concise concisely everything wörter worter satz sätz satze sätze satzen sätzen "
        "ausführlich ausfuhrlich kurz mots phrases palabras frases"
    )
)
_LENGTH_PHRASES: Final = re.compile(
    r"\b(?:in (?:full )?detail|at length|in depth|step[ -]by[ -]step"
    r"|(?:list|name|show|give|tell)(?: me)? (?:all|every|each))\b"
)
_PHRASE_WORDS: Final = frozenset(("detail", "length", "depth", "step", "all", "every", "each"))
# It stands at the beginning or the end of what is asked; in between is the material.
_LOOKED_AT: Final = 400


def prior_length(kind: Kind, band: Band) -> Length:
    """Tell how long an answer is before anything was learned."""
    return _LENGTHS[kind][BANDS.index(band)]


def word_hint(text: str, kind: Kind, band: Band) -> str:
    """Tell the model in words how much to say; empty where it is to judge for itself.

    The same text always gives the same words, whatever was learned in between. Not for answers with
    tools or in JSON: these are as long as their form.

    Args:
        text: The user's message. If it says how long the answer is to be, nothing is added.
        kind: What it asks for.
        band: How hard that is.
    """
    return "" if has_own_length(text) else usual_hint(kind, band)


def usual_hint(kind: Kind, band: Band) -> str:
    """Give what `word_hint` tells where the message says nothing of its length."""
    steps = _WORDS.get(kind)
    return f"Answer in at most {steps[BANDS.index(band)]} words." if steps else ""


def has_own_length(text: str) -> bool:
    """Tell whether a message says how long the answer is to be."""
    looked_at = text if len(text) <= 2 * _LOOKED_AT else f"{text[:_LOOKED_AT]} {text[-_LOOKED_AT:]}"
    looked_at = looked_at.lower()
    words = frozenset(_WORD.findall(looked_at))
    if not words.isdisjoint(_LENGTH_WORDS):
        return True
    return not words.isdisjoint(_PHRASE_WORDS) and bool(_LENGTH_PHRASES.search(looked_at))


def budget(
    kind: Kind,
    most: float,
    *,
    room: int,
    source: int = 0,
    own_length: bool = False,
    asked: int | None = None,
) -> Budget | None:
    """Set the limit of an answer.

    Args:
        kind: What is asked for.
        most: Tokens that nine in ten answers of this sort stay under.
        room: Tokens that the window leaves beside the prompt.
        source: Tokens of the user's message, which what is transformed has again.
        own_length: The message says how long the answer is to be: it gets the raised limit at once.
        asked: The caller's own `max_tokens`; never exceeded.

    Returns:
        None where the window or the caller leaves no room for a single token.
    """
    ceiling = room if asked is None else min(room, asked)
    if ceiling < 1:
        return None
    needed = most * _SLACK
    if kind == "transform":
        needed = max(needed, source * _TRANSFORMED)
    limit = -(-int(needed) // _STEP) * _STEP or _STEP
    raised = min(limit * RAISE, ceiling)
    return Budget(raised if own_length else min(limit, ceiling), raised)
