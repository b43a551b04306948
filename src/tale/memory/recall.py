"""What is recalled for a request: which finds, how much of each, and in which words. Pure.

It is quoted in front of the request and stays there word for word, so that what the model has
computed stays true; so it has to be little, and to the point. Where the best find isn't clearly
about the question nothing is recalled: a small model answers from whatever it is shown. Above:
`recalling`. Below: `particulars`, `quoting`, `talk`, `words`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from tale.memory import quoting
from tale.memory.finding import Found
from tale.memory.particulars import prose_sentences
from tale.memory.quoting import harmless, middle_left_out
from tale.memory.talk import estimate_tokens
from tale.memory.turns import Turn
from tale.memory.words import asks, key_words, only_asks

__all__ = ["CLEAR", "Recalled", "is_worth_a_look", "recall", "to_the_point", "written"]

CLEAR: Final = 1.0
"""Score from which on what was said surely has to do with the question."""
_LEAST_TOKENS: Final = 12
"""Less than the date, the speaker and a few words tells nothing."""
_LOOKED_AT: Final = 8_192
"""Bytes of a found turn in which its best sentences are looked for."""
_BYTES_PER_TOKEN: Final = 3
_NAMES: Final = {"assistant": "tale", "task": "task"}
"""How speakers are called; all others are the user."""
_OWNS_UP: Final = re.compile(
    r"\b(?:don't|do not|can't|cannot|couldn't) (?:know|have|find|recall|remember|see|tell)\b"
    r"|\b(?:not sure|no (?:idea|information|record|memory))\b",
    re.IGNORECASE,
)
"""How an answer reads that has none; a model that is shown it gives it again."""


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
    return bool(key_words(question[:_LOOKED_AT]))


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
        found: Finds, the best first, with the turns beside them.
        tokens: What it may take, marks included.
        least: Score that a find needs.
        shown: Conversation and number of the turns that the window has already.
        quoted: What the window has in front of them, and what was recalled for them.

    Returns:
        Lines for `written`, in the order of time.
    """
    left = _BYTES_PER_TOKEN * (tokens - estimate_tokens(quoting.quoted(["x"])))
    chosen: list[tuple[datetime, int, Recalled]] = []
    there: set[str] = set()
    for one in found:
        if one.score < least:
            break
        if one.place in shown:
            continue
        for turn in _exchange(question, one, one.place):
            if left < _BYTES_PER_TOKEN * _LEAST_TOKENS:
                break
            head = f"{turn.at:%Y-%m-%d} {_NAMES.get(turn.speaker, 'user')}: "
            said = to_the_point(question, turn.text, left - len(head) - 1)
            line = harmless(f"{head}{said}")
            if not said or said in there or harmless(said) in quoted or turn.place in shown:
                continue
            there.add(said)
            left -= len(line.encode()) + 1
            chosen.append((turn.at, turn.place[1], Recalled(*turn.place, line, one.score)))
    chosen.sort(key=lambda each: each[:2])
    return tuple(one for _, _, one in chosen)


def written(recalled: Sequence[Recalled]) -> str:
    """Write what was recalled as it stands in front of its turn."""
    return quoting.quoted([one.text for one in recalled])


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn that may be quoted."""

    place: tuple[str, int]
    speaker: str
    text: str
    at: datetime


def _exchange(question: str, found: Found, place: tuple[str, int]) -> Iterator[_Turn]:
    """Give a find and, where it says little without, the turn beside it; what tells more is first.

    A question that was asked before tells less than its answer. An answer may lack what it is
    about ("Blue."), which its question has.
    """
    speaker = "task" if found.task else found.speaker
    itself = _Turn(place, speaker, found.text, found.at)
    others = [one for one in found.around if one.speaker != found.speaker and one.task is None]
    before = next((_turn(one) for one in others if one.seq == place[1] - 1), None)
    after = next((_turn(one) for one in others if one.seq == place[1] + 1), None)
    wanted = key_words(question)
    if only_asks(found.text):
        if after is None:
            yield itself
        elif not _OWNS_UP.search(after.text):
            yield after
            if not wanted & key_words(found.text) <= key_words(after.text):
                yield itself
        return
    asked = prose_sentences(before.text)[-1:] if before else []
    answers = bool(asked) and asks(asked[0]) and bool(wanted & key_words(asked[0]))
    told = key_words(found.text)
    if told or answers:  # "thanks" tells nothing, and "yes" does
        yield itself
    if before and answers and not wanted & told:
        yield replace(before, text=asked[0])


def _turn(one: Turn) -> _Turn:
    return _Turn((one.session, one.seq), one.speaker, one.text, one.at)


def to_the_point(question: str, text: str, most: int) -> str:
    """Shorten a text to so many bytes: the sentences that have most to do with the question."""
    line = " ".join(text.split())
    if len(line.encode(errors="replace")) <= most:
        return line
    wanted = key_words(question)
    said = prose_sentences(middle_left_out(text, _LOOKED_AT))
    order = sorted(range(len(said)), key=lambda at: (-len(wanted & key_words(said[at])), at))
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
