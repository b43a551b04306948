"""Words and sentences of what was said: in which form they are compared, and which say nothing.

Pure. English, with the German that talk in English may have. Above: whatever in the memory looks at
a text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = [
    "EMPTY",
    "FILLERS",
    "asks",
    "content_words",
    "key_words",
    "only_asks",
    "pieces",
    "sentences",
    "straight",
    "words",
]


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


EMPTY: Final = _listed(
    """
    a about after again all also am an and any anymore are as assistant at be because been before
    being both but by can could d did do does doing don done during each few for from further get
    go going got had has have having he her here hers him his how i i'd i'll i'm i've if in into is
    isn isn't it it's its just kind let like ll m many me might more most much my myself no nor not
    now of off ok okay on once one only or other our out over own please re really remember s said
    same say shall she should so some such t tale tell than that that's the their them then there
    these they they're this those through to told too under until up us user user's users ve very
    was wasn't we we'd we'll we're we've were what when where which while who whom whose why will
    with would yes yet you you'd you'll you're you've your yours
    """
)
"""Words that name nothing."""
FILLERS: Final = _listed(
    """
    above absolutely actually agreed although always another anything ask btw call cannot decided
    decision either else even every everything exactly example fine first fyi give good great hello
    help hey hi however instead keep last later let's look make may maybe need never next nice none
    note noted nothing oh perhaps plan probably put quite remind right see since something sometimes
    soon sorry still sure take thank thanks there's thing though today together tomorrow tonight try
    two understood use want well what's whether without work write yesterday
    aber bitte danke das der die du ein eine er es ich ihr ja nein nicht oder sie und wann warum wer
    wie wir wo
    """
)
"""Words that any talk has, whatever it is about."""

_WORD: Final = re.compile(r"[^\W_]+(?:[.'@:/+-][^\W_]+)*")
_PIECE: Final = re.compile(r"[^\W_]+")
_TITLE: Final = "|".join(
    rf"(?<=\b{each})" for each in ("Dr", "Mr", "Mrs", "Ms", "St", "Prof", "e[.]g", "i[.]e", "No")
)
_SENTENCE: Final = re.compile(rf"[^.!?\n]+(?:(?:(?:{_TITLE})[.]|[.!?](?![\s\n]))[^.!?\n]*)*[.!?]*")
"""A dot within a word ends nothing, nor does that of a title: "v1.2", "example.com", "Dr. May"."""
_MARKED: Final = re.compile(r"\?\W*\Z")
_UNMARKED: Final = re.compile(
    r"(?:(?:and|but|so|ok(?:ay)?|hey|hi|hello|tale|please|sorry)\b[\s,]*)*"
    r"(?:(?:who|where|when|why|(?:what|how|which|whose)(?: \w+){0,2})"
    r"(?:'s| (?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should))\b"
    r"|(?:is|are|was|were|do|does|did|can|could|will|would|should|have|has)"
    r" (?:i|you|we|he|she|it|they|my|your|our|his|her|their|there|the|this|that)\b)"
    r"[^.!]*\Z",
    re.IGNORECASE,
)
"""How a question begins that is typed without its mark."""
_ASKED_IN: Final = 300
"""Characters of a question; what is longer tells something, too."""


def straight(text: str) -> str:
    """Write each apostrophe as the keyboard has it."""
    return text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def words(text: str) -> list[str]:
    """Give a text's words in the form in which they are compared.

    In lower case, without accents, and without what tells plural and possession; what is written in
    one is one: `blue-heron`, `example.com`, `don't`.
    """
    return [_stem(word) for word in _WORD.findall(_bare(straight(text)))]


def pieces(text: str) -> list[str]:
    """Give a text's words as a full-text index has them: letters and digits alone, no accents."""
    return _PIECE.findall(_bare(text))


def content_words(text: str) -> frozenset[str]:
    """Give the words that name something."""
    return _without(EMPTY, text)


def key_words(text: str) -> frozenset[str]:
    """Give the words that tell a text from others: they name something, and not any talk has them.

    "Thanks, that's great!" has none.
    """
    return _without(EMPTY | FILLERS, text)


def sentences(text: str) -> list[str]:
    """Divide a text into its sentences, each with the mark that ends it; none goes over a line."""
    return [one.strip() for one in _SENTENCE.findall(text) if _PIECE.search(one)]


def asks(sentence: str) -> bool:
    """Tell whether a sentence is a question: by its mark, or by how it begins where it has none."""
    line = straight(sentence.strip())
    return _MARKED.search(line[-8:]) is not None or (
        len(line) <= _ASKED_IN and _UNMARKED.match(line) is not None
    )


def only_asks(text: str) -> bool:
    """Tell whether a text is questions and nothing else."""
    if len(text) > _ASKED_IN or not asks(text):
        return False
    return all(map(asks, sentences(text)))


def _without(empty: frozenset[str], text: str) -> frozenset[str]:
    whole = _WORD.findall(_bare(straight(text)))
    return frozenset(map(_stem, (word for word in whole if word not in empty))) - empty


def _bare(text: str) -> str:
    """Take away upper case and accents; a script that composes its letters keeps them."""
    apart = unicodedata.normalize("NFD", text.lower())
    bare = "".join(mark for mark in apart if unicodedata.category(mark) != "Mn")
    return unicodedata.normalize("NFC", bare)


def _stem(word: str) -> str:
    """Take off what tells plural and possession; no more, as words must stay apart."""
    word = word.removesuffix("'s")
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
