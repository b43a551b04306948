"""What a request is: its kind, whether it is work, and how hard it is. Pure, and asks no model.

Linear heads judge what a text shows; rules for plain English orders are part of that. The same text
always gives the same assessment. Who answers is the `router`'s decision, which knows the models
too. Above: `router`, `memory.conversation` and `tasks.judging` (talk is answered, work becomes a
task). Below: `orders` (rules), `features` (what a text shows), `weights` (what it tells).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import exp
from typing import Final, Literal, get_args

from tale.models.features import matter, pieces, request
from tale.models.orders import Order, find_order, instruction, is_code, is_greeting
from tale.models.weights import shipped

__all__ = ["BANDS", "HARD_BY_KIND", "KINDS", "Assessment", "Band", "Kind", "assess", "band_of"]

Kind = Literal[
    "talk", "question", "summarise", "extract", "transform", "write", "code", "plan", "act"
]
"""What is asked for: small talk; to know something; a shorter text; facts or labels out of a text;
the same in another form (translate, convert, rephrase); prose; a program or a change to one; the
parts of something large; things done to files or the machine."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_WORK_KINDS: Final[tuple[Kind, ...]] = tuple(
    kind for kind in KINDS if kind not in {"talk", "question"}
)

Band = Literal["easy", "medium", "hard"]
"""Difficulty in three, which is as fine as what is learned from a few hundred requests."""

BANDS: Final[tuple[Band, ...]] = ("easy", "medium", "hard")

HARD_BY_KIND: Final[dict[Kind, float]] = {
    "talk": 0.0,
    "question": 0.05,
    "summarise": 0.1,
    "extract": 0.1,
    "transform": 0.1,
    "write": 0.15,
    "code": 0.4,
    "plan": 0.45,
    "act": 0.4,
}
"""How probably a small model fails at a kind of request whatever it is about: what is done in many
steps, each of which may fail, before what is said in one. Estimates; what happens corrects them
(`estimates`)."""

# Small talk isn't about what it mentions.
_TALK_MATTERS: Final = 0.3
_WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
# What a reason quotes of a text is looked for here, in characters.
_QUOTED: Final = 200

_TALK_REASONS: Final[dict[Kind, str]] = {
    "talk": "a short remark",
    "question": "a question",
    "summarise": "asks for a summary",
    "extract": "asks what a text says",
    "transform": "asks for a text in another form",
    "write": "asks for a few lines",
    "code": "a question about code",
    "plan": "asks for advice",
    "act": "asks how something is done",
}
_WORK_REASONS: Final[dict[Kind, str]] = {
    "summarise": "a summary that takes work",
    "extract": "data to extract",
    "transform": "something to convert",
    "write": "a long text to write",
    "code": "code",
    "plan": "a plan to make",
    "act": "something to do",
}


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a text is.

    Attributes:
        kind: What it asks for.
        work: Whether it is to become a task, rather than be answered in the conversation.
        difficulty: 0 to 1: how probably a small model gets it wrong where a large one doesn't.
        confidence: 0.5 to 1: how surely it is work, or isn't.
        reason: Why, in words.
    """

    kind: Kind
    work: bool
    difficulty: float
    confidence: float
    reason: str

    @property
    def band(self) -> Band:
        """The difficulty, in three."""
        return band_of(self.difficulty)


def band_of(difficulty: float) -> Band:
    """Give the third in which a difficulty lies."""
    return BANDS[min(int(difficulty * len(BANDS)), len(BANDS) - 1)]


def assess(text: str) -> Assessment:
    """Judge a text. Total and deterministic: any text gives an assessment.

    Difficulty is the chance to fail at the kind or at the matter: 1 - (1 - kind)(1 - matter), the
    first from `HARD_BY_KIND`, the second learned from where a small model failed and a large one
    didn't.
    """
    text = text.strip()
    if not text:
        return Assessment("talk", False, 0.0, 1.0, "nothing is said")
    heads = shipped()
    asked = instruction(text)
    order = find_order(asked)
    if order is None and is_greeting(asked):
        return Assessment("talk", False, HARD_BY_KIND["talk"], 1.0, _TALK_REASONS["talk"])
    said = heads["request"].judge(request(asked, order))
    chance = _chance(said["work"])
    work = chance >= 0.5
    kind = max(_WORK_KINDS if work else KINDS, key=said.__getitem__)
    about = _chance(heads["matter"].judge(matter(text))["hard"])
    if kind == "talk":
        about *= _TALK_MATTERS
    return Assessment(
        kind=kind,
        work=work,
        difficulty=1 - (1 - HARD_BY_KIND[kind]) * (1 - about),
        confidence=max(chance, 1 - chance),
        reason=_reason(text, kind, order, work=work),
    )


def _chance(log_odds: float) -> float:
    # Past this it is 0 or 1 in any case, and `exp` would overflow.
    return 1 / (1 + exp(-max(-40.0, min(40.0, log_odds))))


def _reason(text: str, kind: Kind, order: Order | None, *, work: bool) -> str:
    """Name the strongest evidence."""
    if not work:
        return _TALK_REASONS[kind]
    if is_code(text):
        return "it contains code"
    if order:
        return order.reason
    # The short ones of a European language are grammar.
    words = (
        word for word in _WORD.findall(text[:_QUOTED].lower()) if not word.isascii() or word[3:]
    )
    told = {word: _tells_of_work(word) for word in words}
    strongest = sorted((word for word in told if told[word] > 0), key=lambda word: -told[word])[:2]
    named = ", ".join(word[:30] for word in told if word in strongest)
    return f"reads like {_WORK_REASONS[kind]}" + (f": {named}" if named else "")


# Most words of a text are those of others.
@lru_cache(maxsize=1 << 13)
def _tells_of_work(word: str) -> float:
    return shipped()["request"].weigh("work", pieces(word))
