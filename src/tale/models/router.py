"""Talk or work? A pure rule that picks the role for a request.

Talk (greetings, small talk, questions) goes to the small model, which answers at once; work (write,
build, fix, convert …, long texts, code) to the large one. No model is asked, nothing is remembered:
the same text always gives the same decision. Above: `servers.openai_api` for the model `auto`, and
`memory.conversation`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from tale.models.backend import Role

__all__ = ["Decision", "Kind", "RouteRequest", "route"]

Kind = Literal["talk", "work"]

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
class RouteRequest:
    """What is to be judged.

    Attributes:
        text: The user's last message.
        wants_tools: Whether the caller offers tools, which small models use badly.
    """

    text: str
    wants_tools: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Who is to answer.

    Attributes:
        role: The core role.
        kind: What the text is.
        reason: Why, in words.
        confidence: 0 to 1; a rule of thumb for whoever wants to ask back.
    """

    role: Role
    kind: Kind
    reason: str
    confidence: float


def route(request: RouteRequest) -> Decision:
    """Decide by rules, the surest first. Total and deterministic: any text gives a decision."""
    text = request.text.strip().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    if request.wants_tools:
        return _work("tools are offered", 0.9)
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


def _judge(sentence: str) -> Decision | None:
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


def _work(reason: str, confidence: float) -> Decision:
    return Decision("task", "work", reason, confidence)


def _talk(reason: str, confidence: float) -> Decision:
    return Decision("ux", "talk", reason, confidence)
