"""What came of a task, and how it reads as a note. Pure.

In whole sentences, so that whoever has room for a part of it only can choose among them. Above:
`remembering`. Below: `referring`, which knows what a request took along.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from tale.clipped import clipped
from tale.memory.referring import apart

__all__ = ["Result", "ResultPage", "Results", "Verdict", "asked_in", "in_words"]

_REQUEST: Final = 240
_ANSWER: Final = 300
_SAID: Final = 160
_QUESTION: Final = 120
"""Characters of each: with the rest a note of some 300 tokens at most."""
_MOST: Final = 8
"""Files, and titles of parts."""
_MOST_SAID: Final = 3
_FENCE: Final = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_TURN: Final = re.compile(r"/([1-9][0-9]{0,8})\Z")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the user was asked of a task, and what they said.

    Attributes:
        plan: Whether it was about its plan.
        asked: The question; empty where it was about its plan.
        yes: Whether they agreed.
        said: Their words beside that.
    """

    plan: bool
    asked: str
    yes: bool
    said: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """A task that has ended.

    Attributes:
        number: Which one it was.
        text: What was asked for.
        at: When it ended.
        key: Names its submission.
        session: The conversation that it came from.
        error: Why it failed.
        parts: Titles of what was done of its plan.
        verdicts: What the user said meanwhile, in order.
    """

    number: int
    task: str
    text: str
    state: Literal["done", "failed", "cancelled"]
    at: datetime
    key: str | None = None
    session: str | None = None
    answer: str = ""
    files: tuple[str, ...] = ()
    error: str = ""
    parts: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class ResultPage:
    """Some results, in order; `through` is the number of the last that was looked at."""

    results: Sequence[Result]
    through: int


class Results(Protocol):
    """Who tells what came of tasks."""

    async def results(self, after: int, wait: float) -> ResultPage:
        """Give the first results after the one of a number, waiting some seconds for one.

        Raises:
            TaleError: Nobody is there to tell them.
        """
        ...


def asked_in(result: Result) -> int | None:
    """Give the number of the turn that asked for it; None where no turn of a conversation did."""
    if result.session is None or result.key is None:
        return None
    found = _TURN.search(result.key)
    return int(found[1]) if found and result.key == f"{result.session}{found[0]}" else None


def in_words(result: Result) -> str:
    """Say what was asked for, and what came of it, in one line."""
    return " ".join(_sentences(result))


def _sentences(result: Result) -> Iterator[str]:
    yield f"The user asked for “{clipped(apart(result.text)[0], _REQUEST)}”."
    if result.state == "failed":
        yield f"It failed: {clipped(result.error, _ANSWER)}".rstrip(" .:") + "."
    elif result.state == "cancelled":
        yield "The user cancelled it."
    elif answer := clipped(_FENCE.sub(" ", result.answer), _ANSWER):
        yield f"It is done: {answer}".rstrip(".") + "."
    else:
        yield "It is done."
    if result.files:
        yield f"It wrote {_listed(result.files, ', ')}."
    if result.parts:
        yield f"Its parts were {_listed(result.parts, '; ')}."
    # What was only agreed to is told of plans alone: a yes to a command decides nothing further.
    told = [one for one in result.verdicts if one.said or one.plan]
    for verdict in told[-_MOST_SAID:]:
        yield _in_a_sentence(verdict)


def _in_a_sentence(verdict: Verdict) -> str:
    said = clipped(verdict.said, _SAID).rstrip(".")
    after = f": {said}." if said else "."
    if verdict.plan:
        return f"The user {'agreed to its plan' if verdict.yes else 'did not want a plan'}{after}"
    asked = clipped(verdict.asked, _QUESTION)
    return f"Asked “{asked}” the user said {'yes' if verdict.yes else 'no'}{after}"


def _listed(names: Sequence[str], between: str) -> str:
    more = len(names) - _MOST
    shown = between.join(clipped(one, _QUESTION) for one in names[:_MOST])
    return f"{shown} and {more} more" if more > 0 else shown
