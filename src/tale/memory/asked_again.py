"""Whether somebody asks again because the answer before was no good. Pure.

That is the one word about an answer's quality that a conversation gives by itself; the router
learns from it. Missing one costs little, and a wrong one teaches something false, so only what is
plain counts. Above: `conversation`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from difflib import SequenceMatcher
from typing import Final

__all__ = ["LastAsked", "asks_again"]

_LOOKED_AT: Final = 300
"""Characters that are compared; a long text that is sent again begins the same."""
_ALIKE: Final = 0.85
"""Similarity (Ratcliff and Obershelp) from which on two questions are the same one: a typo mended
or a word changed gives 0.9 and more, two questions of the same form 0.5 to 0.8."""
_SHORTEST: Final = 12
"""Characters; "thanks" and "go on" are often said twice."""
_COMPLAINT: Final = re.compile(
    r"(?:no[,.! ]+)?(?:that(?:'s| is|s)|this is|you(?:'re| are)) "
    r"(?:wrong|not (?:right|correct|true|what i (?:asked|meant|wanted))|incorrect|nonsense)\b"
    r"|(?:please )?(?:try|do it|answer|ask) again\b|wrong(?: answer)?[.!]*$"
    r"|(?:das|dies) (?:ist|stimmt) (?:falsch|nicht)\b|(?:noch ?mal|nochmals)[.!]*$"
    r"|c'est faux\b|r[ée]essaie\b|eso (?:es|est[áa]) (?:incorrecto|mal)\b",
    re.IGNORECASE,
)


class LastAsked:
    """What was asked last in each conversation, and what that request was called."""

    def __init__(self, most: int = 256) -> None:
        """`most` conversations are remembered, those that were heard of last."""
        self._most = most
        self._asked: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def note(self, session: str, text: str, request: str) -> str | None:
        """Take a request; gives the one before it where this one says that it failed."""
        before = self._asked.pop(session, None)
        self._asked[session] = (text, request)
        if len(self._asked) > self._most:
            self._asked.popitem(last=False)
        return before[1] if before and asks_again(before[0], text) else None


def asks_again(before: str, now: str) -> bool:
    """Tell whether a turn of the user's says that the answer to the turn before was no good.

    Args:
        before: What the user said then.
        now: What the user says now.
    """
    before, now = _plain(before), _plain(now)
    if _COMPLAINT.match(now):
        return True
    if min(len(before), len(now)) < _SHORTEST:
        return False
    matcher = SequenceMatcher(None, before, now, autojunk=False)
    return matcher.quick_ratio() >= _ALIKE and matcher.ratio() >= _ALIKE


def _plain(text: str) -> str:
    return " ".join(text[: 2 * _LOOKED_AT].lower().split())[:_LOOKED_AT]
