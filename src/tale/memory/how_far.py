"""Whether a turn asks how the work in hand stands: "how far are you?", "is it done yet?". Pure.

Such a question is answered from what is known of the task, which a model could only guess. So only
a turn that is nothing else counts: the whole of it has to be one of the forms below, typos aside,
and what it names has to be named by a task. Above: `conversation`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Asked", "asked_how_far"]

_LONGEST: Final = 120
"""Characters; who says more wants more."""
_SPELLED: Final = {
    "whats": "what is",
    "what's": "what is",
    "hows": "how is",
    "how's": "how is",
    "when's": "when is",
    "it's": "it is",
    "you're": "you are",
    "it'll": "it will",
    "wheres": "where is",
    "u": "you",
    "r": "are",
    "ur": "your",
    "ya": "you",
}
_GENERIC: Final = frozenset(
    re.findall(
        r"\w+",
        "a all and answer code file files for i in it job me my of on our program result results "
        "script stuff task tasks that the thing things this to whole work you your",
    )
)
"""What names no task in particular."""

_IT: Final = (
    r"(?:it|that|this|everything|all of it|things|(?:the|my|our|your|that|this) (?P<{0}>{1}))"
)
_NOUNS: Final = r"[\w.'-]+(?: [\w.'-]+){0,4}?"
_DONE: Final = (
    r"(?:(?:all|almost|nearly|soon) )?(?:done|ready|finished|complete|completed|over|through)"
)
_BUSY: Final = r"(?:still )?(?:working|running|going|busy|at it|on it|at work)"
_BEFORE: Final = re.compile(
    r"(?:(?:hey|hi|hello|ok|okay|so|and|but|well|um|now|please|sorry|tale|just|then"
    r"|(?:can|could|would|will) you (?:please )?(?:tell|say|show)(?: me)?|(?:please )?tell me"
    r"|do you (?:know|think)|i wonder|i (?:want|would like) to know|any idea) )*"
)
_AFTER: Final = (
    r"(?: (?:yet|already|now|right now|just now|currently|at the moment|so far|please|then|thanks"
    r"|thank you|soon|by now|still|there|again|meanwhile|along))*"
)


def _form(text: str) -> re.Pattern[str]:
    """Write a form: `IT` is what is asked about, `DONE` and `BUSY` how it stands."""
    parts = text.split("IT")
    whole = parts[0]
    for number, part in enumerate(parts[1:]):
        whole += _IT.format(f"about{number}", _NOUNS) + part
    return re.compile(f"(?:{whole})".replace("DONE", _DONE).replace("BUSY", _BUSY) + _AFTER)


_FORMS: Final = tuple(
    map(
        _form,
        (
            # how far
            (
                r"how far(?: along)?(?: (?:are|is|have|has|did) (?:you|we|IT))?"
                r"(?: (?:got|gotten|get|come))?(?: with IT| on IT)?"
            ),
            r"how far(?: along)? (?:you|we|IT) (?:are|is|have (?:got|come))(?: with IT| on IT)?",
            r"how (?:is|are) IT (?:going|coming(?: along| on)?|getting on|progressing|doing)",
            r"how is (?:the|my|your) (?:task|job|work|progress)|how goes it",
            r"how much (?:is|of IT is) (?:done|left|finished)",
            # is it done
            r"(?:is|are|was) IT (?:DONE|BUSY)|(?:if|whether) IT (?:is|are) (?:DONE|BUSY)",
            r"are (?:you|we) (?:DONE|BUSY)(?: with IT| on IT)?|are we there",
            r"(?:if|whether) you are (?:DONE|BUSY)(?: with IT| on IT)?",
            r"(?:have|did|do) you (?:finish|finished|complete|completed|done)(?: with)?(?: IT)?",
            r"(?:has|did) IT (?:finish|finished|been finished|end|ended|succeed)",
            r"(?:have|has|did) IT (?:pass|passed|work|worked|work out)",
            r"will (?:you|IT) (?:be )?(?:DONE|finish)(?: with IT)?",
            # what are you doing
            r"what (?:are you|is it) (?:still )?(?:doing|up to|working on|busy with|at)",
            r"what you are (?:doing|up to|working on)",
            r"what is (?:happening|going on|the matter)(?: with IT)?",
            (
                r"(?:what is |give me |show me )?(?:the |an? )?(?:current )?"
                r"(?:status|state|progress|eta|update|status update|progress report)"
                r"(?: (?:of|on|with|for) IT)?"
            ),
            r"(?:is there )?any (?:progress|news|update|updates)(?: (?:on|of|with|about) IT)?",
            r"where are (?:you|we)(?: with IT| on IT)?|where do (?:you|we|things) stand",
            # when will it be done
            (
                r"when (?:will|are|is|do|does|can|would) (?:you|IT) (?:be )?(?:DONE|finish|end)"
                r"(?: with IT)?"
            ),
            r"when (?:you|IT) (?:will be|are|is|will) (?:DONE|finish|end)(?: with IT)?",
            (
                r"how (?:much )?(?:long|longer|more time)(?: (?:will|does|do|is|are) (?:you|IT)"
                r"(?: still)?(?: (?:take|need|be|going to take))?)?(?: to finish)?"
            ),
            (
                r"how (?:much )?(?:long|longer) (?:you|IT) (?:will|takes?|needs?)"
                r"(?: still)?(?: (?:take|need|be))?"
            ),
            r"how (?:long|much time) (?:until|till|before) (?:you|IT) (?:are|is) DONE",
            r"how much time (?:is (?:left|needed)|left|remains)|what is left(?: to do)?",
            # the same in German
            r"wie weit (?:bist du|ist es|seid ihr)(?: damit)?(?: schon)?|wie ist der stand",
            r"(?:bist du|ist es|ist das)(?: damit)?(?: schon| jetzt)? fertig",
            r"wann (?:bist du|ist es|ist das|wird es)(?: damit)? fertig",
            r"wie lange (?:dauert (?:es|das) |brauchst du )?noch|was machst du(?: gerade)?",
        ),
    )
)
_TO_BE_TOLD: Final = re.compile(r"(?:please )?(?:tell|ping|notify) me when\b")
"""A wish for later, which the chat grants anyway."""
_SHORT: Final = re.compile(rf"(?:{_DONE}|{_BUSY}|well|and)(?: yet| already| now| so far)?")
"""Too short to be sure, without a question mark."""
_VOCABULARY: Final = frozenset(
    word
    for form in (*_FORMS, _BEFORE, _SHORT)
    for word in re.findall(r"[a-z]{3,}", re.sub(r"\?P<\w+>|\\w", " ", form.pattern))
)
_LIKELY: Final = sorted(_VOCABULARY, key=lambda word: (-len(word), word))
"""For what is a typo of two words the longer one is meant: `finishd`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of how it stands; `about` are the words by which it names the work, if it does."""

    about: frozenset[str] = frozenset()

    def means(self, task: str) -> bool:
        """Tell whether it may be about the task of this text."""
        return self.about <= set(_words(task))


def asked_how_far(text: str) -> Asked | None:
    """Tell whether a turn asks how the work in hand stands; None where it asks something else."""
    if len(text) > _LONGEST:
        return None
    words = " ".join(_mended(_words(text))).replace(" do you think", "")
    if _TO_BE_TOLD.match(words):
        return None
    said = words[_end(_BEFORE.match(words + " ")) :].strip()
    if text.rstrip().endswith("?") and _SHORT.fullmatch(said):
        return Asked()
    for form in _FORMS:
        if found := form.fullmatch(said):
            named = " ".join(filter(None, found.groups())).split()
            return Asked(frozenset(named) - _GENERIC)
    return None


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0


def _words(text: str) -> list[str]:
    plain = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    found: list[str] = re.findall(r"[\w'-]+(?:\.\w+)*", plain)
    return " ".join(_SPELLED.get(word, word) for word in found).split()


def _mended(words: Iterable[str]) -> list[str]:
    """Put the word of a form in the place of one that is it but for a typo."""
    return [
        word
        if word in _VOCABULARY
        else next((known for known in _LIKELY if _is_typo(word, known)), word)
        for word in words
    ]


def _is_typo(said: str, meant: str) -> bool:
    """Tell whether two letters changed places or, in a longer word, one is missing or too many."""
    if len(said) == len(meant):
        at = [
            number for number, pair in enumerate(zip(said, meant, strict=True)) if len({*pair}) > 1
        ]
        return len(at) == 2 and at[1] == at[0] + 1 and _swapped(said, at) == meant
    longer, shorter = sorted((said, meant), key=len, reverse=True)
    if len(longer) - len(shorter) != 1 or len(meant) < 5:
        return False
    return any(longer[:number] + longer[number + 1 :] == shorter for number in range(len(longer)))


def _swapped(text: str, at: Sequence[int]) -> str:
    first, second = at
    return text[:first] + text[second] + text[first] + text[second + 1 :]
