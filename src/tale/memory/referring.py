"""Whether work that is handed over refers back, and what it takes along then. Pure.

"Do it again but in Rust" is nothing to whoever doesn't know what "it" is; the whole chat would bury
it. So a request that refers back takes along what it refers to, in short and quoted, behind the
request; one that says all by itself takes nothing. Above: `conversation`. Below: `quoting`,
`words`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tale.memory.quoting import middle_left_out, quoted
from tale.memory.talk import Said
from tale.memory.words import key_words, words
from tale.prompts import CARRIED

__all__ = ["Exchange", "apart", "exchanges", "referred_to", "refers_back", "with_context"]

_HEAD: Final = 300
"""Characters in which a request says what it is about; behind it stands material."""
_OWN_MATERIAL: Final = 600
"""Characters from which on a request brings along what it is about."""
_SHORT_WORDS: Final = 6
_LOOKED_AT: Final = 8
"""Exchanges; what was said before them is asked for by its name."""
_TAKEN: Final = 2
_BYTES: Final = 3000
"""Of all that is taken along: about 900 tokens, 18 seconds of the embedded task model's prefill."""

_AGAIN: Final = re.compile(
    r"\b(?:again|once more|the same\b|same (?:thing|way|as|but|for|with|in)|as (?:before|above)"
    r"|like (?:before|above|last time|the last|the first|the previous)|previous(?:ly)?|earlier"
    r"|the (?:last|first|second|other|latter|former) one|(?:another|a different) (?:one|way)"
    r"|the last (?:task|answer|result|version|script|program|file|thing|reply)|the above"
    r"|(?:you|we) (?:just |have |had |'ve )?"
    r"(?:made|wrote|written|said|suggested|proposed|mentioned|did|built|created|gave|discussed"
    r"|talked about|agreed|decided|described|listed|showed|planned)"
    r"|what (?:i|we|you) (?:said|told|discussed|agreed|decided|described)"
    r"|nochmals?|noch ?mal|dasselbe|wie (?:vorher|vorhin|oben)|encore une fois|comme avant"
    r"|la m[êe]me chose|otra vez|lo mismo)\b|\binstead[.!?]*$",
    re.IGNORECASE,
)
_PRONOUN: Final = re.compile(
    r"\b(?:it|its|that|this|them|those|these|they|both|das|es|ça|eso)\b(?!['\u2019]s (?:a|an)\b)",
    re.IGNORECASE,
)
_ITS_OWN: Final = re.compile(
    r"\b(?:an?|some|any|each|every|\d+|two|three|my|our|ein(?:e|en)?|une?)\s+[\w-]+"
    r"|\bthe\s+[\w-]+(?:\s+\w+){0,2}\s+(?:of|in|from|at|called|named|for)\s"
    r"|[\w-]+\.[a-z]{1,5}\b|[\w.-]+/[\w.-]+|[\"`\u201c]",
    re.IGNORECASE,
)
"""An object that the request itself brings, before the pronoun."""
_NO_PRONOUN: Final = re.compile(
    r"\b(?:so that|such that|that (?:is|are|has|have|can|will|does|do|takes?|gives?|returns?|reads?"
    r"|writes?|prints?|parses?|counts?|computes?|converts?|finds?|shows?|uses?|works?|lists?|\w+s)"
    r"|this (?:week|month|year|morning|evening|afternoon|machine|computer|folder|directory|text"
    r"|way)|make sure that|is it|it is (?:possible|ok)|it's (?:possible|ok))\b",
    re.IGNORECASE,
)
_POINTS_AHEAD: Final = re.compile(r"\b(?:this|these|following)\b[^\n]{0,60}:", re.IGNORECASE)
_GOES_ON: Final = re.compile(
    r"^\W*(?:please\s+)?(?:(?:and|but|also|now|then|ok|okay|so|yes|no|or)\b[\s,]*)+"
    r"|^\W*(?:in|as|with|without|for|only|just|shorter|longer|faster|simpler|better)\b",
    re.IGNORECASE,
)
_DEFINITE: Final = re.compile(r"\bthe\s+([a-z][\w-]{2,})", re.IGNORECASE)
_TO: Final = re.compile(r"\b(?:to|for|from|of|with|into|about|on)\s+$", re.IGNORECASE)
_AND: Final = re.compile(r"[.,;:]\s|\b(?:and|then|which|that)\b", re.IGNORECASE)
_FENCE: Final = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Something that was asked for, and what came of it.

    Attributes:
        seq: Number of the turn that asked.
        asked: What was said.
        answer: What tale said to it, where that was all.
        task: The task that it became.
        files: What that task wrote.
    """

    seq: int
    asked: str
    answer: str = ""
    task: str | None = None
    files: tuple[str, ...] = ()


def refers_back(text: str) -> bool:
    """Tell whether a request means something that was said or made before.

    Taking along too much costs seconds, too little the whole task; but what brings its own material
    (a fence, a long text, "this: …") is about that.
    """
    if len(text) > _OWN_MATERIAL or _FENCE.search(text) or _POINTS_AHEAD.search(text[:_HEAD]):
        return _AGAIN.search(text[: _HEAD // 2]) is not None and len(text) <= 4 * _OWN_MATERIAL
    line = " ".join(text.split())
    if _AGAIN.search(line):
        return True
    spared = _NO_PRONOUN.sub(lambda found: "_" * len(found[0]), line)
    pronoun = _PRONOUN.search(spared)
    if pronoun and _means_something_else(line[: pronoun.start()]):
        return True
    return len(line.split()) <= _SHORT_WORDS and _goes_on(line)


def exchanges(turns: Sequence[Said]) -> list[Exchange]:
    """Pair what the user asked with what tale said to it, oldest first."""
    found: list[Exchange] = []
    for position, turn in enumerate(turns):
        if turn.speaker != "user":
            continue
        reply = turns[position + 1] if position + 1 < len(turns) else None
        if reply is None or reply.speaker != "assistant":
            found.append(Exchange(turn.seq, turn.text))
        elif reply.task:
            found.append(Exchange(turn.seq, turn.text, task=reply.task))
        else:
            found.append(Exchange(turn.seq, turn.text, reply.text))
    return found


def referred_to(text: str, before: Sequence[Exchange]) -> list[Exchange]:
    """Choose what a request may mean: what came last, and what it names, oldest first.

    Args:
        text: The request.
        before: What was said before it, oldest first.
    """
    recent = list(before[-_LOOKED_AT:])
    if not recent:
        return []
    last = recent[-1]
    named = key_words(text).union(words(" ".join(_DEFINITE.findall(text))))
    chosen = [last]
    older = recent[:-1]
    if re.search(r"\b(?:again|once more|nochmals?|noch ?mal)\b", text, re.IGNORECASE):
        # What is done again was work.
        work = [one for one in recent if one.task]
        chosen += work[-1:]
    scored = [(len(named & key_words(f"{one.asked} {one.answer}")), one.seq) for one in older]
    best = max(scored, default=(0, 0))
    if best[0]:
        chosen += [one for one in older if one.seq == best[1]]
    picked = {one.seq: one for one in chosen}
    # The last one is always there, and the newest of the others.
    kept = sorted(picked)[-_TAKEN:]
    return [picked[seq] for seq in kept]


def with_context(text: str, means: Sequence[Exchange]) -> str:
    """Give a request with what it refers to behind it, quoted; as it is where that is nothing."""
    if not means:
        return text
    share = _BYTES // len(means)
    told: list[str] = []
    for one in means:
        lines = [f"user: {middle_left_out(one.asked.strip(), share // 2)}"]
        answer = middle_left_out(one.answer.strip(), share - share // 2)
        if answer:
            lines.append(f"{'result' if one.task else 'tale'}: {answer}")
        if one.files:
            lines.append(f"files: {', '.join(one.files[:20])}")
        told.append("\n".join(lines))
    return f"{text.rstrip()}\n\n{CARRIED}\n{quoted(told, 'data')}"


def apart(text: str) -> tuple[str, str]:
    """Divide a task's text into the request and what it took along; the second may be empty."""
    request, mark, context = text.partition(f"\n\n{CARRIED}\n")
    return (request, context) if mark else (text, "")


def _means_something_else(before: str) -> bool:
    """Tell from what stands before a pronoun whether it means nothing that the request brings."""
    if not _ITS_OWN.search(before):
        return True
    # "Add a README to it", but not "make a table and add rows to it".
    return bool(_TO.search(before)) and not _AND.search(before)


def _goes_on(line: str) -> bool:
    rest = _GOES_ON.sub("", line, count=1)
    return rest != line and not _ITS_OWN.search(rest)
