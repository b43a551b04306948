"""What the user says so plainly that it is noted by rule, at once and without a model. Pure.

"My name is …", "I prefer …", "remember that …", "we decided …", "from now on …". A rule takes whole
sentences, in the user's words; questions and what is pasted don't count. What no rule sees is left
to `distil`. Above: `hearing`, `conversation`. Below: `notes` (values), `words`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tale.memory.notes import Draft, Kind
from tale.memory.words import content_words, sentences, straight

__all__ = ["MOST_CHARACTERS", "only_tells", "plain_notes"]

MOST_CHARACTERS: Final = 300
"""Of a note: what is longer is no sentence that somebody would remember."""
_LOOKED_AT: Final = 4_000
"""Characters of a turn; what is longer was pasted."""
_FEWEST_WORDS: Final = 3
_LEAD: Final = re.compile(
    r"^(?:(?:hi|hello|hey|ok(?:ay)?|so|and|but|also|well|yes|no|by the way|btw|oh|actually|please"
    r"|thanks|tale)\b[,!:]?\s*)+",
    re.IGNORECASE,
)
_REMEMBER: Final = re.compile(
    r"^(?:please )?(?:remember|note|keep in mind|don't forget|do not forget)"
    r"(?: please)?(?:,| that\b|:)\s*(?P<what>.+)$",
    re.IGNORECASE,
)
_FENCE: Final = re.compile(r"```.*?(?:```|\Z)|^\s*>.*$", re.DOTALL | re.MULTILINE)
_HEDGE: Final = re.compile(
    r"^(?:if|when|suppose|imagine|should|could|would|what|how|why|is|are|do|does|can|translate"
    r"|write|make|say|pretend)\b",
    re.IGNORECASE,
)
"""How a sentence begins that supposes, asks or orders something rather than telling it."""


_AND_MORE: Final = re.compile(r"[,;:]|\b(?:please|so|but|fix|help|need|want)\b", re.IGNORECASE)
"""What a sentence has that goes on to ask: "our site is slow, fix it"."""


_NO_MORE_THAN_A_FACT: Final = re.compile(
    # What it is of, in few words: no "the goal is …", "the function is …" of somebody who wants it.
    r"^(?:the|our|my|his|her|their|\w+'s) (?!(?:\S+ ){0,7}(?:task|goal|aim|job|idea|plan|project"
    r"|request|exercise|requirement|step|input|output|result|format|feature|function|class|method"
    r"|script|program|app|site|page|bug|problem|issue|error|failure|test)s?\b)"
    r"(?:[\w'/-]+ ){1,8}?(?:is|are|was|were) (?:now |still |called |named |due |set to )?"
    # What it is: a name, a number or a code, which may stand behind "at" or "in".
    r"(?:(?:at|in|on|by|from|under|behind|for) (?:the )?)?"
    r"(?-i:[A-Z][\w'-]*|\"|'|`|\S*[\d/@_]\S*|\S+[.:]\S+)[^,;:]*$"
    # Or what nobody gives but to have it known.
    r"|^(?:\S+ ){1,4}?"
    r"(?:password|passphrase|passcode|pin|address|birthday|deadline|(?:user ?)?name)"
    r" (?:(?:of|for|to|in|at) (?:\S+ ){1,5}?)?(?:is|was) \S",
    re.IGNORECASE,
)
_TROUBLE: Final = re.compile(
    r"\b(?:but|instead|not|never|no longer|wrong|should|must|shall|expected|supposed|missing"
    r"|broken|fail\w*|slow|stuck|down|error\w*|bugs?|crash\w*|needs?|wants?|please|fix\w*|todo)\b"
    r"|n't\b",
    re.IGNORECASE,
)
"""What a sentence has that tells of something to be mended, rather than how it is."""


@dataclass(frozen=True, slots=True)
class _Rule:
    kind: Kind
    importance: float
    form: re.Pattern[str]


def _rule(kind: Kind, importance: float, form: str) -> _Rule:
    return _Rule(kind, importance, re.compile(form, re.IGNORECASE))


_I: Final = r"(?:i|we)"
_OF_RULES: Final = content_words("prefer love hate dislike decided agreed settled chose live work")
"""Words that say nothing without another: "I love this" is about something that nobody knows."""
_RULES: Final = (
    _rule(
        "fact",
        0.9,
        r"^(?:my (?:first |full )?name(?:'s| is)"
        r"|(?:just |please )?call me(?! (?:back|later|when|if|at|on|an?|crazy)\b)) \S",
    ),
    _rule("fact", 0.7, r"^i (?:now )?(?:live in|moved to|work (?:at|for|as|in)|come from) \S"),
    _rule("fact", 0.7, r"^(?:i am|i'm) (?:\d+ years old|allergic to|a vegetarian|vegan\b)"),
    _rule("fact", 0.6, r"^(?:my|our) (?:\S+ ){1,5}(?:is|are|lives?|works?) \S"),
    _rule(
        "preference",
        0.7,
        rf"^{_I} (?:(?:really|much|always|usually|strongly|now) )*"
        r"(?:prefer|love|hate|dislike|can't stand"
        r"|(?:do not|don't) (?:like|want you to)|like)\b(?! (?:to know|you to|it if)) \S",
    ),
    _rule("preference", 0.8, r"^(?:from now on|in (?:the )?future|going forward)\b[, ]*\S"),
    _rule("preference", 0.8, r"^(?:always|never) (?:use|answer|reply|write|call|give|show|ask)\b"),
    _rule(
        "decision",
        0.8,
        r"^(?:we|i|the team)(?:'ve| have)? (?:now |finally |just )?"
        r"(?:decided|agreed|settled|chose|have chosen)\b \S",
    ),
    _rule("decision", 0.7, r"^(?:we|i) no longer \S"),
    _rule(
        "decision",
        0.7,
        r"^(?:we|i) (?:don't|do not|won't|will not) [^.]{2,80} any ?(?:more|longer)\b",
    ),
    _rule("decision", 0.8, r"^(?:our|the|my) decision (?:is|was)\b \S"),
    _rule("decision", 0.7, r"^(?:let's|we(?:'ll| will)) (?:go with|use|stick with) \S"),
)


def plain_notes(text: str) -> tuple[Draft, ...]:
    """Give what a turn of the user's says plainly; nothing for most turns.

    Args:
        text: The turn.
    """
    if len(text) > _LOOKED_AT:
        return ()
    found: dict[str, Draft] = {}
    for sentence in sentences(_FENCE.sub("\n", straight(text))):
        if draft := _noted(sentence):
            found.setdefault(draft.text, draft)
    return tuple(found.values())


def only_tells(text: str) -> bool:
    """Tell whether each sentence of a turn only states something, and none can ask for work beside.

    That is one to note, or says in which name, number or code something has: "The wifi password of
    the cabin is blue-heron-42".

    Args:
        text: The turn.
    """
    if len(text) > _LOOKED_AT or _FENCE.search(text):
        return False
    said = sentences(straight(text))
    return bool(said) and all(map(_states, said))


def _states(sentence: str) -> bool:
    said = _LEAD.sub("", " ".join(sentence.split()))
    if _REMEMBER.match(said):
        return _noted(sentence) is not None
    if _AND_MORE.search(said):
        return False
    if _noted(sentence) is not None:
        return True
    if said.endswith("?") or len(said) > MOST_CHARACTERS or _TROUBLE.search(said):
        return False
    return _NO_MORE_THAN_A_FACT.match(said) is not None


def _noted(sentence: str) -> Draft | None:
    line = " ".join(sentence.split())
    if line.endswith("?") or len(line) > MOST_CHARACTERS:
        return None
    said = _LEAD.sub("", line)
    asked = _REMEMBER.match(said)
    if asked:
        said = asked["what"]
    if len(said.split()) < _FEWEST_WORDS or _HEDGE.match(said):
        return None
    rule = next((one for one in _RULES if one.form.match(said)), None)
    if asked:
        kind, importance = (rule.kind, rule.importance) if rule else ("fact", 0.0)
        return Draft(kind, _tidy(said), max(importance, 0.8))
    if rule is None or content_words(said) <= _OF_RULES:
        return None
    return Draft(rule.kind, _tidy(said), rule.importance)


def _tidy(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
