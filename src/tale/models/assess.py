"""What a request is: its kind, whether it is work, and how hard it is. Pure, and asks no model.

The same text always gives the same assessment. Who answers is the `router`'s decision, which knows
the models too. Above: `router`, `memory.conversation` and `servers.steps` (talk is answered, work
becomes a task).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["BANDS", "Assessment", "Band", "Kind", "assess", "band_of"]

Kind = Literal[
    "talk", "question", "summarise", "extract", "transform", "write", "code", "plan", "act"
]
"""What is asked for: small talk; to know something; a shorter text; facts or labels out of a text;
the same in another form (translate, convert, rephrase); prose; a program or a change to one; the
parts of something large; things done to files or the machine."""

Band = Literal["easy", "medium", "hard"]
"""Difficulty in three, which is as fine as what is learned from a few hundred requests."""

BANDS: Final[tuple[Band, ...]] = ("easy", "medium", "hard")

# What is longer than this isn't small talk, whatever it says.
_LONG_WORDS: Final = 80
_LONG_CHARACTERS: Final = 600
# An order without a thing to make is a task once it has details: "write a haiku" is not.
_DETAILED_WORDS: Final = 12


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Orders that are work whatever they are about.
_WORK_VERBS: Final = _words(
    """
    implement refactor debug fix build develop scaffold rewrite port migrate deploy optimize
    optimise automate install configure benchmark scrape parse code program
    """
)
# Orders that are work if what they ask for is an artefact.
_MAKE_VERBS: Final = _words(
    """
    write create make generate convert analyze analyse add design produce prepare draft
    compile translate transform extract update change remove delete rename document test
    plan set setup give show need want summarize summarise compare research review clean
    sort merge split calculate compute organize organise improve extend integrate complete
    finish run
    """
)
_ARTEFACTS: Final = _words(
    """
    app application apps api backend bot class classes cli code codebase component config
    configuration crawler csv dashboard database dataset decorator diagram docker dockerfile
    documentation endpoint excel file files folder form frontend function functions game
    generator html interface json library linter makefile markdown method migration module
    notebook package page parser pdf pipeline plugin program programs project prototype
    query readme regex report repository schema scraper script scripts server service
    simulation site spreadsheet sql stylesheet suite svg system table template test tests
    tool unittest unittests website workflow wrapper xml yaml presentation essay article
    tutorial python javascript typescript rust golang java kotlin bash css react flask
    django
    """
)
_QUESTION_WORDS: Final = _words(
    """
    what who whom whose when where which why how is are was were am do does did can could
    would should shall will may might have has whats hows wheres whos
    """
)
_POLITE: Final = re.compile(
    r"(?:hi|hello|hey|ok|okay|well|now|so|then|and|also|just|please|kindly|thanks|tale)\b[\s,.!:;-]*"
    r"|(?:can|could|would|will) (?:you|u)(?: please| kindly| maybe)?\b[\s,]*"
    r"|(?:would|do) you mind\b[\s,]*"
    r"|i(?: would|'d) (?:like|love|want) (?:you )?to\b[\s,]*(?:have\b)?[\s,]*"
    r"|i (?:want|need) you to\b[\s,]*"
    r"|(?:help|assist) me (?:to |with |in )?"
    r"|(?:let's|lets|let us|we (?:need|have) to|you (?:should|must|need to))\b[\s,]*"
    r"|(?:go ahead|be so kind|try)(?: and| to)?\b[\s,]*"
    r"|i (?=(?:need|want) (?:an?|some|the|my)\b)",
)
_CODE: Final = re.compile(
    r"```|^(?:def|class|func|fn|const|let|var|public|#include)\b.*[(:;{<=]|^import \w+$"
    r"|^Traceback \(most recent|^\s*File \"[^\"]+\", line \d+",
    re.MULTILINE,
)
_FILE_NAME: Final = re.compile(
    r"(?:^|[\s`'\"(/])[\w-]+\.(?:py|js|ts|tsx|rs|go|java|c|h|cpp|rb|sh|sql|html|css|md|txt|csv|json"
    r"|ya?ml|toml|ini|xml|pdf|xlsx?|docx?|ipynb)\b",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_SENTENCE_END: Final = re.compile(r"[.!?;]+\s+|\n+")


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
    """Judge by rules, the surest first. Total and deterministic: any text gives an assessment."""
    text = text.strip().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    # First, so that the patterns below never see a megabyte.
    if len(text) > _LONG_CHARACTERS or (words := len(_WORD.findall(text))) > _LONG_WORDS:
        return _work("a long text", 0.8)
    if _CODE.search(text):
        return _work("it contains code", 0.8)
    orders = [order for sentence in _SENTENCE_END.split(text) if (order := _judge(sentence))]
    if orders:
        return max(orders, key=lambda order: order.confidence)
    if text.endswith("?"):
        return _talk("a question", 0.8)
    return _talk("a short remark", 0.7 if words > _DETAILED_WORDS else 0.9)


def _judge(sentence: str) -> Assessment | None:
    """Find an order to do work in one sentence."""
    plain = sentence.strip().lower()
    order = _without_politeness(plain)
    words = _WORD.findall(order)
    if not words:
        return None
    verb, rest = words[0], words[1:]
    if verb in _QUESTION_WORDS:
        return None
    artefact = next((word for word in rest if word in _ARTEFACTS), "")
    if not artefact and _FILE_NAME.search(sentence):
        artefact = "a file"
    if verb in _WORK_VERBS and rest:
        return _work(f"asks to {verb} something", 0.9)
    if verb in _MAKE_VERBS and artefact:
        return _work(f"asks to {verb} something ({artefact})", 0.9)
    if verb in _MAKE_VERBS and len(words) >= _DETAILED_WORDS:
        return _work(f"asks to {verb} something, in detail", 0.6)
    return None


def _without_politeness(text: str) -> str:
    """Cut off what only leads up to the order: "Hi! Could you please …"."""
    start = 0
    while found := _POLITE.match(text, start):
        if found.end() == start:
            break
        start = found.end()
    return text[start:]


def _work(reason: str, confidence: float) -> Assessment:
    return Assessment("code", True, 0.5, confidence, reason)


def _talk(reason: str, confidence: float) -> Assessment:
    return Assessment("talk", False, 0.2, confidence, reason)
