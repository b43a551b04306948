"""What a model wrote as its plan, read leniently and brought into form. Pure and total.

What is clear is mended and each mending told: ids made safe, what is named otherwise found again,
paths made relative, missing words filled in. What isn't clear stays as it is, so that the rules of
plans find it and the model is told. Above: `tasks.planner`. Below: `tasks.lenient_json`,
`tasks.part_fields`, `tasks.part_checks`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import cast

from tale.tasks.ancestry import Ancestry
from tale.tasks.languages import is_file_name
from tale.tasks.lenient_json import Fault, read_object
from tale.tasks.part_checks import Runs, mended_check, whatever
from tale.tasks.part_fields import (
    MOST_ID,
    RawPart,
    listed_parts,
    read_part,
    reasoning_of,
    safe_id,
    strings,
)
from tale.tasks.task import Subtask

__all__ = ["Draft", "checked", "read_draft", "without_strangers"]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a model answered.

    Attributes:
        parts: Its parts, in form; they need not be a plan that can be worked on.
        reasoning: What it thought before.
        changes: What was mended, for whoever wants to know.
        faults: Why there are none, or not all, for the model.
        drops: Ids of parts that it no longer wants.
        uses: Numbers of what is remembered that it rests on, as it names them.
    """

    parts: tuple[Subtask, ...] = ()
    reasoning: str = ""
    changes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    uses: tuple[object, ...] = ()


def read_draft(
    text: str,
    request: str = "",
    root: str = "",
    *,
    there: Collection[str] = (),
    spent: Collection[str] = (),
    present: Collection[str] = (),
) -> Draft:
    """Read what a model wrote.

    Args:
        text: Its answer.
        request: What is asked for: a path outside of the workspace that it names is meant so.
        root: The workspace's path.
        there: Ids of parts that there are beside these, for which they may wait.
        spent: Ids that none of these may have: what bears them is done, or was given up.
        present: Files that are in the workspace: nobody has to wait for them.
    """
    found = read_object(text)
    if isinstance(found, Fault):
        return Draft(faults=(f"{found.text} Give one JSON object, as in the example.",))
    changes: list[str] = []
    listed = listed_parts(found)
    raw = [
        each
        for number, one in enumerate(listed, 1)
        if (each := read_part(one, number, request, root, changes)) is not None
    ]
    faults = () if raw else ('There is no subtask in "subtasks".',)
    parts = _connected(_named(raw, spent, changes), there, present, changes)
    uses = found.get("uses")
    return Draft(
        tuple(parts),
        reasoning_of(found),
        tuple(changes),
        faults,
        strings(found.get("drop")),
        tuple(cast("list[object]", uses)) if isinstance(uses, list) else (),
    )


def without_strangers(draft: Draft, there: Collection[str] = ()) -> Draft:
    """Let no part wait for one that is not there, and say so; files still say who needs whom.

    Args:
        draft: What a model answered.
        there: Ids of parts that there are beside these.
    """
    ids = {*there, *(one.id for one in draft.parts)}
    told = [
        f"{one.id}: it does not wait for {other}, which is no part of the plan."
        for one in draft.parts
        for other in one.depends_on
        if other not in ids
    ]
    parts = tuple(
        replace(one, depends_on=tuple(other for other in one.depends_on if other in ids))
        for one in draft.parts
    )
    return replace(draft, parts=parts, changes=(*draft.changes, *told))


def checked(
    plan: Sequence[Subtask], present: Collection[str] = (), runs: Runs = whatever
) -> tuple[tuple[Subtask, ...], tuple[str, ...]]:
    """Give each part a check that can be run, and say which were replaced, and why.

    Args:
        plan: The parts, with their dependencies as they are to be; what has begun stays.
        present: Files that are in the workspace before.
        runs: Tells of a command's words whether the machine has what it runs.
    """
    told: list[str] = []
    done: list[Subtask] = []
    ancestry = Ancestry(plan)
    parts = {one.id: one for one in plan}

    def before(part: Subtask) -> Iterator[str]:
        for name in ancestry.ancestors(part.id):
            yield from (*parts[name].writes, *parts[name].files)

    for one in plan:
        if one.state != "queued":
            done.append(one)
            continue
        mended = mended_check(one, {*present, *before(one), *one.writes}, runs)
        if mended.why:
            told.append(f"{one.id}: another check took the place of `{one.check}`: {mended.why}.")
        done.append(replace(one, check=mended.check))
    return tuple(done), tuple(told)


# -- all of them -----------------------------------------------------------------------------------


def _named(raw: Sequence[RawPart], spent: Collection[str], changes: list[str]) -> list[RawPart]:
    """Give each an id of its own, unless nobody could say then who is meant by it."""
    used = {*spent, *(each.part.id for each in raw)}
    meant = {safe_id(other) for each in raw for other in each.needs}
    seen: set[str] = set()
    named: list[RawPart] = []
    for each in raw:
        one, now = each.part.id, each
        if one in spent or (one in seen and one not in meant):
            new = _unused(one, used)
            changes.append(f"{one}: there is one of this name already, so it is called {new}.")
            now = replace(each, part=replace(each.part, id=new))
        used.add(now.part.id)
        seen.add(one)
        named.append(now)
    return named


def _unused(name: str, used: Collection[str]) -> str:
    number = 2
    while f"{name[: MOST_ID - 4]}-{number}" in used:
        number += 1
    return f"{name[: MOST_ID - 4]}-{number}"


def _connected(
    raw: Sequence[RawPart],
    there: Collection[str],
    present: Collection[str],
    changes: list[str],
) -> Iterator[Subtask]:
    """Find out whom each waits for: by id, title, number, or a file that another writes."""
    known = _known(raw, there)
    files = {safe_id(PurePosixPath(path).stem) for path in present}
    for each in raw:
        part = each.part
        needs: list[str] = []
        reads = list(part.reads)
        for other in each.needs:
            found = known.get(other) or known.get(safe_id(other)) or known.get(_key(other))
            if is_file_name(other) and other not in part.writes:
                reads.append(other)
            if found == part.id:
                changes.append(f"{part.id}: it does not wait for itself.")
            elif found:
                needs.append(found)
            elif is_file_name(other):
                continue
            elif like := _like(other, part, raw):
                changes.append(f"{part.id}: by {other} it means {like}.")
                needs.append(like)
            elif safe_id(other) in files:
                changes.append(f"{part.id}: {other} is there, so it does not wait for it.")
            else:
                needs.append(other)
        yield replace(
            part, depends_on=tuple(dict.fromkeys(needs)), reads=tuple(dict.fromkeys(reads))
        )


def _known(raw: Sequence[RawPart], there: Collection[str]) -> dict[str, str]:
    """Give the ids of parts by all that they may be called; the surer name is taken."""
    known = dict(zip(there, there, strict=True))
    for number, each in enumerate(raw, 1):
        known.setdefault(str(number), each.part.id)
    for each in raw:
        known.update(dict.fromkeys(map(_key, each.part.writes), each.part.id))
        known.setdefault(_key(each.part.title), each.part.id)
    for each in reversed(raw):  # of two that have a name the first is meant
        known.update(dict.fromkeys((safe_id(each.given_id), _key(each.given_id)), each.part.id))
    known.update((each.part.id, each.part.id) for each in raw)
    return known


def _like(name: str, part: Subtask, raw: Sequence[RawPart]) -> str:
    """Find the one other part that a name may mean.

    It writes a file of that name (`totals` for totals.csv), or its id has all words of it (`import`
    in `import-script`).
    """
    others = [each.part for each in raw if each.part.id != part.id]
    plain = safe_id(name)
    writing = [
        one.id
        for one in others
        if plain in {safe_id(PurePosixPath(path).stem) for path in one.writes}
    ]
    words = set(plain.split("-"))
    alike = writing or [one.id for one in others if words.issubset(one.id.split("-"))]
    return alike[0] if len(alike) == 1 else ""


def _key(name: str) -> str:
    return " ".join(name.lower().split())
