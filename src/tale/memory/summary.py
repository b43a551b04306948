"""Summaries of a conversation: what is summed up next, what is asked for, and what is kept of it.

Pure. Chunks of turns are summed up, and summaries of summaries. A model writes sentences; names,
numbers, code and decisions are found without it, taken out of its sentences where nobody said them
and added where it left them out. So the worst model loses only what holds the story together.
Above: `summarising` (has them written), `summaries` (keeps them), `windows` (sends them). Below:
`particulars`, `talk`, `words`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tale.memory.particulars import (
    Kind,
    Particular,
    is_told,
    particulars,
    prose_sentences,
    unknown,
)
from tale.memory.quoting import quoted
from tale.memory.talk import Said, estimate_tokens, fitting
from tale.memory.words import key_words
from tale.models.backend import Message
from tale.prompts import SUMMARY_SYSTEM

__all__ = [
    "FAN",
    "Summary",
    "cover",
    "merged",
    "next_chunk",
    "next_merge",
    "rolling",
    "summed_up",
    "to_merge",
    "to_sum_up",
]

FAN: Final = 4
"""Summaries of which one more general is made."""
_CHUNK_TURN: Final = 2
"""One part in so many of a chunk is the most that one turn has of it."""
_ASKED: Final = "Sum it up."
_HEADS: Final[dict[Kind, str]] = {
    "decision": "Decided",
    "number": "Figures",
    "name": "Names",
    "code": "Code",
}
_PROSE_SHARE: Final = 3
"""One part in so many of a rolling summary is what its sentences have, at most."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What turns `first` to `last` of a conversation were about.

    Attributes:
        level: 0 for one of turns, else one more than those that it was made of.
        prose: The model's sentences; may be empty.
        kept: Every name, number, identifier and decision in the turns.
    """

    first: int
    last: int
    level: int
    prose: str
    kept: tuple[Particular, ...] = ()


def next_chunk(
    turns: Sequence[Said], done: Iterable[Summary], *, before: int, tokens: int
) -> tuple[Said, ...]:
    """Choose the turns that are summed up next; none where all before that number are.

    Args:
        turns: The conversation, oldest first.
        done: The summaries that there are.
        before: Number of the turn that the window will begin with.
        tokens: About how many are summed up at a time.
    """
    spans = [(one.first, one.last) for one in done if one.level == 0]
    chunk: list[Said] = []
    used = 0
    for turn in turns:
        if turn.seq >= before:
            break
        if any(first <= turn.seq <= last for first, last in spans):
            if chunk:
                break
            continue
        chunk.append(turn)
        used += min(estimate_tokens(turn.text), tokens // _CHUNK_TURN)
        if used >= tokens and turn.speaker == "assistant":
            break
    return tuple(chunk)


def next_merge(done: Iterable[Summary]) -> tuple[Summary, ...]:
    """Choose the summaries of which a more general one is made next; none where too few are."""
    there = sorted(done, key=lambda one: one.first)
    for level in range(1 + max((one.level for one in there), default=-1)):
        above = [one for one in there if one.level > level]
        run: list[Summary] = []
        for one in there:
            if one.level > level:
                run = []
            elif one.level == level and not any(_within(one, wide) for wide in above):
                run.append(one)
                if len(run) == FAN:
                    return tuple(run)
    return ()


def to_sum_up(turns: Sequence[Said], tokens: int) -> tuple[Message, ...]:
    """Give the prompt for a summary of turns, which are quoted.

    Args:
        turns: Those of a chunk.
        tokens: What `next_chunk` was given.
    """
    told = [
        f"{'tale' if turn.speaker == 'assistant' else 'user'}: "
        f"{' '.join(fitting(turn.text, tokens // _CHUNK_TURN).split())}"
        for turn in turns
    ]
    return _asking(told)


def to_merge(parts: Sequence[Summary]) -> tuple[Message, ...]:
    """Give the prompt for a summary of summaries."""
    return _asking([part.prose for part in parts])


def summed_up(turns: Sequence[Said], answer: str) -> Summary:
    """Make a summary of turns out of what a model answered."""
    texts = [turn.text for turn in turns]
    found = particulars(texts)
    return Summary(turns[0].seq, turns[-1].seq, 0, _grounded(answer, texts), found)


def merged(parts: Sequence[Summary], answer: str) -> Summary:
    """Make a summary of summaries out of what a model answered."""
    kept = {(one.kind, one.key): one for part in parts for one in part.kept}
    known = [part.prose for part in parts] + [one.text for one in kept.values()]
    return Summary(
        parts[0].first,
        parts[-1].last,
        max(part.level for part in parts) + 1,
        _grounded(answer, known) or " ".join(part.prose for part in parts[-1:]),
        tuple(kept.values()),
    )


def cover(done: Iterable[Summary], *, before: int) -> tuple[Summary, ...]:
    """Choose the most general summaries of all that was said before a turn, oldest first."""
    chosen: list[Summary] = []
    for one in sorted(done, key=lambda one: (one.first, -one.last, -one.level)):
        if one.last < before and (not chosen or one.first > chosen[-1].last):
            chosen.append(one)
    return tuple(chosen)


def rolling(parts: Sequence[Summary], tokens: int) -> str:
    """Write what a window tells of what was said before it, in at most so many tokens.

    The sentences come first, then what they don't tell of the names, numbers, code and decisions.
    Where there is too much of both, what was said last is kept.

    Args:
        parts: As `cover` gave them.
        tokens: As `talk.estimate_tokens` counts.
    """
    budget = 3 * max(0, tokens - 1)
    said = [part.prose for part in parts if part.prose]
    short = _last_of(said, budget // _PROSE_SHARE)
    missing = _missing(parts, short)
    # What the lists don't need is the sentences' again.
    spare = budget - _bytes(_lists(missing)) - 1
    prose = _last_of(said, max(budget // _PROSE_SHARE, spare))
    missing = _missing(parts, prose)
    left = budget - _bytes(prose) - 1
    while missing and _bytes(_lists(missing)) > left:
        missing = missing[1 + len(missing) // 16 :]
    return "\n".join(filter(None, (prose, _lists(missing))))


def _within(one: Summary, wide: Summary) -> bool:
    return wide.first <= one.first and one.last <= wide.last


def _asking(told: Sequence[str]) -> tuple[Message, ...]:
    return (
        Message("system", SUMMARY_SYSTEM),
        Message("user", f"{quoted(told, 'data')}\n\n{_ASKED}"),
    )


def _grounded(answer: str, source: Sequence[str]) -> str:
    """Give the sentences of an answer that name nothing which the source doesn't."""
    kept: list[str] = []
    for sentence in prose_sentences(answer):
        line = " ".join(sentence.split())
        new = key_words(line) and not any(line in other for other in kept)
        if new and not unknown(f"{line} ", source):
            kept.append(line)
    return " ".join(kept)


def _missing(parts: Sequence[Summary], prose: str) -> list[Particular]:
    """Give what sentences don't tell, once each, what was said first coming first."""
    kept: dict[tuple[Kind, str], Particular] = {}
    for part in parts:
        for one in part.kept:
            # What is said again is remembered as long as what was said last.
            kept.pop((one.kind, one.key), None)
            kept[one.kind, one.key] = one
    missing = [one for one in kept.values() if not is_told(one, prose)]
    decided = "\n".join(one.text for one in missing if one.kind == "decision")
    return [one for one in missing if one.kind == "decision" or not is_told(one, decided)]


def _lists(found: Sequence[Particular]) -> str:
    lines: list[str] = []
    for kind, head in _HEADS.items():
        texts = [one.text for one in found if one.kind == kind]
        if texts:
            separator = " | " if kind == "decision" else "; " if kind == "number" else ", "
            lines.append(f"{head}: {separator.join(texts)}")
    return "\n".join(lines)


def _last_of(said: Sequence[str], most: int) -> str:
    """Give the last sentences of so many bytes."""
    kept: list[str] = []
    left = most
    for sentence in reversed([one for text in said for one in prose_sentences(text)]):
        left -= _bytes(sentence) + 1
        if left < 0:
            break
        kept.append(sentence)
    return " ".join(reversed(kept))


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))
