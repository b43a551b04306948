"""The parts of one task: which may begin now, in which order, and which never can. Pure.

All of it follows from the states of the parts, so it is the same before and after a crash. Above:
`tasks.scheduler`. Below: `tasks.critical_path`, `tasks.plan`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from tale.tasks.critical_path import Seconds, by_size, upward_ranks
from tale.tasks.plan import goes_on_from_failure
from tale.tasks.task import State, Subtask

__all__ = ["Parts", "followed"]

_OVER: Final[frozenset[State]] = frozenset({"done", "cancelled"})

_Key = tuple[float, int, int, str]
"""What the parts that may begin are sorted by: path, priority, position; and the id."""


class Parts:
    """A plan that is being worked on.

    A part may begin once all that it needs is done or cancelled, for what is cancelled is needless.
    Where what it needs has failed or is not there, it is out of reach until the plan is replaced,
    and so is what needs it. Who gives it up cancels all of these at once. A part that plans anew
    begins where what it needs has failed, for that is why it is there.
    """

    def __init__(
        self, plan: Iterable[Subtask], going_on: Collection[str] = (), seconds: Seconds = by_size
    ) -> None:
        """Take up a plan.

        Args:
            plan: The parts with the states that are recorded; no circle is among them.
            going_on: Those of which something goes on; any other that ran has been cut off.
            seconds: What each is expected to take.
        """
        self._all = {one.id: _as_it_is(one, going_on) for one in plan}
        self._after: dict[str, list[str]] = {one: [] for one in self._all}
        for one in self._all.values():
            for other in dict.fromkeys(one.depends_on):
                if other in self._all:
                    self._after[other].append(one.id)
        left = [one for one in self._all.values() if one.state not in _OVER]
        ranks = upward_ranks(left, seconds)
        self._keys: dict[str, _Key] = {
            one.id: (-ranks.get(one.id, 0.0), -one.priority, position, one.id)
            for position, one in enumerate(self._all.values())
        }
        self._missing: dict[str, int] = {}
        self._ready: list[_Key] = []
        self._count()

    @property
    def all(self) -> Mapping[str, Subtask]:
        """All parts, as they are now."""
        return self._all

    @property
    def ready(self) -> list[str]:
        """The parts that may begin, in the order in which they should."""
        return [key[-1] for key in self._ready]

    def first(self, most: int) -> list[str]:
        """Give the first ones of those that may begin."""
        return [key[-1] for key in self._ready[:most]]

    @property
    def waits(self) -> bool:
        """Whether a part may begin."""
        return bool(self._ready)

    @property
    def over(self) -> bool:
        """Whether all parts are done or cancelled."""
        return all(one.state in _OVER for one in self._all.values())

    @property
    def out_of_reach(self) -> tuple[str, ...]:
        """The parts that can't begin any more as the plan is."""
        lost = {one.id for one in self._all.values() if not self._all.keys() >= {*one.depends_on}}
        after = [*lost, *(one.id for one in self._all.values() if one.state == "failed")]
        while after:
            for one in self._after[after.pop()]:
                held = self._all[one].state == "queued" and not goes_on_from_failure(self._all[one])
                if held and one not in lost:
                    lost.add(one)
                    after.append(one)
        return tuple(one for one in self._all if one in lost and self._all[one].state == "queued")

    def begin(self, part: str) -> None:
        """Hear that one of those that are ready begins."""
        del self._ready[bisect_left(self._ready, self._keys[part])]
        self._set(part, "running")

    def done(self, part: str, answer: str = "", files: tuple[str, ...] = ()) -> None:
        """Hear what came of a part; of one that the plan no longer has, it counts nothing."""
        if (one := self._all.get(part)) is None:
            return
        self._all[part] = replace(one, state="done", answer=answer, files=files)
        if one.state != "running":  # it was cut off, or cancelled, at the same moment
            self._count()
            return
        for after in self._after[part]:
            self._missing[after] -= 1
            if not self._missing[after] and self._all[after].state == "queued":
                insort(self._ready, self._keys[after])

    def fail(self, part: str) -> None:
        """Hear that a part can't be done."""
        if part in self._all:
            self._set(part, "failed")
            self._count()

    def _set(self, part: str, state: State) -> None:
        self._all[part] = replace(self._all[part], state=state)

    def _count(self) -> None:
        """Count what each part still needs, from the states alone."""
        met = {one.id for one in self._all.values() if one.state in _OVER}
        failed = {one.id for one in self._all.values() if one.state == "failed"}
        self._missing = {
            one.id: len({*one.depends_on} - met - (failed if goes_on_from_failure(one) else set()))
            for one in self._all.values()
        }
        self._ready = sorted(
            self._keys[one.id]
            for one in self._all.values()
            if one.state == "queued" and not self._missing[one.id]
        )


def followed(
    before: Mapping[str, Subtask], plan: Iterable[Subtask], going_on: Collection[str]
) -> list[Subtask]:
    """Give what a plan becomes that another replaces: what is done or goes on stays as it is.

    Args:
        before: The parts until now.
        plan: Those of the new plan.
        going_on: The ones of which something goes on.
    """
    stay = {one.id: one for one in before.values() if one.state == "done" or one.id in going_on}
    return [*(stay.pop(one.id, one) for one in plan), *stay.values()]


def _as_it_is(part: Subtask, going_on: Collection[str]) -> Subtask:
    """Give a part with its present state: what was recorded as begun may have been cut off."""
    if part.state in _OVER or part.state == "failed":
        return part
    return replace(part, state="running" if part.id in going_on else "queued")
