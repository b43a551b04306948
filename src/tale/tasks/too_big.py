"""Is a part of a plan too big to be done at once? Pure, at once, and asks no model.

What is weighed is known before it begins: how large its plan says it is, how many files it writes,
how many tokens such parts take, and whether its words would have a plan of their own made of them.
To split a part costs the model a minute or two, so in doubt it is left as it is. Above:
`tasks.splitting`. Below: `tasks.extent`, `models.budgets`.
"""

from __future__ import annotations

import re
from typing import Final

from tale.models.assess import assess
from tale.models.budgets import prior_length
from tale.tasks.durations import SIZE_FACTORS
from tale.tasks.extent import extent_of
from tale.tasks.task import Subtask, WorkKind

__all__ = ["expected_tokens", "too_big"]

_MOST_FILES: Final = 8
"""Files of one part from which it is split whatever else is said of it: the fences of more than
these are rarely all closed in one answer."""
_LARGE: Final = 4.0
"""Score of a part's words from which it is split: twice that of a request that is planned, since a
part names many things that others make."""
_FILE: Final = re.compile(r"[\w./-]*\w\.[A-Za-z]\w{0,4}\b")
"""Names of files: `store.py` is no store."""
_SPLIT: Final[frozenset[WorkKind]] = frozenset({"code", "write", "act", "transform"})
"""Kinds of which several parts can be made: a summary has no half."""


def expected_tokens(part: Subtask) -> float:
    """Say how long an answer is that has all of a part: each file is one more of its kind."""
    usual = prior_length(part.kind, assess(part.text).band).median
    return usual * SIZE_FACTORS[part.size] * max(1, len(part.writes))


def too_big(part: Subtask, answer: int) -> str:
    """Say why a part had better be done in several; empty where it is not too big.

    Args:
        part: The part.
        answer: Tokens that one answer of its model may have.
    """
    if part.kind not in _SPLIT:
        return ""
    if len(part.writes) > _MOST_FILES:
        return f"it writes {len(part.writes)} files"
    if part.size != "large":
        return ""
    expected = expected_tokens(part)
    if expected > answer:
        return (
            f"about {round(expected, -2):,.0f} tokens are expected, and one answer has {answer:,}"
        )
    extent = extent_of(_FILE.sub("it", part.text))
    return f"its plan calls it large: {extent.reason}" if extent.score >= _LARGE else ""
