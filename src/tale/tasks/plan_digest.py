"""Is what somebody answers what they saw, the very plan and the very question? Pure.

Above: `tasks.store`, which takes the user's word; `tasks.plan_approval`, which asks for it.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from tale.errors import TaskError

__all__ = ["check_asked", "check_seen", "difference", "digest_of"]

_MOST_LINES: Final = 40
"""Of a difference: what somebody reads in a terminal."""


def digest_of(plan: str) -> str:
    """Name a plan as it is written, so that another one has another name."""
    return hashlib.blake2s(plan.encode(errors="replace"), digest_size=8).hexdigest()


def difference(before: str, after: str) -> str:
    """Say what is different between two plans as they are written; empty where nothing is."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "then", "now", "", "", 1)
    return "\n".join(line.rstrip("\n") for line in lines)


def check_seen(seen: str, asked: Iterable[Mapping[str, object]]) -> None:
    """Make sure that a yes is to the plan that is asked about now.

    Args:
        seen: The digest of the plan that the user saw; empty where nobody says.
        asked: What was asked about the task, the newest first.

    Raises:
        TaskError: The plan has changed; it says how.
    """
    questions = list(asked)
    now: Mapping[str, object] = questions[0] if questions else {}
    if not seen or seen == now.get("digest"):
        return
    then = next((each for each in questions if each.get("digest") == seen), None)
    if not now.get("digest"):
        raise TaskError(
            "It no longer asks about a plan.", hint="`tale show ID` shows what it asks."
        )
    text = "The plan has changed since you saw it."
    if then is not None:
        lines = difference(str(then.get("detail", "")), str(now.get("detail", ""))).splitlines()
        more = [f"… and {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
        text = "\n".join([text, *lines[:_MOST_LINES], *more])
    raise TaskError(text, hint="Look at it again (`tale show ID`), and answer then.")


def check_asked(seen: str, asked: Iterable[Mapping[str, object]]) -> None:
    """Make sure that a word is on the question that is asked now.

    Args:
        seen: The id of the question that the user saw; empty where nobody says.
        asked: What was asked about the task, the newest first.

    Raises:
        TaskError: Another one is asked.
    """
    now = next(iter(asked), None)
    if seen and now is not None and seen != now.get("id"):
        raise TaskError(
            "What you saw has been answered already; it asks something else now.",
            hint="`tale show ID` shows what it asks.",
        )
