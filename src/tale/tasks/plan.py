"""The parts of a task: which plans can be worked on, and which part may begin now. Pure.

What is recorded about the parts is all that is needed to go on, so the next part follows from it
alone, before and after a crash. Parts whose ids begin with `+` are tale's own: `+plan` plans,
`+repair-N` plans anew what failed, `+split-ID` makes several of one that is too big, `+whole` puts
the results together. Above: `tasks.engine`,
`tasks.recompose`, `servers.gateway`. Below: `tasks.ancestry`, `tasks.check_line`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Final

from tale.errors import PlanRejected, PromptRejected
from tale.tasks.ancestry import Ancestry, circles
from tale.tasks.check_line import why_not
from tale.tasks.task import State, Subtask, check_prompt
from tale.tasks.workspace import Refused, path_parts

__all__ = [
    "MAX_FAULTS",
    "MAX_SUBTASKS",
    "PLAN_PART",
    "REPAIR_PART",
    "SPLIT_PART",
    "WHOLE_PART",
    "afresh",
    "check_plan",
    "faults",
    "goes_on_from_failure",
    "is_over",
    "outcome_of",
    "ready",
    "straightened",
]

MAX_SUBTASKS: Final = 500
"""Parts of one task: more is a loop that should be inside one of them."""
MAX_FAULTS: Final = 100
"""Faults that are told of one plan: nobody mends more at a time."""
PLAN_PART: Final = "+plan"
REPAIR_PART: Final = "+repair-"
"""What the ids of parts begin with that plan anew."""
SPLIT_PART: Final = "+split-"
"""What the ids of parts begin with that plan a part further before it begins, whose id follows."""
WHOLE_PART: Final = "+whole"

_HINT: Final = "Each has an id of its own, a text, and in depends_on the ids of others."
_MAX_ID: Final = 64
_MAX_FILES: Final = 200
"""Files that one part may read or write: a folder full of them is one part's own business."""
_TO_DO: Final[frozenset[State]] = frozenset({"queued", "running"})
_OVER: Final[frozenset[State]] = frozenset({"done", "cancelled"})


def faults(plan: Sequence[Subtask], *, own: bool = False) -> tuple[str, ...]:
    """Say what is wrong with a plan, each in words that tell what to change.

    Args:
        plan: Its parts; of those that were dropped only the id counts.
        own: It may have parts of tale's own.

    Returns:
        At most `MAX_FAULTS`; none where it can be worked on.
    """
    return tuple(islice(_faults(plan, own=own), MAX_FAULTS))


def check_plan(plan: Sequence[Subtask], *, own: bool = False) -> tuple[Subtask, ...]:
    """Give the plan with its texts and paths put straight, if it can be worked on.

    Args:
        plan: Its parts.
        own: It may have parts of tale's own.

    Raises:
        PlanRejected: It has faults; the message is the first of them.
    """
    if found := faults(plan, own=own):
        raise PlanRejected(found[0], hint=_HINT, faults=found)
    return tuple(map(straightened, plan))


def straightened(part: Subtask) -> Subtask:
    """Give a part with its texts trimmed, its title filled in, and its paths in one form."""
    return replace(
        part,
        title=part.title.strip() or part.id,
        text=part.text.strip(),
        depends_on=tuple(dict.fromkeys(part.depends_on)),
        reads=_paths([path.rstrip("/") for path in part.reads]),  # folders, too
        writes=_paths(part.writes),
        check=part.check.strip(),
    )


def is_over(plan: Sequence[Subtask]) -> bool:
    """Tell whether nothing of a plan is left to do."""
    return all(one.state in _OVER for one in plan)


def afresh(plan: Sequence[Subtask]) -> tuple[Subtask, ...]:
    """Give a plan as it is begun by another task: nothing is done, nothing planned anew."""
    made = [one for one in plan if one.kind != "plan" and one.state != "cancelled"]
    # Where nothing was planned yet, that is what is to be done.
    made = made or list(plan)
    there = {one.id for one in made}
    return tuple(
        replace(
            one,
            state="queued",
            answer="",
            files=(),
            depends_on=tuple(other for other in one.depends_on if other in there),
        )
        for one in made
    )


def goes_on_from_failure(part: Subtask) -> bool:
    """Tell whether a part is there because something failed, so that it begins all the same."""
    return part.id.startswith(REPAIR_PART)


def ready(plan: Mapping[str, Subtask], taken: Collection[str] = ()) -> list[Subtask]:
    """Name the parts that may begin: to be done, not taken, and all that they need is over.

    What plans anew what has failed needs it, and begins though it has failed.
    """
    over = {one.id for one in plan.values() if one.state in _OVER}
    failed = {one.id for one in plan.values() if one.state == "failed"}
    return [
        one
        for one in plan.values()
        if one.state in _TO_DO
        and one.id not in taken
        and (over | failed if goes_on_from_failure(one) else over).issuperset(one.depends_on)
    ]


def outcome_of(plan: Sequence[Subtask]) -> tuple[str, tuple[str, ...]]:
    """Put together what a task gave whose parts are over: an answer, and the files.

    The answer is that of the parts on which no other depends. Planning is no answer where
    anything else was done.
    """
    done = [one for one in plan if one.state != "cancelled"]
    done = [one for one in done if one.kind != "plan"] or done
    needed = {other for one in done for other in one.depends_on}
    last = [one for one in done if one.id not in needed]
    if len(last) == 1:
        answer = last[0].answer
    else:
        answer = "\n\n".join(f"{one.title}\n{one.answer}" for one in last)
    return answer, tuple(dict.fromkeys(file for one in plan for file in one.files))


def _faults(plan: Sequence[Subtask], *, own: bool) -> Iterator[str]:
    if len(plan) > MAX_SUBTASKS:
        yield f"The plan has {len(plan)} subtasks; at most {MAX_SUBTASKS} are taken."
        return
    yield from _wrong_ids(plan, own=own)
    living = [one for one in plan if one.state != "cancelled"]
    yield from _wrong_edges(plan, living)
    for circle in circles(living):
        yield f"Subtasks wait for each other: {' → '.join(circle)}. Take one of these edges away."
    for one in living:
        yield from _wrong_part(one)
    yield from _conflicts(living)


def _wrong_ids(plan: Sequence[Subtask], *, own: bool) -> Iterator[str]:
    for one in plan:
        name = one.id
        if not name or len(name) > _MAX_ID or not name.isprintable() or "." in name or " " in name:
            yield (
                f"{name[: _MAX_ID + 1]!r} can't be the id of a subtask: it has 1 to {_MAX_ID} "
                "characters, without spaces and dots."
            )
        elif name.startswith("+") and not own:
            yield f"{name!r} can't be the id of a subtask: what begins with + is tale's own."
        elif one.kind == "plan" and not own:
            yield f"Subtask {name!r} can't be of the kind 'plan': only tale itself plans."
    for name, count in Counter(one.id for one in plan).items():
        if count > 1:
            many = "Two" if count == 2 else str(count)
            yield f"{many} subtasks have the id {name!r}; each needs one of its own."


def _wrong_edges(plan: Sequence[Subtask], living: Sequence[Subtask]) -> Iterator[str]:
    known = {one.id for one in living}
    dropped = {one.id for one in plan} - known
    for one in living:
        if one.state not in _TO_DO:
            continue
        for other in one.depends_on:
            if other in dropped:
                yield f"Subtask {one.id!r} depends on {other!r}, which was dropped."
            elif other not in known:
                yield f"Subtask {one.id!r} depends on {other!r}, which is not there."


def _wrong_part(part: Subtask) -> Iterator[str]:
    name = part.id
    try:
        check_prompt(part.text)
    except PromptRejected as error:
        yield f"Subtask {name!r}: {error.message}"
    for does, paths in (("reads", part.reads), ("writes", part.writes)):
        if len(paths) > _MAX_FILES:
            yield f"Subtask {name!r} {does} {len(paths)} files; at most {_MAX_FILES} are taken."
            continue
        for path in paths:
            plain = _path(path.rstrip("/") if does == "reads" else path)
            if isinstance(plain, Refused):
                yield (
                    f"Subtask {name!r} {does} {path[:_MAX_ID]!r}: {plain.why}. Name a file by its "
                    "path within the workspace."
                )
            elif does == "writes" and ("*" in path or "?" in path):
                yield f"Subtask {name!r} writes {path!r}: name each file, without * and ?."
    if part.check.strip() and (why := why_not(part.check)):
        yield f"Subtask {name!r} can't be checked by {_clipped(part.check)!r}: {why}."


def _conflicts(living: Sequence[Subtask]) -> Iterator[str]:
    writers: dict[str, list[str]] = {}
    for one in living:
        if one.state in _TO_DO:
            for path in _paths(one.writes):
                writers.setdefault(path, []).append(one.id)
    shared = {path: names for path, names in writers.items() if len(names) > 1}
    if not shared:
        return
    ancestry = Ancestry(living)
    for path, names in shared.items():
        for one, other in ancestry.together(names):
            yield (
                f"Subtasks {one!r} and {other!r} may run at the same time and both write {path!r}: "
                "let one depend on the other, or write another file."
            )


def _paths(paths: Sequence[str]) -> tuple[str, ...]:
    """Write paths in the one way in which they can be compared; what is none is left out."""
    return tuple(dict.fromkeys(one for one in map(_path, paths) if isinstance(one, str)))


@lru_cache(maxsize=4096)  # a plan is checked at each change of it
def _path(path: str) -> str | Refused:
    parts = path_parts(path)
    return parts if isinstance(parts, Refused) else "/".join(parts)


def _clipped(line: str) -> str:
    return line if len(line) <= _MAX_ID else f"{line[:_MAX_ID]}…"
