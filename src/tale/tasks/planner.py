"""The planner: has a model split a request into parts, and mends these until they can be done.

It only decides; all it sees and asks goes through `Hands`, so a plan that a crash cut off comes out
the same. A faulty plan goes back with its faults; where that does not help, a plain one is made of
it, and the user is told. Above: `tasks.planning`, `tasks.plan_approval`. Below:
`tasks.plan_asking` (how it is asked for), `tasks.plan_safe`, `tasks.plan_repair`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tale.tasks.hands import Hands, Question, Reply
from tale.tasks.plan_answers import checked, read_draft, without_strangers
from tale.tasks.plan_asking import Judged, Rules, asked, judged
from tale.tasks.plan_material import look, named_in
from tale.tasks.plan_memory import Remembered, claimed, in_words
from tale.tasks.plan_questions import Seen, Window, first_plan, repair_plan
from tale.tasks.plan_repair import another_try, left_of, needless_of, what_is_left
from tale.tasks.plan_safe import one_after_the_other, one_part
from tale.tasks.task import Step, Subtask, TokensSpent

__all__ = ["Planned", "Rules", "plan", "repair"]

_SEQUENCE: Final = (
    "The model gave no plan that can be worked on ({fault}), so its parts are done one after the "
    "other."
)
_WHOLE: Final = "The model gave no usable plan ({fault}), so the request is done in one part."
_ANOTHER_TRY: Final = (
    "The model gave no usable way around {part!r} ({fault}), so it is tried once more."
)


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
        remembered: What is remembered that the plan rests on, each as the user is told it.
    """

    parts: tuple[Subtask, ...]
    reasoning: str = ""
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    replies: tuple[Reply, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict[str, str])
    remembered: tuple[str, ...] = ()

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
    memory: tuple[Remembered, ...] = (),
) -> Planned:
    """Plan a request.

    Args:
        step: Where it is worked on, and for whom.
        hands: Who asks and looks.
        rules: What the plan has to satisfy.
        request: What is asked for, where that isn't the step's text.
        rejected: Earlier plans in short, each with the user's reason against it.
        memory: What is remembered that may matter to it.

    Raises:
        TaleError: The model could not answer, or nobody could look at the workspace.
    """
    request = request or step.text
    seen = replace(await look(request, hands), memory=memory)
    session = step.session or step.task

    def question(window: Window) -> Question:
        return first_plan(request, seen, window, session, rejected)

    def judge(answer: str, before: int) -> Judged:
        draft = read_draft(answer, request, step.workspace, present=seen.files)
        if before:  # told once that there is no such part, a small model says so again
            draft = without_strangers(draft)
        return judged(draft, draft.parts, draft.faults, rules=rules, present=seen.files)

    best, replies = await asked(hands, question, judge)
    notes: tuple[str, ...] = ()
    remembered = _remembered(best, seen)
    if best.faults:
        usable = one_after_the_other(
            best.draft.parts, rules.faults, request=request, present=seen.files
        )
        whole = usable == one_part(request)
        remembered = () if whole else remembered
        note = (_WHOLE if whole else _SEQUENCE).format(fault=best.faults[0].rstrip("."))
        await hands.note(note)
        usable, mended = checked(usable, seen.files, rules.runs)
        changes = (*best.draft.changes, *mended)
        notes, best = (note,), replace(best, parts=usable, changes=changes)
    used, thought = _used(best, seen), best.draft.reasoning
    return Planned(best.parts, thought, best.changes, notes, used, replies, remembered=remembered)


async def repair(
    step: Step,
    hands: Hands,
    rules: Rules,
    parts: Sequence[Subtask],
    *,
    failed: str,
    why: str,
    request: str = "",
    memory: tuple[Remembered, ...] = (),
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
        memory: As above.

    Raises:
        KeyError: There is no such part.
        TaleError: As above.
    """
    request = request or step.text
    left = left_of(parts, failed)
    seen = await look(f"{left.failed.text}\n{why}\n{' '.join(left.failed.writes)}", hands)
    seen = replace(seen, memory=memory)
    session = step.session or step.task

    def question(window: Window) -> Question:
        return repair_plan(
            request, parts, left.failed, why, seen=seen, window=window, session=session
        )

    def judge(answer: str, before: int) -> Judged:
        del before
        draft = read_draft(answer, request, step.workspace, there=left.ids, spent=left.spent)
        new, faults = what_is_left(left, draft)
        return judged(draft, new, faults, rules=rules, present=seen.files, stays=left.stays)

    best, replies = await asked(hands, question, judge)
    notes: tuple[str, ...] = ()
    why_needless = best.draft.reasoning or "it is needless now"
    dropped = dict.fromkeys(needless_of(left, best.draft), why_needless)
    remembered = _remembered(best, seen)
    if best.faults:
        dropped, remembered = {}, ()
        fault = best.faults[0].rstrip(".")
        note = _ANOTHER_TRY.format(part=left.failed.title, fault=fault)
        await hands.note(note)
        notes, best = (note,), replace(best, parts=another_try(left, why), changes=())
    used = _used(best, seen)
    reasoning = best.draft.reasoning
    return Planned(best.parts, reasoning, best.changes, notes, used, replies, dropped, remembered)


def _used(judged: Judged, seen: Seen) -> tuple[str, ...]:
    """Name the files that are there and that the plan reads or speaks of."""
    reads = {path for one in judged.parts for path in one.reads}
    said = "\n".join(
        (judged.draft.reasoning, *(f"{one.text}\n{one.check}" for one in judged.parts))
    )
    spoken = set(named_in(said, seen.files))
    return tuple(path for path in seen.files if path in reads or path in spoken)


def _remembered(judged: Judged, seen: Seen) -> tuple[str, ...]:
    """Name what is remembered that the plan says it rests on."""
    return tuple(map(in_words, claimed(judged.draft.uses, seen.memory)))
