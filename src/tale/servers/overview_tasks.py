"""The tasks of an overview: all that have not ended, and the last that have.

Those that ended are worked out once; whoever has heard of no event since the last look is told the
same again. Above: `overview`. Below: `tasks.watching` (how far they are), `tasks.store`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from tale.errors import PromptRejected, TaskNotFound
from tale.servers.task_shapes import shown_of
from tale.tasks.outlook import Outlook
from tale.tasks.plan_policy import usual_seconds
from tale.tasks.plan_text import read_plan_text
from tale.tasks.task import ENDED, Task, TaskEvent
from tale.wire.contracts import PartView, TaskView
from tale.wire.overview_contracts import ProposedPlan

__all__ = ["Outlooks", "TaskLooks", "TaskSource", "cut", "proposed_of"]

_NEWEST: Final = 40
_LONGEST: Final = 2_000
"""Characters of a text that are shown; `show` has all of it."""
_MOST_FILES: Final = 100
_RESTING: Final = frozenset({*ENDED, "paused"})
"""States in which nothing moves without an event."""


class TaskSource(Protocol):
    """Where tasks are read; `tasks.store.TaskStore` is one."""

    async def get(self, identity: str) -> Task:
        """Look up a task; raises `TaskNotFound`."""
        ...

    async def newest(self, *, limit: int) -> list[Task]:
        """List tasks, newest first."""
        ...

    async def living(self) -> set[str]:
        """Give the ids of all tasks that have not ended."""
        ...


class Outlooks(Protocol):
    """Who knows how far a task is; `tasks.watching.Watching` is one."""

    async def of(self, identity: str, seen: int = 0) -> Outlook:
        """Say how a task stands."""
        ...


class TaskLooks:
    """Looks at the tasks."""

    def __init__(self, store: TaskSource, watching: Outlooks) -> None:
        """Begin with nothing known.

        Args:
            store: Has the tasks.
            watching: Knows how far they are.
        """
        self._store = store
        self._watching = watching
        self._tasks: list[Task] = []
        self._rested: dict[str, TaskView] = {}
        self._plans: dict[tuple[str, str], ProposedPlan | None] = {}
        self._stale = True

    def take(self, event: TaskEvent) -> bool:
        """Hear of an event; says whether it is more than a piece of text."""
        if event.kind == "token":
            return False
        self._stale = True
        self._rested.pop(event.task, None)
        return True

    async def look(self) -> tuple[TaskView, ...]:
        """Show them, newest first."""
        if self._stale:
            self._stale = False
            try:
                self._tasks = await self._listed()
            except BaseException:
                self._stale = True
                raise
        shown = [await self._shown(task) for task in self._tasks]
        listed = {task.id for task in self._tasks}
        self._rested = {name: one for name, one in self._rested.items() if name in listed}
        return tuple(shown)

    def plans(self, tasks: Iterable[TaskView]) -> tuple[ProposedPlan, ...]:
        """Give the plans that tasks ask about; each is read once."""
        asked = [task for task in tasks if task.plan]
        known = self._plans
        self._plans = {
            (task.id, task.digest): known[task.id, task.digest]
            if (task.id, task.digest) in known
            else proposed_of(task)
            for task in asked
        }
        return tuple(plan for plan in self._plans.values() if plan)

    async def _listed(self) -> list[Task]:
        newest = await self._store.newest(limit=_NEWEST)
        older = await self._store.living() - {task.id for task in newest}
        found = list(newest)
        for identity in sorted(older, reverse=True):
            try:
                found.append(await self._store.get(identity))
            except TaskNotFound:
                continue
        return found

    async def _shown(self, task: Task) -> TaskView:
        rested = self._rested.get(task.id)
        if rested is not None and rested.last_event == task.last_event:
            return rested
        view = cut(shown_of(task, await self._watching.of(task.id, task.last_event)))
        if task.state in _RESTING:
            self._rested[task.id] = view
        return view


def proposed_of(view: TaskView) -> ProposedPlan | None:
    """Take the plan that a task asks about apart; None where there is none that can be read."""
    if not view.plan:
        return None
    try:
        plan = read_plan_text(view.plan)
    except PromptRejected:
        return None
    seconds = view.planning[-1].seconds if view.planning else {}
    parts = tuple(
        PartView(
            id=part.id,
            title=part.title,
            state="waiting",
            kind=part.kind,
            depends_on=part.depends_on,
            expected=round(seconds.get(part.id, usual_seconds(part)), 1),
            reads=part.reads,
            writes=part.writes,
            acceptance=part.check,
            size=part.size,
            priority=part.priority,
        )
        for part in plan
    )
    return ProposedPlan(task=view.id, digest=view.digest, parts=parts)


def cut(view: TaskView) -> TaskView:
    """Leave out of a task what one does not read in a list."""
    return view.model_copy(
        update={
            "text": _cut(view.text),
            "answer": _cut(view.answer) if view.answer else view.answer,
            "error": _cut(view.error) if view.error else view.error,
            "files": view.files[:_MOST_FILES],
        }
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
