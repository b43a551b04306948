"""Keeps the outlook of tasks that somebody watches, and learns from those that were done.

A task's view is folded from its stored events when somebody asks for the first time, and followed
from then on; tasks that nobody watches cost nothing. Durations are learned from the store, so that
they are known again after a restart without a table of their own. Above: `servers.gateway`. Below:
`outlook`, `view`, `durations`, and the store as a `History`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol, cast

from tale.tasks.durations import SIZE_FACTORS, Durations, Expected
from tale.tasks.estimate import Progress
from tale.tasks.outlook import Outlook, lessons, outlook
from tale.tasks.task import ENDED, Size, Subtask, Task, TaskEvent
from tale.tasks.view import Finished, Part, View, fold, replay

__all__ = ["History", "Watching"]

_REMEMBERED: Final = 300
"""Tasks that are learned from at a start: more than `durations` remembers of any kind."""
_SLOWLY: Final = 0.02
"""Weight of a new rate in the usual one: some minutes at one outlook a second."""


class History(Protocol):
    """Where tasks are read; `tasks.store.TaskStore` is one."""

    async def get(self, identity: str) -> Task:
        """Look up a task; raises `TaskNotFound`."""
        ...

    async def events(self, identity: str, after: int) -> tuple[list[TaskEvent], bool]:
        """Read a task's events after `after`, and whether it has ended."""
        ...

    async def finished(self, after: datetime | None, limit: int) -> list[Finished]:
        """Read the newest tasks that were done after a moment, oldest first."""
        ...


@dataclass(slots=True)
class _Watched:
    """A task that somebody watches.

    Attributes:
        early: Events that came while the stored ones were read; None once they are in the view.
    """

    kind: str = ""
    view: View = field(default_factory=View)
    shown: Progress = field(default_factory=Progress)
    setbacks: int = 0
    early: list[TaskEvent] | None = field(default_factory=list[TaskEvent])


class Watching:
    """Gives outlooks."""

    def __init__(
        self,
        history: History,
        *,
        kind_of: Callable[[str], str],
        lanes: int,
        now: Callable[[], datetime],
    ) -> None:
        """Begin with nothing learned.

        Args:
            history: Where tasks are read.
            kind_of: Tells the kind of work from its text, at once.
            lanes: How many subtasks run at a time.
            now: Gives the present time, in UTC.
        """
        self._history = history
        self._kind_of = kind_of
        self._lanes = lanes
        self._now = now
        self._durations = Durations()
        self._learned: datetime | None = None
        self._stale = True
        self._watched: dict[str, _Watched] = {}
        self._speeds: dict[str, float] = {}

    def take(self, event: TaskEvent) -> None:
        """Hear of an event, as a listener of the hub."""
        if event.kind in ENDED:
            self._stale = True
        if watched := self._watched.get(event.task):
            if watched.early is not None:
                watched.early.append(event)
            else:
                watched.view = fold(watched.view, event)

    async def of(self, identity: str, seen: int = 0) -> Outlook:
        """Say how a task stands.

        Args:
            identity: The task.
            seen: Number of an event that is stored already, and may be told here only later.

        Raises:
            TaskNotFound: There is none of that id.
        """
        await self._learn()
        watched = self._watched.get(identity)
        if watched is None or watched.early is not None:
            watched = await self._begin(identity)
        elif watched.view.seq < seen:
            events, _ = await self._history.events(identity, watched.view.seq)
            watched.view = replay(events, watched.view)
        view = watched.view
        reason = view.setback if view.setbacks > watched.setbacks else ""
        watched.setbacks = view.setbacks

        def expect(part: Part) -> Expected:
            kind = part.kind or (self._kind_of(part.title) if part.title else watched.kind)
            usual = self._durations.of(kind, part.model or view.role)
            return replace(usual, median=usual.median * _factor(part))

        found, watched.shown = outlook(
            view,
            expect,
            now=self._now(),
            progress=watched.shown,
            reason=reason,
            lanes=self._lanes,
            usual_speed=self._speeds.get(view.role),
        )
        if found.speed:
            usual = self._speeds.get(view.role, found.speed)
            self._speeds[view.role] = usual + _SLOWLY * (found.speed - usual)
        if view.has_ended:
            self._watched.pop(identity, None)
        return found

    def seconds_of(self, part: Subtask) -> float:
        """Say how long a part of a plan is expected to take, by what was learned of its kind."""
        return self._durations.of(part.kind, "task").median * SIZE_FACTORS[part.size]

    async def expected(self, plan: Sequence[Subtask]) -> dict[str, float]:
        """Say how long each part of a plan takes, by id, by all that was learned until now."""
        await self._learn()
        return {part.id: self.seconds_of(part) for part in plan}

    async def _begin(self, identity: str) -> _Watched:
        """Fold what is stored; what happens meanwhile comes after it."""
        watched = self._watched.setdefault(identity, _Watched())
        try:
            watched.kind = self._kind_of((await self._history.get(identity)).text)
            events, _ = await self._history.events(identity, 0)
        except BaseException:
            self._watched.pop(identity, None)
            raise
        if watched.early is not None:  # nobody else was quicker
            watched.view = replay([*events, *watched.early])
            watched.early = None
        return watched

    async def _learn(self) -> None:
        """Learn from what was done since the last time."""
        if not self._stale:
            return
        self._stale = False
        try:
            done = await self._history.finished(self._learned, _REMEMBERED)
        except BaseException:
            self._stale = True
            raise
        for one in done:
            if one.task.finished is None:
                continue
            self._learned = max(self._learned or one.task.finished, one.task.finished)
            view = replay(one.events)
            for part, model, seconds in lessons(view):
                text = part.title or one.task.text
                kind = part.kind or self._kind_of(text)
                at = one.task.finished.timestamp()
                self._durations.learn(kind, model, seconds / _factor(part), at=at)


def _factor(part: Part) -> float:
    """Say how much longer a part takes than one of medium size, as which others are taken."""
    return SIZE_FACTORS.get(cast("Size", part.size), 1.0)
