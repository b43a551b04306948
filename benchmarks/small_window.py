"""How much of what bears an answer stands in 1,500 tokens, beside the last 1,500 of the talk.

The window has what is recalled for the question, as a chat recalls it, and of the rest of its room
the last turns. A turn that holds an answer counts where it stands in it, whole or to the point.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from typing import Final

from benchmarks.long_talks import LongTalk, Question
from benchmarks.report import Figure, Report
from tale.memory.finding import Found
from tale.memory.recall import CLEAR, recall, written
from tale.memory.relevance import Place
from tale.memory.sizes import sizes_of
from tale.memory.talk import estimate_tokens

__all__ = ["FOUND", "in_window", "tell"]

FOUND: Final = 20
"""Finds from which a chat recalls."""
_ROOM: Final = 1_500
_TIMES: Final = 3


def in_window(talk: LongTalk, question: Question, found: Sequence[Found]) -> frozenset[Place]:
    """Name the turns that stand in the window for a question.

    Args:
        talk: What was said.
        question: What is asked.
        found: What memory finds for it, with the turns beside.
    """
    lines = recall(question.text, found, tokens=sizes_of(_ROOM).recalled, least=CLEAR)
    left = _ROOM - estimate_tokens(written(lines)) if lines else _ROOM
    return frozenset((one.source, one.source_seq) for one in lines) | _last(talk, left)


def tell(
    report: Report, talks: Sequence[LongTalk], windows: Sequence[Sequence[frozenset[Place]]]
) -> None:
    """Report it, for all questions of all conversations."""
    plain = [[_last(talk, _ROOM)] * len(talk.questions) for talk in talks]
    ours, beside = _share(talks, windows), _share(talks, plain)
    report.add(
        Figure(
            f"evidence turns in a window of {_ROOM:,} tokens",
            ours,
            "%",
            f"≥ {_TIMES} times the last {_ROOM:,} tokens",
            ours >= _TIMES * beside,
            f"the last {_ROOM:,} tokens of talk",
            beside,
            sum(len(talk.questions) for talk in talks),
        )
    )


def _last(talk: LongTalk, tokens: int) -> frozenset[Place]:
    """Name the last turns that fit in so many tokens."""
    there: set[Place] = set()
    for turn in reversed(talk.turns):
        tokens -= estimate_tokens(f"{turn.speaker}: {turn.text}")
        if tokens < 0:
            break
        there.add((turn.session, turn.seq))
    return frozenset(there)


def _share(talks: Sequence[LongTalk], windows: Sequence[Sequence[Collection[Place]]]) -> float:
    """Give the share of the turns that hold an answer, the mean over all questions, in percent."""
    return 100 * statistics.fmean(
        len(question.evidence & frozenset(there)) / len(question.evidence)
        for talk, of_talk in zip(talks, windows, strict=True)
        for question, there in zip(talk.questions, of_talk, strict=True)
    )
