"""The gateway's figures: how many tasks are in which state, and what happened to them.

Above: `exposition`, through `WireMetrics.show`. Below: `ProgressHub`, of which it is a listener,
and the database, which is asked for the states when somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, get_args

from tale.errors import StorageError
from tale.storage.database import Database
from tale.tasks.task import ENDED, State, TaskEvent
from tale.tasks.task_rows import count_states
from tale.wire.figures import Figure, Sample, Tally

__all__ = ["TaskFigures"]

_COUNTED: Final = frozenset(
    {"queued", "started", "plan", "approval", "approved", "rejected", "checkpoint", "restored"}
) | frozenset(ENDED)
_STATES: Final[tuple[State, ...]] = get_args(State)


class TaskFigures:
    """Counts what happens to tasks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._events = Tally(
            "tale_task_events", "What happened to tasks, and to parts of them.", "event"
        )

    def take(self, event: TaskEvent) -> None:
        """Hear of an event, as a listener of the hub."""
        if event.kind in _COUNTED:
            self._events.add(event.kind)

    async def figures(self) -> Iterable[Figure]:
        """Give all of them; without the states while the database can't be read."""
        figures = [self._events.figure()]
        try:
            states = await self._database.read(count_states)
        except StorageError:
            return figures
        samples = tuple(Sample((state,), states.get(state, 0)) for state in _STATES)
        figures.append(Figure("tale_tasks", "gauge", "Tasks by their state.", ("state",), samples))
        return figures
