"""Orders found by rules: a verb at the front, and what it is to make. Pure.

Sure where they match, and English only; what they find is evidence for `assess`, which also knows
what they don't. Above: `features`, `assess`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = [
    "Order",
    "find_order",
    "instruction",
    "is_code",
    "is_greeting",
    "names_file",
    "without_politeness",
]

# What is looked at, in characters: patterns never see a megabyte.
_HEAD: Final = 800
# An instruction is shorter than this, and what it is about longer.
_INSTRUCTION: Final = 200
_MATERIAL: Final = 240
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
_GREETING: Final = re.compile(
    r"(?:hi|hello|hey|yo|howdy|hiya|greetings|thanks|thank you|thx|cheers|bye|goodbye"
    r"|good (?:morning|evening|afternoon|night|day)"
    r"|hallo|moin|servus|danke|guten (?:morgen|tag|abend)|bonjour|salut|merci|hola|gracias"
    r"|buenos d[ií]as|ciao|grazie|ol[áa]|obrigad[oa])\b"
    r"(?:[^\w?]+\w+){0,3}[^\w?]*",
    re.IGNORECASE,
)
_FIRST_QUESTION: Final = re.compile(r"\s*[^.!?\n]{2,200}\?(?=\s)")
_SPACE: Final = re.compile(r"\s")
_ASKS: Final = re.compile(
    r"(?:what|why|which|where|when|who|how|is|are|was|does|do|did|explain|describe|tell me)\b"
)
"""What begins a question about code: what is to be said, not done."""
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_SENTENCE_END: Final = re.compile(r"[.!?;]+\s+|\n+")


@dataclass(frozen=True, slots=True)
class Order:
    """An order to do work.

    Attributes:
        verb: What to do.
        thing: What to make; empty where the rules know none.
        sure: 0.5 to 1: how surely it is one.
        reason: Why, in words.
    """

    verb: str
    thing: str
    sure: float
    reason: str


def is_code(text: str) -> bool:
    """Say whether a text contains code, or what a program wrote as it failed."""
    return _code_begins(text[:_HEAD]) is not None


def names_file(text: str) -> bool:
    """Say whether a text names a file."""
    return "." in text and _FILE_NAME.search(text[:_HEAD]) is not None


# Of one request it is asked three times.
@lru_cache(maxsize=8)
def _code_begins(text: str) -> int | None:
    found = _CODE.search(text)
    return found.start() if found else None


def instruction(text: str) -> str:
    """Give what is asked, without the material that was pasted below it or above it.

    Material says nothing about what is wanted of it: a text about software that is to be summed up
    is no order to write any, and a question about a program is none to change it.
    """
    if (begins := _code_begins(text[:_HEAD])) is not None:
        return _about_code(text, begins)
    if len(text) > _MATERIAL and (question := _question(text)):
        return question
    head, colon, below = text[:_INSTRUCTION].partition(":")
    if colon and len(text) - len(head) > _MATERIAL and "\n" not in head.strip():
        return f"{head}:" if below[:1].isspace() or not below else text
    first, last = text.partition("\n\n")[0], text.rpartition("\n\n")[2]
    shorter = min(first, last, key=len).strip()
    if shorter and len(shorter) <= _INSTRUCTION and len(text) - len(shorter) > _MATERIAL:
        return shorter
    return text


def _question(text: str) -> str | None:
    """Find the question with which a text begins or ends, where the rest is long."""
    first = _FIRST_QUESTION.match(text[:_HEAD])
    for found in (first[0] if first else "", _last_question(text[-_HEAD:])):
        if found and len(text) - len(found) > _MATERIAL:
            return found.strip()
    return None


def _last_question(text: str) -> str:
    """Give the question with which a text ends: at most `_INSTRUCTION` characters of its sentence.

    Searched from the end: a pattern that looks for a beginning first tries every letter.
    """
    body = text.rstrip()
    if not body.endswith("?"):
        return ""
    end = len(body) - 1
    begins = max(body.rfind(sign, 0, end) for sign in ".!?\n") + 1
    if begins == 0 or end - begins > _INSTRUCTION:
        gap = _SPACE.search(body, max(begins, end - _INSTRUCTION, 1) - 1, end)
        if gap is None:
            return ""
        begins = gap.end()
    return text[begins:] if end - begins > 1 else ""


def _about_code(text: str, begins: int) -> str:
    """Give the question about code that stands above or below it; else all of it.

    Args:
        text: With code in it.
        begins: Where that is.
    """
    above = text[:begins].strip()
    below = text.rpartition("\n")[2].strip() if "\n" in text else ""
    for lines in (above, below):
        if 0 < len(lines) <= _INSTRUCTION and _ASKS.match(without_politeness(lines.lower())):
            return lines
    return text


def is_greeting(text: str) -> bool:
    """Tell whether a text only greets or thanks: a word for that, and at most three more."""
    return _GREETING.fullmatch(text[:_INSTRUCTION]) is not None


def find_order(text: str) -> Order | None:
    """Find the surest order among the sentences of a text."""
    text = text[:_HEAD].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    orders = [order for sentence in _SENTENCE_END.split(text) if (order := _judge(sentence))]
    return max(orders, key=lambda order: order.sure, default=None)


def _judge(sentence: str) -> Order | None:
    order = without_politeness(sentence.strip().lower())
    words = _WORD.findall(order)
    if not words:
        return None
    verb, rest = words[0], words[1:]
    if verb in _QUESTION_WORDS:
        return None
    artefact = next((word for word in rest if word in _ARTEFACTS), "")
    if not artefact and names_file(sentence):
        artefact = "a file"
    if verb in _WORK_VERBS and rest:
        return Order(verb, artefact, 0.9, f"asks to {verb} something")
    if verb in _MAKE_VERBS and artefact:
        return Order(verb, artefact, 0.9, f"asks to {verb} something ({artefact})")
    if verb in _MAKE_VERBS and len(words) >= _DETAILED_WORDS:
        return Order(verb, "", 0.6, f"asks to {verb} something, in detail")
    return None


def without_politeness(text: str) -> str:
    """Cut off what only leads up to the order: "Hi! Could you please …".

    Args:
        text: In small letters.
    """
    start = 0
    while found := _POLITE.match(text, start):
        if found.end() == start:
            break
        start = found.end()
    return text[start:]
