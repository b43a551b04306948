"""What a note is about, and whether a newer one takes its place. Pure.

Two notes are about the same thing where the words that name it are the same: "My deadline is
Friday" and "the deadline is on Monday". Or the newer one names what it replaces: "we use PostgreSQL
instead of SQLite". Where that isn't plain they are about two things, and both hold: a note too many
does less harm than one that is taken for outdated. Above: `notes`. Below: `words`.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from tale.memory.words import content_words, straight

__all__ = ["About", "replaced_in", "subject_of", "supersedes"]

_MEASURE: Final = 40
"""Characters of a subject's name; what is longer is a sentence."""
_MOST_WORDS: Final = 5
_MINE: Final = r"(?:my|our|the|his|her|their|(?:the )?user's)"
_FORMS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), subject)
    for pattern, subject in (
        (r"\b(?:call me|my (?:first )?name(?: is|'s)|(?:the )?user's name is)\b", "my name"),
        (r"\b(?:i|user) (?:now )?lives? in\b|\bi (?:have )?moved to\b", "my home"),
        (r"\b(?:i|user) (?:now )?works? (?:at|for)\b", "my employer"),
        (r"\b(?:i|user) (?:now )?works? as\b", "my profession"),
        (r"\b(?:i am|i'm|user is) \d+ years old\b", "my age"),
        (r"\bmy birthday is\b", "my birthday"),
    )
)
"""What is said in so many ways, each with what it is about: no key of other words has "my"."""
_IS: Final = re.compile(
    rf"(?:^|[,.;:]|\b(?:that|and|decided|remember)\b)\s*{_MINE}"
    rf"\s+(?P<what>[^.,;:!?]{{2,{_MEASURE}}}?)"
    r"\s+(?:is|are|was|will be)\s+(?:now\s+)?"
    r"(?P<how>called|named|due|scheduled|planned|set|held|born|on)?",
    re.IGNORECASE,
)
_USE: Final = re.compile(
    rf"\b(?:use[sd]?|(?:go|stick) with)\b[^.,;:!?]{{1,{_MEASURE}}}?\b(?:for|as)"
    rf"\s+(?P<what>[^.,;:!?]{{2,{_MEASURE}}})",
    re.IGNORECASE,
)
_ALIKE: Final = {"called": "name", "named": "name", "on": "", "scheduled": "due", "planned": "due"}
_REPLACED: Final = re.compile(
    r"(?:\b(?:instead of|rather than|in place of|no longer|not)|n't)"
    rf"\s+(?P<what>[^.,;:!?]{{2,{_MEASURE}}}?)"
    r"(?=\s+(?:any ?more|any longer|but|for|as|and)\b|[.,;:!?]|$)",
    re.IGNORECASE,
)
_NOT_ANY_MORE: Final = re.compile(
    r"(?:\bnot|n't)\b[^.,;:!?]{1,60}\bany ?(?:more|longer)\b", re.IGNORECASE
)


class About(Protocol):
    """A note, as far as the judgement looks at it."""

    @property
    def kind(self) -> str:
        """Fact, preference or decision."""
        ...

    @property
    def text(self) -> str:
        """What it says."""
        ...

    @property
    def subject(self) -> str:
        """As `subject_of` gave it."""
        ...

    @property
    def replaces(self) -> str:
        """As `replaced_in` gave it."""
        ...


def subject_of(text: str, said: str = "") -> str:
    """Say what a note is about, in words that can be compared; empty where that isn't plain.

    Args:
        text: The note.
        said: What a model said it is about; taken where the note itself has a form that is not
            known, and where two of its words at least stand in the note.
    """
    text = straight(text)
    for pattern, subject in _FORMS:
        if pattern.search(text):
            return subject
    for form in (_IS, _USE):
        if found := form.search(text):
            how = (found.groupdict().get("how") or "").lower()
            key = _key(found["what"], _ALIKE.get(how, how))
            if key and key.count(" ") < _MOST_WORDS:
                return key
    named = content_words(said) & content_words(text)
    return " ".join(sorted(named)) if 2 <= len(named) <= _MOST_WORDS else ""


def replaced_in(text: str) -> str:
    """Give the words of what a note says to hold no longer; empty where it says no such thing."""
    text = straight(text)
    found = _REPLACED.search(text)
    if not found:
        return ""
    if found[0].lower().startswith(("not", "n't")) and not _NOT_ANY_MORE.search(text):
        return ""
    return _key(found["what"])


def supersedes(newer: About, older: About) -> bool:
    """Tell whether a note takes the place of one that was said before it.

    Args:
        newer: The one that was said later.
        older: The one that was said earlier.
    """
    if newer.subject and newer.subject == older.subject:
        return True
    gone = newer.replaces.split()
    return (
        bool(gone)
        and (newer.kind == older.kind or len(gone) > 1)
        and set(gone) <= content_words(older.text) - set(older.replaces.split())
    )


def _key(*parts: str) -> str:
    return " ".join(sorted(content_words(" ".join(parts))))
