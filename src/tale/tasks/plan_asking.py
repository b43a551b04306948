"""How plans are asked for: until an answer satisfies the rules of plans, or enough were given.

Above: `tasks.planner` (a plan, and one that is mended), `tasks.split_planner` (a part in parts).
Below: `tasks.plan_questions` (what is asked), `tasks.plan_answers` (what the answer means).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from tale.errors import ContextExceeded
from tale.tasks.hands import Hands, Question, Reply
from tale.tasks.part_checks import Runs, whatever
from tale.tasks.plan_answers import Draft, checked
from tale.tasks.plan_questions import WINDOWS, Window, again
from tale.tasks.plan_safe import Faults
from tale.tasks.task import Subtask

__all__ = ["EdgeChange", "Judged", "Rules", "Settle", "Settled", "asked", "judged"]

_TRIES: Final = 3
"""Answers: the first, and two that know what was wrong with the one before."""
_CUT_OFF: Final = "The answer was cut off: give fewer parts, with shorter instructions."
_RAN_AWAY: Final = "The answer repeated itself without end."


class EdgeChange(Protocol):
    """That a part now waits for another, or no longer does, and why."""

    @property
    def part(self) -> str:
        """Who waits, or waited."""
        ...

    @property
    def other(self) -> str:
        """For whom."""
        ...

    @property
    def added(self) -> bool:
        """Whether it waits now."""
        ...

    @property
    def reason(self) -> str:
        """Why, for the user."""
        ...


class Settled(Protocol):
    """A plan whose dependencies fit what its parts read and write."""

    @property
    def plan(self) -> Sequence[Subtask]:
        """The parts."""
        ...

    @property
    def changes(self) -> Sequence[EdgeChange]:
        """What was changed for that."""
        ...


Settle = Callable[[Sequence[Subtask], Collection[str]], Settled]
"""Adds the dependencies that a plan needs and drops those it doesn't, given the files that are
there."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a plan has to satisfy.

    Attributes:
        faults: Says what is wrong with one.
        settle: Puts its dependencies straight.
        runs: Tells of a command's words whether the machine has what it runs, for checks.
    """

    faults: Faults
    settle: Settle
    runs: Runs = whatever


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer, and what comes of it.

    Attributes:
        draft: What the model answered.
        parts: What was made of that.
        changes: What was changed for it, each with its reason.
        faults: What is wrong with it, for the model.
    """

    draft: Draft
    parts: tuple[Subtask, ...]
    changes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


async def asked(
    hands: Hands,
    first: Callable[[Window], Question],
    judge: Callable[[str, int], Judged],
    tries: int = _TRIES,
) -> tuple[Judged, tuple[Reply, ...]]:
    """Ask until an answer is faultless; give the one with the fewest faults, and all answers.

    Args:
        hands: Who asks.
        first: Gives the question that goes into a window.
        judge: Says what an answer means, and what is wrong with it; told how many came before.
        tries: How often it is asked at most.

    Raises:
        ContextExceeded: The question goes into no window of the model's.
        TaleError: The model could not answer.
    """
    replies: list[Reply] = []
    tried: list[Judged] = []
    windows = list(WINDOWS)
    said, faults = "", tuple[str, ...]()
    while len(tried) < tries:
        question = first(windows[0])
        if faults:
            question = again(question, said, faults, windows[0])
        try:
            reply = await hands.ask(question)
        except ContextExceeded:
            if len(windows) == 1:
                raise
            windows.pop(0)
            continue
        replies.append(reply)
        judged = judge(reply.text, len(tried))
        if trouble := _RAN_AWAY if reply.ran_away else _CUT_OFF * (reply.finish == "length"):
            judged = replace(judged, faults=(trouble, *judged.faults))
        tried.append(judged)
        if not judged.faults:
            break
        said, faults = "" if reply.ran_away else reply.text, judged.faults
    # Of equals the later one, which knew what was wrong with those before.
    best = min(reversed(tried), key=lambda each: (not each.parts, len(each.faults)))
    return best, tuple(replies)


def judged(
    draft: Draft,
    parts: Sequence[Subtask],
    faults: Sequence[str],
    *,
    rules: Rules,
    present: Collection[str],
    stays: Sequence[Subtask] | None = None,
) -> Judged:
    """Put dependencies and checks straight, and say what is wrong then.

    Args:
        draft: What the model answered.
        parts: What was made of it.
        faults: What is wrong with that already.
        rules: What a plan has to satisfy.
        present: Files that are there.
        stays: Of a plan that is mended, what goes on beside them as it is.
    """
    if faults or not parts:
        return Judged(draft, tuple(parts), draft.changes, tuple(faults))
    others = tuple(stays or ())
    settled = rules.settle((*others, *parts), present)
    whole, moved = tuple(settled.plan), tuple(settled.changes)
    if stays is not None:
        # Its edges lead to what took the place of something, of which no file may say so yet.
        before = {one.id: one.depends_on for one in parts}
        kept = tuple(_waits_too(one, before.get(one.id, ())) for one in whole)
        if not rules.faults(kept):
            whole, moved = kept, tuple(each for each in moved if each.added)
    whole, mended = checked(whole, present, rules.runs)
    fixed = {one.id for one in others}
    own = tuple(one for one in whole if one.id not in fixed)
    changes = (*draft.changes, *map(_in_words, moved), *mended)
    return Judged(draft, own, changes, tuple(rules.faults((*others, *own))))


def _waits_too(part: Subtask, others: Sequence[str]) -> Subtask:
    return replace(part, depends_on=tuple(dict.fromkeys((*others, *part.depends_on))))


def _in_words(change: EdgeChange) -> str:
    waits = "now waits" if change.added else "no longer waits"
    return f"{change.part} {waits} for {change.other}: {change.reason}."
