"""What must survive a summary: the names, numbers, code and decisions of what was said. Pure.

They are found by their form, without a model, so that what a model left out of its summary can be
added to it, and what it made up taken out. English first; names, numbers and code are found in any
language that is written with spaces. Above: `summary`.
Below: `words`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from tale.clipped import clipped
from tale.memory.quoting import middle_left_out
from tale.memory.words import EMPTY, FILLERS, key_words, sentences

__all__ = [
    "KINDS",
    "Kind",
    "Particular",
    "is_told",
    "particulars",
    "prose_sentences",
    "unknown",
]

Kind = Literal["decision", "number", "name", "code"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_LOOKED_AT: Final = 65_536
"""Bytes of one text; of a longer one, its beginning and its end."""
_MOST: Final = 400
"""Particulars of one text: a list of thousands of numbers is not what anybody wants to keep."""
_DECISION_CHARACTERS: Final = 120
_CODE_CHARACTERS: Final = 80
_NAME_CHARACTERS: Final = 60
_NUMBER_CHARACTERS: Final = 24

_FENCE: Final = re.compile(r"\s*(?:```|~~~)")
_DEFINED: Final = re.compile(r"\b(?:def|class|fn|func|function|struct|enum)\s+(\w{3,40})")
_CODE: Final = re.compile(
    r"`([^`\n]{1,80})`"
    r"|(?<![\w/.])((?:https?://|www\.)[^\s<>\"')\]]{3,100}[\w/])"
    r"|(?<![\w/.])([\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{0,64}\w)"
    r"|(?<![\w/.])((?:~|\.{1,2})?/(?:[\w.@+-]{1,64}/)*[\w.@+-]{0,64}\w|[\w.-]{1,64}(?:/[\w.-]{1,64})+\w)"
    r"|(?<![\w/.])(\w[\w-]{0,60}\.(?:py|pyi|rs|go|js|ts|tsx|jsx|java|kt|c|h|cpp|rb|sh|sql|md|txt|json"
    r"|toml|yaml|yml|ini|cfg|csv|html|css|xml|lock|log|env|db|pdf|png|ipynb|service))\b"
    r"|(?<![\w/.])((?:[A-Za-z]\w*\.)*[A-Za-z_]\w*\(\))"
    r"|(?<![\w/.])([a-zA-Z]+(?:_[a-zA-Z0-9]+)+|_\w*[a-z]\w*)\b"
    r"|(?<![\w/.])([a-z]+(?:[A-Z][a-z0-9]+)+|[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]+)+)\b"
    r"|(?<!\S)(--?[a-z][\w-]{1,40})\b"
)
_NUMBER: Final = re.compile(
    r"(?P<before>(?:\b[^\W\d_]{1,30}[ ]){0,2})"
    r"(?P<number>(?:[€$£#+]|\bv(?=\d))?\d(?:[\d.,:/'-]*\d)?"
    r"(?:[ ]?[%€$£°]|[A-Za-z]{1,3}(?![A-Za-z]))?)"
    r"(?P<after>[ ][^\W\d_]{1,30}\b)?"
)
_NAME: Final = re.compile(
    r"[A-ZÀ-ÖØ-Þ][\w'\u2019-]*(?:[ ](?:(?:van|von|de|da|del|der|den|la|le|of|the)[ ]){0,2}"
    r"[A-ZÀ-ÖØ-Þ][\w'\u2019-]*)*"
)
_DECIDES: Final = re.compile(
    r"\b(?:let'?s (?!see\b|talk\b|look\b|start\b|begin\b|say\b|chat\b)|we(?:'ll| will| shall)\b"
    r"|we(?:'re| are) (?:going|not going)\b|decid(?:ed?|es|ing) (?:on|to|for|against|that|not)\b"
    r"|decision\b|agreed? (?:on|to|that)\b|settled? (?:on|for)\b|go(?:ing)? with\b|went with\b"
    r"|sticks? (?:with|to)\b|instead of\b|rather than\b|from now on\b|no longer\b|the plan is\b"
    r"|i(?:'ll| will) (?!be\b|try\b|see\b|think\b|help\b|do my\b)|i(?:'d| would) prefer\b"
    r"|i prefer\b|we (?:chose|choose|picked|pick|use|dropped|drop|keep|postponed?|cancelled)\b"
    r"|(?:don't|do not|never|always) (?:use|touch|delete|send|deploy|merge|push|change|commit)\b"
    r"|wir (?:nehmen|machen|bleiben|verwenden)\b|beschlossen\b|entschieden\b)",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"\w+")
_VERB_AFTER: Final = re.compile(
    r"\s+(?:is|was|has|had|will|can|and|said|says|wants?|wanted|likes?|lives?|works?|called|asked"
    r"|told|knows?|needs?|thinks?|prefers?|owns?|wrote|runs?|leads?|joined|moved|agreed)\b"
)


_NO_NAMES: Final = (EMPTY | FILLERS) - {"said"}
"""What no name is, though it begins a sentence; Said is one."""


@dataclass(frozen=True, slots=True)
class Particular:
    """One thing that must survive.

    Attributes:
        kind: What it is.
        key: What a text has to say so that it is told: `8443`, `maja lindqvist`.
        text: As it is written in a list: `on port 8443`.
    """

    kind: Kind
    key: str
    text: str


def particulars(texts: Iterable[str]) -> tuple[Particular, ...]:
    """Find the particulars of what was said, each once, in the order in which they came up."""
    found: dict[tuple[Kind, str], Particular] = {}
    for text in texts:
        own: dict[tuple[Kind, str], Particular] = {}
        for one in _of(middle_left_out(text, _LOOKED_AT)):
            own.setdefault((one.kind, one.key), one)
            if len(own) >= _MOST:
                break
        for key, one in own.items():
            found.setdefault(key, one)
    return tuple(found.values())


def is_told(one: Particular, text: str) -> bool:
    """Tell whether a text says it already: the name, the number, the words of the decision."""
    if one.kind == "decision":
        wanted = key_words(one.text)
        return any(_covers(key_words(sentence), wanted) for sentence in prose_sentences(text))
    return _says(text.lower(), one.key)


def unknown(text: str, known: Sequence[str]) -> list[Particular]:
    """Find what a text names that nothing known says: numbers, names and code alone."""
    source = "\n".join(known)
    return [
        one for one in particulars([text]) if one.kind != "decision" and not is_told(one, source)
    ]


def prose_sentences(text: str) -> list[str]:
    """Divide a text into its sentences; code in fences is none."""
    return sentences(_apart(text)[0])


def _says(text: str, key: str) -> bool:
    """Tell whether a text has a key as a word of its own; quicker than a pattern for each key."""
    at = text.find(key)
    while at >= 0:
        around = f"{text[at - 1 : at]}{text[at + len(key) : at + len(key) + 1]}"
        if not _WORD.search(around):
            return True
        at = text.find(key, at + 1)
    return False


def _covers(there: frozenset[str], wanted: frozenset[str]) -> bool:
    return bool(wanted) and len(there & wanted) >= 0.8 * len(wanted)


def _of(text: str) -> Iterator[Particular]:
    plain, fenced = _apart(text)
    lower = frozenset(_WORD.findall(plain))
    for sentence in sentences(plain):
        if _DECIDES.search(sentence) and not sentence.endswith("?"):
            short = clipped(sentence, _DECISION_CHARACTERS)
            yield Particular("decision", short.lower(), short)
        rest = sentence
        for found in _CODE.finditer(sentence):
            code = next(filter(None, found.groups()), "")
            if code and not code.isdigit():
                yield Particular("code", code.lower(), clipped(code, _CODE_CHARACTERS))
            rest = f"{rest[: found.start()]}{' ' * len(found[0])}{rest[found.end() :]}"
        yield from _numbers(rest)
        yield from _names(rest, lower)
    for found in _DEFINED.findall(fenced):
        yield Particular("code", found.lower(), found)


def _apart(text: str) -> tuple[str, str]:
    """Divide a text into what is said and what stands in fences."""
    said: list[str] = []
    fenced: list[str] = []
    inside = False
    for line in text.split("\n"):
        if _FENCE.match(line):
            inside = not inside
        else:
            (fenced if inside else said).append(line)
    return "\n".join(said), "\n".join(fenced)


def _numbers(sentence: str) -> Iterator[Particular]:
    for found in _NUMBER.finditer(sentence):
        number = found["number"].strip()
        if len(number) > _NUMBER_CHARACTERS:
            continue
        before = [word for word in found["before"].split() if word.lower() not in _NO_NAMES]
        after = (found["after"] or "").strip()
        said = [*before, number, *([after] if after.lower() not in _NO_NAMES else [])]
        yield Particular("number", number.lower().lstrip("#+v"), " ".join(filter(None, said)))


def _names(sentence: str, lower: frozenset[str]) -> Iterator[Particular]:
    first = re.match(r"\W*", sentence)
    start = first.end() if first else 0
    for found in _NAME.finditer(sentence):
        words = found[0].split()
        at_start = found.start() == start
        # "Yes Maja" and "The Alps" begin with a word that is no part of the name.
        while words and _bare(words[0]) in _NO_NAMES:
            words.pop(0)
            at_start = False
        name = " ".join(words).rstrip("'\u2019-")
        name = re.sub(r"['\u2019]s$", "", name)
        if not 2 <= len(name) <= _NAME_CHARACTERS or _bare(name) in _NO_NAMES:
            continue
        if (
            at_start
            and len(words) == 1
            and not _is_name_at_start(name, sentence[found.end() :], lower)
        ):
            continue
        yield Particular("name", name.lower(), name)


def _is_name_at_start(name: str, rest: str, lower: frozenset[str]) -> bool:
    """Tell a name from any word with which a sentence begins."""
    if name.isupper():
        return True
    if name.lower() in lower or name.lower().endswith(("ing", "ly", "ed")):
        return False
    return _VERB_AFTER.match(rest) is not None


def _bare(word: str) -> str:
    return word.lower().strip("'\u2019-")
