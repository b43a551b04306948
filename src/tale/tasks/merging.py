"""One change of a plan: new parts are put in, failed ones replaced, others dropped. Pure.

What is done or runs stays as it is, and nothing vanishes: a part that is dropped stays in the plan
as cancelled, so that its id is never used again and what is recorded of it keeps its meaning. What
waited for it waits for what took its place. Each change is a sentence with its reason. Above:
`recompose`, which says when. Below: `plan`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tale.errors import PlanRejected
from tale.tasks.plan import WHOLE_PART, faults, straightened
from tale.tasks.task import Subtask

__all__ = ["Merged", "merge"]

_HINT: Final = "Change only what is not done, and give new subtasks ids of their own."
_MAX_ID: Final = 64
_STAYS: Final = {"running": "it is being done", "done": "it is done", "failed": "it has failed"}


@dataclass(frozen=True, slots=True)
class Merged:
    """A plan as it goes on.

    Attributes:
        plan: All its parts, those that are over too.
        changes: What changed, each in a sentence with its reason; none for a first plan.
        why: Why it changed: in a few words, or what the model that planned it thought.
        used: The files of the workspace on which what was planned rests.
        notes: What the user was told as it was planned.
        remembered: What is remembered on which that rests, each in words.
    """

    plan: tuple[Subtask, ...]
    changes: tuple[str, ...] = ()
    why: str = ""
    used: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    remembered: tuple[str, ...] = ()


def merge(
    plan: Sequence[Subtask],
    replacement: Sequence[Subtask],
    failed: Collection[str] = (),
    *,
    dropped: Mapping[str, str] | None = None,
    why: str = "",
) -> Merged:
    """Put new parts into a plan.

    A new part takes the place of one that waits under the same id. One that repeats what is done
    or runs, word for word, is that one; any other whose id is taken gets another id.

    Args:
        plan: As it stands.
        replacement: The new parts; they may depend on each other and on those of the plan.
        failed: The failed parts that they replace. What needed one needs the part with its id,
            or else all that they come to.
        dropped: Parts that are not to be done any more, with the reason of each; only those
            that wait are dropped.
        why: Why the plan changes, in a few words.

    Raises:
        PlanRejected: What comes of it can't be worked on.
    """
    return _Merge(plan, replacement, failed, dropped or {}, why).merged()


class _Merge:
    """One merge, in the order in which things depend on each other."""

    def __init__(
        self,
        plan: Sequence[Subtask],
        replacement: Sequence[Subtask],
        failed: Collection[str],
        dropped: Mapping[str, str],
        why: str,
    ) -> None:
        self._plan = plan
        self._there = {one.id: one for one in plan}
        self._why = why
        self._because = f": {why}" if why else "."
        self._changes: list[str] = []
        self._broken = [one for one in plan if one.id in failed and one.state == "failed"]
        self._replacement = [*replacement, *self._assembled_again(replacement)]
        self._refuse(self._faulty_ids())
        self._gone = self._dropped(dropped)
        self._names = self._named()
        """What the new parts are called, by the id that they came with."""
        self._new = {
            self._names[one.id]: one
            for one in self._replacement
            if not self._repeats(one, self._there.get(one.id))
        }
        added = {name: one for name, one in self._new.items() if name not in self._there}
        needed = {self._names.get(x, x) for one in added.values() for x in one.depends_on}
        self._ends = [one for one in added if one not in needed and not _assembles(one)]
        """Those of them that were not there, and which no other of these needs."""

    def merged(self) -> Merged:
        """Give the plan that comes of it."""
        parts = self._parts()
        parts = [
            replace(one, depends_on=tuple(_ends_of(parts)))
            if _assembles(one.id) and one.state == "queued"
            else one
            for one in parts
        ]
        self._refuse(faults(parts, own=True))
        if any(one.kind != "plan" for one in self._plan):
            self._tell(parts)
        return Merged(tuple(parts), tuple(self._changes), self._why)

    def _assembled_again(self, replacement: Iterable[Subtask]) -> list[Subtask]:
        """Give the assembly once more, if it is that which failed."""
        if any(_assembles(one.id) for one in replacement):
            return []
        return [replace(one, state="queued") for one in self._broken if _assembles(one.id)]

    def _faulty_ids(self) -> list[str]:
        count = Counter(one.id for one in self._replacement)
        return [
            f"Two new subtasks have the id {name!r}; each needs one of its own."
            for name, times in count.items()
            if times > 1
        ] + [
            f"{name!r} can't be the id of a subtask: what begins with + is tale's own."
            for name in count
            if name.startswith("+") and not _assembles(name)
        ]

    def _dropped(self, dropped: Mapping[str, str]) -> set[str]:
        gone: set[str] = set()
        again = {one.id for one in self._replacement}
        for name, reason in dropped.items():
            one = self._there.get(name)
            if one is None or name.startswith("+") or name in again or one.state == "cancelled":
                continue
            if one.state == "queued":
                gone.add(name)
                self._changes.append(f"{one.title!r} is dropped: {reason}")
            else:
                self._changes.append(f"{one.title!r} stays, as {_STAYS[one.state]}.")
        return gone

    def _named(self) -> dict[str, str]:
        taken = {*self._there, *(one.id for one in self._replacement)}
        names: dict[str, str] = {}
        for one in self._replacement:
            old = self._there.get(one.id)
            if old is None or old.state == "queued" or self._repeats(one, old):
                names[one.id] = one.id
            else:
                names[one.id] = fresh = _fresh(one.id, taken)
                taken.add(fresh)
        return names

    @staticmethod
    def _repeats(new: Subtask, old: Subtask | None) -> bool:
        """Tell whether a new part is none: what it asks for is done, or being done."""
        alike = old is not None and old.text.strip() == new.text.strip()
        return alike and old is not None and old.state in {"running", "done"}

    def _parts(self) -> list[Subtask]:
        """Give all parts, with their edges led on."""
        parts: dict[str, Subtask] = {}
        before = {one.id for one in self._plan}
        added = [self._made(name, one) for name, one in self._new.items() if name not in before]
        anchor = next((one.id for one in self._broken), None)
        for one in self._plan:
            if anchor is None and _assembles(one.id) and one.state == "queued":
                parts |= {each.id: each for each in added}
            if one.id in self._new:
                parts[one.id] = self._made(one.id, self._new[one.id])
            elif one in self._broken or one.id in self._gone:
                parts[one.id] = replace(one, state="cancelled")
            elif one.state == "queued":
                parts[one.id] = replace(one, depends_on=self._led_on(one.depends_on))
            else:
                parts[one.id] = one
            if one.id == anchor:
                parts |= {each.id: each for each in added}
        parts |= {each.id: each for each in added}
        self._lead_to_new(parts)
        return list(parts.values())

    def _made(self, name: str, new: Subtask) -> Subtask:
        """Give a new part as it stands in the plan."""
        needs: list[str] = []
        for other in new.depends_on:
            old = self._there.get(other)
            if other != new.id or old is None or name == new.id:
                needs.append(self._names.get(other, other))
            elif old in self._broken:  # it goes on from what that one was given
                needs += old.depends_on
            else:
                needs.append(other)  # the part whose id it can't have
        if not needs:  # what was given to those that failed is given to whoever begins anew
            needs = [other for one in self._broken for other in one.depends_on]
        led = self._led_on(needs)
        made = replace(new, id=name, state="queued", answer="", files=(), depends_on=led)
        return straightened(made)

    def _led_on(self, needs: Iterable[str], but: Collection[str] = ()) -> tuple[str, ...]:
        """Give what is needed in place of what is no more; nothing in place of some."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        todo = [*needs][::-1]
        while todo:
            name = todo.pop()
            one = self._there.get(name)
            if name in seen or name in but:
                continue
            seen.add(name)
            if one is None or name in self._new:
                found[name] = None
            elif one in self._broken and name in self._names:
                found[self._names[name]] = None
            elif one in self._broken or name in self._gone or one.state == "cancelled":
                todo += one.depends_on[::-1]
            else:
                found[name] = None
        return tuple(found)

    def _lead_to_new(self, parts: dict[str, Subtask]) -> None:
        """Let what needed a failed part that has no heir need all that the new parts come to.

        One that the new parts need themselves can't.
        """
        heirless = {one.id for one in self._broken if one.id not in self._names}
        if not heirless or not self._ends:
            return
        back = any(
            other in self._there and parts[other].state == "queued"
            for one in self._names.values()
            if one in self._new and one not in self._there
            for other in parts[one].depends_on
        )
        for one in self._plan:
            now = parts[one.id]
            needed = self._new.get(one.id, one).depends_on
            if now.state == "queued" and heirless.intersection(self._needed_once(needed)):
                ends = [end for end in self._ends if not back or not _reaches(parts, end, one.id)]
                others = now.depends_on
                if ends and one.id not in self._new:
                    others = self._led_on(one.depends_on, but=heirless)
                needs = tuple(dict.fromkeys((*others, *ends)))
                parts[one.id] = replace(now, depends_on=needs)

    def _needed_once(self, needed: Iterable[str]) -> set[str]:
        """Name what was needed, and what was needed by those of it that are dropped."""
        found: set[str] = set()
        todo = list(needed)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                if name in self._gone:
                    todo += self._there[name].depends_on
        return found

    def _tell(self, parts: Sequence[Subtask]) -> None:
        new = [one for one in parts if one.id in self._new and not _assembles(one.id)]
        for one in self._broken:
            added = (each for each in new if each.id not in self._there)
            heirs = ", ".join(repr(each.title) for each in added) or "nothing"
            self._changes.append(f"{one.title!r} is replaced by {heirs}{self._because}")
        for one in new:
            old = self._there.get(one.id)
            if old is None and not self._broken:
                self._changes.append(f"{one.title!r} is new{self._because}")
            elif old is not None and old != one:
                self._changes.append(f"{one.title!r} was changed{self._because}")
        for given, name in self._names.items():
            if given != name and name in self._new and self._there[given] not in self._broken:
                self._changes.append(f"The new {given!r} is called {name!r}: the id is taken.")

    def _refuse(self, found: Sequence[str]) -> None:
        if found:
            raise PlanRejected(found[0], hint=_HINT, faults=tuple(found))


def _assembles(name: str) -> bool:
    """Tell whether a part puts the results together: `+whole`, or one after it has failed."""
    return name == WHOLE_PART or name.startswith(f"{WHOLE_PART}-")


def _ends_of(parts: Sequence[Subtask]) -> list[str]:
    """Name the parts that do work and that no other part needs."""
    living = [
        one
        for one in parts
        if one.state != "cancelled" and one.kind != "plan" and not _assembles(one.id)
    ]
    needed = {other for one in living for other in one.depends_on}
    return [one.id for one in living if one.id not in needed]


def _fresh(name: str, taken: Collection[str]) -> str:
    """Give the first of `name-2`, `name-3` … that is free."""
    number = 2
    while True:
        end = f"-{number}"
        found = name[: _MAX_ID - len(end)] + end
        if found not in taken:
            return found
        number += 1


def _reaches(parts: Mapping[str, Subtask], one: str, other: str) -> bool:
    """Tell whether a part needs another, directly or not."""
    seen, todo = {one}, [one]
    while todo:
        name = todo.pop()
        if name == other:
            return True
        for each in parts[name].depends_on if name in parts else ():
            if each not in seen:
                seen.add(each)
                todo.append(each)
    return False
