"""The parts of a task: which plans can be worked on, and which part may begin now. Pure.

What is recorded about the parts is all that is needed to go on, so the next part follows from it
alone, before and after a crash. Above: `tasks.engine`, `servers.gateway`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Final

from tale.errors import PromptRejected
from tale.tasks.task import Subtask, check_prompt

__all__ = ["MAX_SUBTASKS", "check_plan", "instructions", "outcome_of", "ready"]

MAX_SUBTASKS: Final = 500
"""Parts of one task: more is a loop that should be inside one of them."""
_HINT: Final = "Each has an id of its own, a text, and in depends_on the ids of others."
_MAX_ID: Final = 64
_SHORT: Final = 1500
"""Characters of a part's result that those which depend on it are given: several of them fit in
the smallest window beside the work."""


def check_plan(plan: Sequence[Subtask]) -> tuple[Subtask, ...]:
    """Give the plan with its texts trimmed, if it can be worked on.

    Raises:
        PromptRejected: An id is missing, twice there or unknown, parts wait for each other, or a
            text is none.
    """
    if len(plan) > MAX_SUBTASKS:
        raise _rejected(f"The plan has {len(plan)} subtasks; at most {MAX_SUBTASKS} are taken.")
    ids = [one.id for one in plan]
    for one in ids:
        if not one or len(one) > _MAX_ID or not one.isprintable() or "." in one or " " in one:
            raise _rejected(
                f"{one[: _MAX_ID + 1]!r} can't be the id of a subtask: it has 1 to {_MAX_ID} "
                "characters, without spaces and dots."
            )
    if twice := sorted(one for one, count in Counter(ids).items() if count > 1):
        raise _rejected(f"Two subtasks have the id {twice[0]!r}.")
    known = set(ids)
    for one in plan:
        if unknown := [other for other in one.depends_on if other not in known]:
            raise _rejected(f"Subtask {one.id!r} depends on {unknown[0]!r}, which is not there.")
    try:
        TopologicalSorter({one.id: one.depends_on for one in plan}).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        raise _rejected(f"Subtasks wait for each other: {' → '.join(reversed(circle))}.") from error
    return tuple(
        Subtask(one.id, one.title.strip() or one.id, _text(one), one.depends_on) for one in plan
    )


def ready(plan: Mapping[str, Subtask], taken: Collection[str] = ()) -> list[Subtask]:
    """Name the parts that may begin: not done, not taken, and all that they need is done."""
    done = {one.id for one in plan.values() if one.state == "done"}
    return [
        one
        for one in plan.values()
        if one.id not in done and one.id not in taken and done.issuperset(one.depends_on)
    ]


def instructions(task: str, part: Subtask, plan: Mapping[str, Subtask]) -> str:
    """Say what a part's model is told: the part, what it belongs to, and the results it needs."""
    told = [part.text, f"This is one part of a larger task:\n{_short(task)}"]
    for needed in map(plan.__getitem__, part.depends_on):
        files = f"\nFiles: {', '.join(needed.files)}" if needed.files else ""
        told.append(f"Result of {needed.title!r}:\n{_short(needed.answer)}{files}")
    return "\n\n".join(told)


def outcome_of(plan: Sequence[Subtask]) -> tuple[str, tuple[str, ...]]:
    """Put together what a task gave whose parts are done: an answer, and the files.

    The answer is that of the parts on which no other depends.
    """
    needed = {other for one in plan for other in one.depends_on}
    last = [one for one in plan if one.id not in needed]
    if len(last) == 1:
        answer = last[0].answer
    else:
        answer = "\n\n".join(f"{one.title}\n{one.answer}" for one in last)
    return answer, tuple(dict.fromkeys(file for one in plan for file in one.files))


def _text(part: Subtask) -> str:
    try:
        return check_prompt(part.text)
    except PromptRejected as error:
        raise PromptRejected(f"Subtask {part.id!r}: {error.message}", hint=error.hint) from error


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[:_SHORT]} […]"


def _rejected(message: str) -> PromptRejected:
    return PromptRejected(message, hint=_HINT)
