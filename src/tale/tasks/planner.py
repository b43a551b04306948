"""The planner: has a model split a request into parts, and mends these until they can be done.

It only decides; all it sees and asks goes through `Hands`, so a plan that a crash cut off comes out
the same. A faulty plan goes back with its faults; where that does not help, a plain one is made of
it, and the user is told. Above: `tasks.planning`, `tasks.plan_approval`. Below:
`tasks.plan_questions` (what is asked), `tasks.plan_answers` (what the answer means),
`tasks.plan_safe`, `tasks.plan_repair`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from tale.errors import ContextExceeded
from tale.tasks.hands import Hands, Question, Reply
from tale.tasks.plan_answers import Draft, checked, read_draft
from tale.tasks.plan_material import look, named_in
from tale.tasks.plan_questions import WINDOWS, Seen, Window, again, first_plan, repair_plan
from tale.tasks.plan_repair import another_try, left_of, needless_of, what_is_left
from tale.tasks.plan_safe import Faults, one_after_the_other, one_part
from tale.tasks.task import Step, Subtask, TokensSpent

__all__ = ["EdgeChange", "Planned", "Rules", "Settle", "Settled", "plan", "repair"]

_TRIES: Final = 3
"""Answers: the first, and two that know what was wrong with the one before."""
_CUT_OFF: Final = "The answer was cut off: give fewer parts, with shorter instructions."
_RAN_AWAY: Final = "The answer repeated itself without end."
_SEQUENCE: Final = (
    "The model gave no plan that can be worked on ({fault}), so its parts are done one after the "
    "other."
)
_WHOLE: Final = "The model gave no usable plan ({fault}), so the request is done in one part."
_ANOTHER_TRY: Final = (
    "The model gave no usable way around {part!r} ({fault}), so it is tried once more."
)


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
    """

    faults: Faults
    settle: Settle


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that can be worked on.

    Attributes:
        parts: Its parts; of a repair all that have not begun.
        reasoning: What the model thought before it planned, or its diagnosis.
        changes: What was changed in what it gave, each with its reason.
        notes: What the user was told.
        used: The files of the workspace that the plan rests on.
        replies: All answers, which count.
        dropped: Waiting parts that are needless now, by id, each with the reason.
    """

    parts: tuple[Subtask, ...]
    reasoning: str = ""
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    replies: tuple[Reply, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def usage(self) -> TokensSpent:
        """What all answers took."""
        return sum((each.usage for each in self.replies), TokensSpent())


async def plan(
    step: Step,
    hands: Hands,
    rules: Rules,
    *,
    request: str = "",
    rejected: Sequence[tuple[str, str]] = (),
) -> Planned:
    """Plan a request.

    Args:
        step: Where it is worked on, and for whom.
        hands: Who asks and looks.
        rules: What the plan has to satisfy.
        request: What is asked for, where that isn't the step's text.
        rejected: Earlier plans in short, each with the user's reason against it.

    Raises:
        TaleError: The model could not answer, or nobody could look at the workspace.
    """
    request = request or step.text
    seen = await look(request, hands)
    session = step.session or step.task

    def question(window: Window) -> Question:
        return first_plan(request, seen, window, session, rejected)

    def judge(answer: str) -> _Judged:
        draft = read_draft(answer, request, step.workspace)
        return _judged(draft, draft.parts, draft.faults, rules=rules, present=seen.files)

    best, replies = await _asked(hands, question, judge)
    notes: tuple[str, ...] = ()
    if best.faults:
        usable = one_after_the_other(
            best.draft.parts, rules.faults, request=request, present=seen.files
        )
        whole = usable == one_part(request)
        note = (_WHOLE if whole else _SEQUENCE).format(fault=best.faults[0].rstrip("."))
        await hands.note(note)
        usable, mended = checked(usable, seen.files)
        changes = (*best.draft.changes, *mended)
        notes, best = (note,), replace(best, parts=usable, changes=changes)
    used = _used(best, seen)
    return Planned(best.parts, best.draft.reasoning, best.changes, notes, used, replies)


async def repair(
    step: Step,
    hands: Hands,
    rules: Rules,
    parts: Sequence[Subtask],
    *,
    failed: str,
    why: str,
    request: str = "",
) -> Planned:
    """Plan anew what is not done of a plan in which a part has failed.

    Args:
        step: Where it is worked on, and for whom.
        hands: Who asks and looks.
        rules: What the plan has to satisfy.
        parts: The plan as it stands.
        failed: The id of the part that failed.
        why: What exactly went wrong.
        request: What was asked for, where that isn't the step's text.

    Raises:
        KeyError: There is no such part.
        TaleError: As above.
    """
    request = request or step.text
    left = left_of(parts, failed)
    seen = await look(f"{left.failed.text}\n{why}\n{' '.join(left.failed.writes)}", hands)
    session = step.session or step.task

    def question(window: Window) -> Question:
        return repair_plan(
            request, parts, left.failed, why, seen=seen, window=window, session=session
        )

    def judge(answer: str) -> _Judged:
        draft = read_draft(answer, request, step.workspace, there=left.ids, spent=left.spent)
        new, faults = what_is_left(left, draft)
        return _judged(draft, new, faults, rules=rules, present=seen.files, stays=left.stays)

    best, replies = await _asked(hands, question, judge)
    notes: tuple[str, ...] = ()
    why_needless = best.draft.reasoning or "it is needless now"
    dropped = dict.fromkeys(needless_of(left, best.draft), why_needless)
    if best.faults:
        dropped = {}
        fault = best.faults[0].rstrip(".")
        note = _ANOTHER_TRY.format(part=left.failed.title, fault=fault)
        await hands.note(note)
        notes, best = (note,), replace(best, parts=another_try(left, why), changes=())
    used = _used(best, seen)
    reasoning = best.draft.reasoning
    return Planned(best.parts, reasoning, best.changes, notes, used, replies, dropped)


@dataclass(frozen=True, slots=True)
class _Judged:
    """An answer, what was made of it, and what is wrong with that."""

    draft: Draft
    parts: tuple[Subtask, ...]
    changes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


async def _asked(
    hands: Hands, first: Callable[[Window], Question], judge: Callable[[str], _Judged]
) -> tuple[_Judged, tuple[Reply, ...]]:
    """Ask until an answer is faultless, at most `_TRIES` times; give the one with fewest faults."""
    replies: list[Reply] = []
    tried: list[_Judged] = []
    windows = list(WINDOWS)
    said, faults = "", tuple[str, ...]()
    while len(tried) < _TRIES:
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
        judged = judge(reply.text)
        if trouble := _RAN_AWAY if reply.ran_away else _CUT_OFF * (reply.finish == "length"):
            judged = replace(judged, faults=(trouble, *judged.faults))
        tried.append(judged)
        if not judged.faults:
            break
        said, faults = "" if reply.ran_away else reply.text, judged.faults
    # Of equals the later one, which knew what was wrong with those before.
    best = min(reversed(tried), key=lambda each: (not each.parts, len(each.faults)))
    return best, tuple(replies)


def _judged(
    draft: Draft,
    parts: Sequence[Subtask],
    faults: Sequence[str],
    *,
    rules: Rules,
    present: Collection[str],
    stays: Sequence[Subtask] | None = None,
) -> _Judged:
    """Put dependencies and checks straight, and say what is wrong then; a repair has `stays`."""
    if faults or not parts:
        return _Judged(draft, tuple(parts), draft.changes, tuple(faults))
    others = tuple(stays or ())
    settled = rules.settle((*others, *parts), present)
    whole, moved = tuple(settled.plan), tuple(settled.changes)
    if stays is not None:
        # Its edges lead to what took the place of something, of which no file may say so yet.
        before = {one.id: one.depends_on for one in parts}
        kept = tuple(_waits_too(one, before.get(one.id, ())) for one in whole)
        if not rules.faults(kept):
            whole, moved = kept, tuple(each for each in moved if each.added)
    whole, mended = checked(whole, present)
    fixed = {one.id for one in others}
    own = tuple(one for one in whole if one.id not in fixed)
    changes = (*draft.changes, *map(_in_words, moved), *mended)
    return _Judged(draft, own, changes, tuple(rules.faults((*others, *own))))


def _waits_too(part: Subtask, others: Sequence[str]) -> Subtask:
    return replace(part, depends_on=tuple(dict.fromkeys((*others, *part.depends_on))))


def _in_words(change: EdgeChange) -> str:
    waits = "now waits" if change.added else "no longer waits"
    return f"{change.part} {waits} for {change.other}: {change.reason}."


def _used(judged: _Judged, seen: Seen) -> tuple[str, ...]:
    """Name the files that are there and that the plan reads or speaks of."""
    reads = {path for one in judged.parts for path in one.reads}
    said = "\n".join(
        (judged.draft.reasoning, *(f"{one.text}\n{one.check}" for one in judged.parts))
    )
    spoken = set(named_in(said, seen.files))
    return tuple(path for path in seen.files if path in reads or path in spoken)
