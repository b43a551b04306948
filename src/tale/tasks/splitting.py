"""Parts that are too big are split before they begin: which, into what, and how often. Pure.

Before such a part stands one of tale's own, `+split-ID`, which plans it further once all is there
that it needs. What that gives takes the part's place: its pieces have ids under its own, the first
of them wait for what it waited for, and what waited for it waits for the last of them. A part is
judged once; where no better plan comes, it is done as it is. Above: `tasks.course`,
`tasks.recompose`, `tasks.split_planner`. Below: `tasks.too_big`, `tasks.merging`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tale.clipped import beginning
from tale.tasks.merging import Merged, merge
from tale.tasks.part_checks import usual_check
from tale.tasks.plan import PLAN_PART, SPLIT_PART
from tale.tasks.plan_answers import Draft
from tale.tasks.task import Subtask
from tale.tasks.too_big import expected_tokens, too_big

__all__ = [
    "MAX_DEPTH",
    "MAX_SPLITS",
    "as_it_is",
    "divided",
    "in_step",
    "joined",
    "pieces_of",
    "split_by",
    "split_from",
    "with_splits",
]

MAX_SPLITS: Final = 3
"""Parts of one task that are split: each costs as much as a part, whatever comes of it."""
MAX_DEPTH: Final = 2
"""How often a part may come out of another that was split."""
_MOST_PIECES: Final = 5
_MAX_ID: Final = 64
_SHORT: Final = 600
"""Characters of a part's text that its split repeats, for whoever looks at the plan."""
_WHY: Final = "it was too big to be done at once"


def with_splits(plan: Sequence[Subtask], answer: int) -> Merged:
    """Have those parts split before they begin that are too big, the biggest of them first.

    A plan that the user wrote themselves stays as they divided it.

    Args:
        plan: As it stands.
        answer: Tokens that one answer of the model may have.
    """
    parts = {one.id: one for one in plan}
    room = MAX_SPLITS - sum(one.startswith(SPLIT_PART) for one in parts)
    found: dict[str, str] = {}
    if PLAN_PART in parts and room > 0:
        queued = [one for one in plan if one.state == "queued" and _may_be_split(one.id, parts)]
        why = {one.id: said for one in queued if (said := too_big(one, answer))}
        biggest = sorted(why, key=lambda name: -expected_tokens(parts[name]))
        found = {name: why[name] for name in biggest[:room]}
    changes: list[str] = []
    going_on: list[Subtask] = []
    for one in plan:
        if one.id in found:
            changes.append(f"{one.title!r} is to be split before it begins: {found[one.id]}.")
            going_on.append(_split(one, found[one.id]))
        going_on.append(one)
    followed = in_step(going_on)
    return Merged(followed.plan, (*changes, *followed.changes))


def in_step(plan: Sequence[Subtask]) -> Merged:
    """Have each part wait for its split again, as others have changed the plan.

    A split waits for what its part waits for; one whose part is not to be done any more is dropped.
    """
    parts = {one.id: one for one in plan}
    changes: list[str] = []
    for one in plan:
        if one.id.startswith(SPLIT_PART) and one.state == "queued":
            split = parts.get(_of(one.id))
            if split is None or split.state != "queued":
                parts[one.id] = replace(one, state="cancelled")
                changes.append(f"{one.title!r} is dropped: there is nothing left to split.")
    waits = {name for name, one in parts.items() if one.state in {"queued", "running"}}
    for name, one in parts.items():
        if one.state == "queued":
            source = parts[_of(name)] if name.startswith(SPLIT_PART) else one
            needs = list(_plain(source))
            if (split_id := f"{SPLIT_PART}{name}") in waits:
                needs.append(split_id)
            if tuple(needs) != one.depends_on:
                parts[name] = replace(one, depends_on=tuple(needs))
    return Merged(tuple(parts.values()), tuple(changes))


def split_by(plan: Mapping[str, Subtask], split: str) -> Subtask | None:
    """Give the part that a split is of, without the split itself; None where none is left to do."""
    part = plan.get(_of(split))
    if part is None or part.state != "queued":
        return None
    return replace(part, depends_on=_plain(part))


def split_from(part: str, plan: Mapping[str, Subtask]) -> tuple[Subtask, ...]:
    """Give the parts that were split and of which a part is a piece, the nearest first."""
    found: list[Subtask] = []
    while "-" in part:
        part = part.rpartition("-")[0]
        whole = plan.get(part)
        if whole and whole.state == "cancelled" and f"{SPLIT_PART}{part}" in plan:
            found.append(whole)
    return tuple(found)


def pieces_of(
    part: Subtask, draft: Draft, plan: Sequence[Subtask], present: Collection[str] = ()
) -> tuple[tuple[Subtask, ...], tuple[str, ...]]:
    """Make pieces of what the model gave, which wait for each other only, and say what is wrong.

    Args:
        part: What is split.
        draft: What the model gave.
        plan: The whole plan, whose ids are taken.
        present: Files that are in the workspace.
    """
    faults = list(draft.faults)
    given = draft.parts
    if not faults and len(given) == 1:
        faults.append("This is one subtask only: give two at least, each smaller than the whole.")
    if len(given) > _MOST_PIECES:
        faults.append(f"These are {len(given)} subtasks; give {_MOST_PIECES} at most.")
    faults += [
        f"{count} subtasks have the id {name!r}; each needs one of its own."
        for name, count in Counter(one.id for one in given).items()
        if count > 1
    ]
    faults += _wrong_files(part, given, plan, present)
    fresh = _under(part.id, {one.id for one in plan})
    names = {one.id: next(fresh) for one in given}
    pieces = (
        replace(
            one,
            id=names[one.id],
            depends_on=tuple(names[x] for x in one.depends_on if x in names and x != one.id),
            priority=part.priority,
        )
        for one in given
    )
    return tuple(pieces), tuple(faults)


def joined(part: Subtask, pieces: Sequence[Subtask]) -> tuple[Subtask, ...]:
    """Put pieces into the place of a part: who waits for what it waited for, and has its check.

    A check that says no more than those of the pieces is left out, as their last one would have to
    wait for all others because of it.
    """
    begun = [replace(one, depends_on=_plain(part)) if not one.depends_on else one for one in pieces]
    if not part.check or part.check == usual_check(part) or not begun:
        return tuple(begun)
    ends = _ends(pieces)
    last = begun[(at := next(i for i, one in enumerate(begun) if one.id == ends[-1]))]
    needs = (*last.depends_on, *ends[:-1])
    begun[at] = replace(last, depends_on=tuple(dict.fromkeys(needs)), check=_both(last, part))
    return tuple(begun)


def divided(plan: Sequence[Subtask], part: str, pieces: Sequence[Subtask]) -> Merged:
    """Replace a part by its pieces.

    Args:
        plan: As it stands; the part waits in it.
        part: The id.
        pieces: As `joined` gives them.

    Raises:
        PlanRejected: What comes of it can't be worked on.
    """
    # Its pieces take its place as those do that are planned after a failure.
    given_up = [
        replace(one, state="failed", depends_on=_plain(one)) if one.id == part else one
        for one in plan
    ]
    merged = merge(given_up, pieces, [part], why=_WHY)
    followed = in_step(merged.plan)
    return Merged(followed.plan, (*merged.changes, *followed.changes), _WHY)


def as_it_is(plan: Sequence[Subtask], split: str, why: str) -> Merged:
    """Let a part begin as it is, since its split came to nothing.

    Args:
        plan: As it stands.
        split: The id of the split; it stays in the plan, so that the part is not judged again.
        why: Why, in a few words.
    """
    ended = [
        replace(one, state="cancelled") if one.id == split and one.state != "done" else one
        for one in plan
    ]
    followed = in_step(ended)
    title = next((repr(one.title) for one in plan if one.id == _of(split)), "It")
    return Merged(followed.plan, (f"{title} is done as it is: {why}", *followed.changes), why)


def _wrong_files(
    part: Subtask, given: Sequence[Subtask], plan: Sequence[Subtask], present: Collection[str]
) -> Iterator[str]:
    written = list(dict.fromkeys(path for one in given for path in one.writes))
    living = [one for one in plan if one.id != part.id and one.state != "cancelled"]
    others = {path: one.id for one in living for path in one.writes}
    for path in part.writes:
        if not any(_holds(path, other) for other in written):
            yield f"No subtask writes {path}: all files of the whole have to be written."
    for path in written:
        if any(_holds(each, path) for each in part.writes):
            continue
        if path in others:
            yield f"{path} is written by {others[path]!r}: leave it to that."
        elif part.writes and path in present:
            yield f"{path} is there already and is none of the whole's files: leave it as it is."
    for one in given:
        if part.writes and one.size == "large" and {*one.writes} >= {*part.writes}:
            yield f"Subtask {one.id!r} is as large as the whole: give each less to do."


def _may_be_split(name: str, plan: Mapping[str, Subtask]) -> bool:
    judged = f"{SPLIT_PART}{name}"
    return (
        not name.startswith("+")
        and len(judged) <= _MAX_ID
        and judged not in plan
        and len(split_from(name, plan)) < MAX_DEPTH
    )


def _split(part: Subtask, why: str) -> Subtask:
    text = beginning(part.text, _SHORT)
    return Subtask(
        f"{SPLIT_PART}{part.id}",
        f"Split: {part.title}",
        f"Subtask {part.id!r} is too big to be done at once: {why}.\nIt is to do this:\n{text}\n"
        "Split it into smaller ones.",
        part.depends_on,
        kind="plan",
        size="small",
        priority=part.priority,
    )


def _of(split: str) -> str:
    return split.removeprefix(SPLIT_PART)


def _plain(part: Subtask) -> tuple[str, ...]:
    """Name what a part waits for beside splits."""
    return tuple(one for one in part.depends_on if not one.startswith(SPLIT_PART))


def _under(name: str, taken: set[str]) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        end = f"-{number}"
        found = name[: _MAX_ID - len(end)] + end
        if found not in taken:
            yield found


def _holds(path: str, other: str) -> bool:
    """Tell whether a file is another, or lies in that folder."""
    return path.rstrip("/") == other.rstrip("/") or other.startswith(f"{path.rstrip('/')}/")


def _ends(pieces: Sequence[Subtask]) -> list[str]:
    needed = {other for one in pieces for other in one.depends_on}
    return [one.id for one in pieces if one.id not in needed]


def _both(last: Subtask, part: Subtask) -> str:
    """Give one line that checks a piece and the whole; what a comment hides is left out."""
    if not last.check or last.check == part.check or "#" in last.check or "\n" in last.check:
        return part.check
    return f"{last.check} && {part.check}"
