"""What is recalled for a request: which finds, how much of each, and in which words. Pure.

It is quoted in front of the request and stays there word for word, so that what the model has
computed stays true; so it has to be little, and to the point. Where the best find isn't clearly
about the question nothing is recalled: a small model answers from whatever it is shown. Above:
`recalling`. Below: `particulars`, `quoting`, `talk`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from tale.memory import quoting
from tale.memory.particulars import content_words, sentences
from tale.memory.quoting import harmless, middle_left_out
from tale.memory.talk import estimate_tokens

__all__ = [
    "CLEAR",
    "Found",
    "Memory",
    "Recalled",
    "is_worth_a_look",
    "recall",
    "to_the_point",
    "written",
]

CLEAR: Final = 1.0
"""Score from which on what was said surely has to do with the question."""
_LEAST_TOKENS: Final = 12
"""Less than the date, the speaker and a few words tells nothing."""
_LOOKED_AT: Final = 8_192
"""Bytes of a found turn in which its best sentences are looked for."""
_BYTES_PER_TOKEN: Final = 3
_NAMES: Final = {"assistant": "tale", "task": "task"}
"""How speakers are called; all others are the user."""


class Found(Protocol):
    """Something that was said, found for a question."""

    @property
    def session(self) -> str:
        """The conversation."""
        ...

    @property
    def seq(self) -> int:
        """The number of its turn there."""
        ...

    @property
    def speaker(self) -> str:
        """Who said it: the user, the assistant, or what came of a task."""
        ...

    @property
    def text(self) -> str:
        """What was said."""
        ...

    @property
    def at(self) -> datetime:
        """When."""
        ...

    @property
    def score(self) -> float:
        """How relevant it is; only comparable among the finds of one kind of search."""
        ...


class Memory(Protocol):
    """Who finds what was said."""

    async def find(self, question: str, *, limit: int, now: datetime) -> Sequence[Found]:
        """Find what has to do with a question, the best first; raises `tale.errors.TaleError`s."""
        ...


@dataclass(frozen=True, slots=True)
class Recalled:
    """A piece of memory as it stands in a window.

    Attributes:
        source: The conversation that it is from.
        source_seq: Its turn there.
        text: The line that is quoted.
        score: How relevant it was.
    """

    source: str
    source_seq: int
    text: str
    score: float


def is_worth_a_look(question: str) -> bool:
    """Tell whether a turn says anything that could be looked up: "thanks" doesn't."""
    return bool(content_words(question[:_LOOKED_AT]))


def recall(
    question: str,
    found: Iterable[Found],
    *,
    tokens: int,
    least: float,
    shown: Collection[tuple[str, int]] = (),
    quoted: str = "",
) -> tuple[Recalled, ...]:
    """Choose what is recalled for a question.

    Args:
        question: The request.
        found: Finds, the best first.
        tokens: What it may take, marks included.
        least: Score that a find needs.
        shown: Conversation and number of the turns that the window has already.
        quoted: What the window has in front of them, and what was recalled for them.

    Returns:
        Lines for `written`, in the order of time.
    """
    left = 3 * (tokens - estimate_tokens(quoting.quoted(["x"])))
    chosen: list[tuple[datetime, Recalled]] = []
    there: set[str] = set()
    for one in found:
        if one.score < least or left < _BYTES_PER_TOKEN * _LEAST_TOKENS:
            break
        if (one.session, one.seq) in shown:
            continue
        head = f"{one.at:%Y-%m-%d} {_NAMES.get(one.speaker, 'user')}: "
        said = to_the_point(question, one.text, left - len(head) - 1)
        line = harmless(f"{head}{said}")
        if not said or said in there or harmless(said) in quoted:
            continue
        there.add(said)
        left -= len(line.encode()) + 1
        chosen.append((one.at, Recalled(one.session, one.seq, line, one.score)))
    return tuple(one for _, one in sorted(chosen, key=lambda pair: pair[0]))


def written(recalled: Sequence[Recalled]) -> str:
    """Write what was recalled as it stands in front of its turn."""
    return quoting.quoted([one.text for one in recalled])


def to_the_point(question: str, text: str, most: int) -> str:
    """Shorten a text to so many bytes: the sentences that have most to do with the question."""
    line = " ".join(text.split())
    if len(line.encode(errors="replace")) <= most:
        return line
    wanted = content_words(question)
    said = sentences(middle_left_out(text, _LOOKED_AT))
    order = sorted(range(len(said)), key=lambda at: (-len(wanted & content_words(said[at])), at))
    kept: set[int] = set()
    left = most
    for at in order:
        cost = len(" ".join(said[at].split()).encode(errors="replace")) + 1
        if cost <= left:
            kept.add(at)
            left -= cost
    if kept:
        return " ".join(" ".join(said[at].split()) for at in sorted(kept))
    best = " ".join(said[order[0]].split()) if order else line
    return " ".join(middle_left_out(best, max(0, most)).split())
