"""Which part of a plan waits for which, checked against the files that parts declare. Pure.

An edge that files need is added, and one that only costs parallelism is dropped, each with a reason
for the user. What follows from other edges stays, since results are handed on along edges; it is
only left out of what is shown. Where a part does not say what it reads, none of its edges is
dropped. Above: the planner, by way of `planner.Rules`. Below: `mentions` (what parts say of files).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from posixpath import normpath

from tale.tasks.mentions import Mentions, about, covers, mentions_of, named_in
from tale.tasks.task import Subtask

__all__ = ["Change", "Settled", "settle", "shown"]


@dataclass(frozen=True, slots=True)
class Change:
    """An edge that was added or dropped.

    Attributes:
        part: Who waits, or waited.
        other: For whom.
        added: Whether it was added; else it was dropped.
        reason: Why, for the user.
    """

    part: str
    other: str
    added: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A plan whose edges are as its files need them, and what was changed for that."""

    plan: tuple[Subtask, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class _Need:
    """That a part has to wait for another; `sure` where only this way round can be meant."""

    first: str
    second: str
    reason: str
    sure: bool


def settle(plan: Sequence[Subtask], present: Collection[str]) -> Settled:
    """Check who waits for whom against the files that are declared.

    It never makes a circle, and settling again changes nothing. Edges of parts that have begun stay
    as they are.

    Args:
        plan: Parts with different ids; what they wait for in circles, or isn't there, stays.
        present: Paths of the files that the workspace has, relative to it.
    """
    settling = _Settling(plan, {normpath(path) for path in present})
    changes: list[Change] = []
    # Ends: what is dropped has no need and isn't added again, what is added has one and stays.
    while more := [*settling.drop_needless(), *settling.add_needed()]:
        changes += more
    return Settled(settling.plan(), tuple(changes))


def shown(plan: Sequence[Subtask]) -> dict[str, tuple[str, ...]]:
    """Give what each part is shown to wait for: without what follows from the rest."""
    before = {part.id: part.depends_on for part in plan}
    return {
        part.id: tuple(
            one
            for one in part.depends_on
            if not any(_reaches(before, other, one) for other in part.depends_on if other != one)
        )
        for part in plan
    }


class _Settling:
    """The edges while they change; what parts say, and so what they need, does not."""

    def __init__(self, plan: Sequence[Subtask], present: Collection[str]) -> None:
        self._parts = {part.id: part for part in plan if part.state != "cancelled"}
        self._plan = tuple(plan)
        self._said = {part: mentions_of(one) for part, one in self._parts.items()}
        self._before = {part.id: list(part.depends_on) for part in plan}
        self._place = {part: place for place, part in enumerate(self._parts)}
        self._needs = list(self._find_needs(present))
        self._tied = {frozenset((need.first, need.second)) for need in self._needs}
        self._sure = {(need.first, need.second) for need in self._needs if need.sure}
        self._flows = {(need.first, need.second) for need in self._needs}

    def plan(self) -> tuple[Subtask, ...]:
        return tuple(
            part
            if list(part.depends_on) == self._before[part.id]
            else replace(part, depends_on=tuple(self._before[part.id]))
            for part in self._plan
        )

    def drop_needless(self) -> Iterator[Change]:
        # What is dropped is none of these, so that they stay while it goes on.
        flowing = self._flowing()
        for second, part in self._parts.items():
            if part.state != "queued":
                continue
            for first in tuple(self._before[second]):
                if first in self._parts and (reason := self._needless(first, second, flowing)):
                    self._before[second].remove(first)
                    yield Change(second, first, added=False, reason=reason)

    def add_needed(self) -> Iterator[Change]:
        # What can be meant in one way only goes first: it decides what could be meant in two.
        for need in sorted(self._needs, key=lambda need: not need.sure):
            if self._parts[need.second].state != "queued":
                continue
            if _reaches(self._before, need.second, need.first) or _reaches(
                self._before, need.first, need.second
            ):
                continue
            self._before[need.second].append(need.first)
            yield Change(need.second, need.first, added=True, reason=need.reason)

    def _needless(self, first: str, second: str, flowing: Mapping[str, Sequence[str]]) -> str:
        """Say why a part needn't wait for another; empty where it may have to."""
        flows = (first, second) in self._flows
        if (second, first) in self._sure and not flows:
            return f"it is the other way round: {self._why(second, first)}"
        one, other = self._parts[first], self._parts[second]
        if "act" in (one.kind, other.kind) or first.startswith("+") or second.startswith("+"):
            # What is done on the machine is seen in no file, and tale's own parts wait for reasons.
            return ""
        says, hears = self._said[first], self._said[second]
        # Small models say that a part depends on another and forget to say what it reads: only
        # where it is said what a part reads is it known that it needs nothing else.
        if not (says.writes and other.reads) or frozenset((first, second)) in self._tied:
            return ""
        if _names(one, hears) or _names(other, says) or _reaches(flowing, second, first):
            return ""
        return f"no file goes from {first} to {second}, and neither speaks of the other"

    def _flowing(self) -> dict[str, list[str]]:
        """Give whom each part waits for and has a file from."""
        return {
            second: [first for first in waited if (first, second) in self._flows]
            for second, waited in self._before.items()
        }

    def _why(self, first: str, second: str) -> str:
        return next(
            need.reason
            for need in self._needs
            if need.sure and (need.first, need.second) == (first, second)
        )

    def _find_needs(self, present: Collection[str]) -> Iterator[_Need]:
        writers: dict[str, list[str]] = defaultdict(list)
        for part, said in self._said.items():
            for path in sorted(said.writes):
                writers[path].append(part)
        for path, writing in writers.items():
            for place, first in enumerate(writing):
                for second in writing[place + 1 :]:
                    yield _Need(first, second, f"both write {path}", sure=False)
            for part, said in self._said.items():
                if part in writing:
                    continue
                for writer in writing:
                    if need := self._need(path, writer, part, said, present):
                        yield need

    def _need(
        self, path: str, writer: str, part: str, said: Mentions, present: Collection[str]
    ) -> _Need | None:
        """Say why a part has to do with a file that another writes, if it has."""
        reads = covers(said.reads, path)
        if about(path, said):
            return _Need(writer, part, f"it {said.about} {path}, which {writer} writes", sure=True)
        if reads and path not in present:
            return _Need(writer, part, f"it reads {path}, which {writer} writes", sure=True)
        if not reads and not named_in(path, said):
            return None
        does = "reads" if reads else "names"
        if path in present and self._place[part] < self._place[writer]:
            reason = f"{part} {does} {path} as it is, and it writes it"
            return _Need(part, writer, reason, sure=False)
        if not reads and self._place[part] < self._place[writer]:
            # Each may speak of what the other writes: then the order of the plan decides.
            theirs = self._said[writer]
            if any(named_in(own, theirs) or covers(theirs.reads, own) for own in said.writes):
                return None
        return _Need(writer, part, f"it {does} {path}, which {writer} writes", sure=False)


def _names(part: Subtask, said: Mentions) -> bool:
    """Tell whether a text speaks of a part by its id or its title."""
    title = " ".join(part.title.lower().split())
    return part.id.lower() in said.tokens or bool(title and title in said.text)


def _reaches(before: Mapping[str, Sequence[str]], part: str, other: str) -> bool:
    """Tell whether a part waits for another, directly or through others."""
    seen: set[str] = set()
    ahead = list(before.get(part, ()))
    while ahead:
        one = ahead.pop()
        if one == other:
            return True
        if one not in seen:
            seen.add(one)
            ahead += before.get(one, ())
    return False
