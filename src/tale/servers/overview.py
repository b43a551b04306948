"""Gathers the overview, once for all who look at it, and only while somebody does.

Each source has a loop of its own: one that fails, or is slow, is named in `troubles`, and the rest
goes on. What is new is told to a `Broadcast` as the change since the last time. Above: `web_api`
and `overview_stream`. Below: `overview_sources` (who is asked), `overview_facts` (what they say),
`overview_tasks`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import anyio

from tale import __version__
from tale.errors import ServiceUnavailable, TaleError
from tale.models.machine import MachineMemory
from tale.servers.broadcast import Broadcast
from tale.servers.overview_facts import (
    SupervisorReport,
    breakers_of,
    earlier_memory,
    is_asked_for_its_calls,
    memory_point,
    models_of,
    requests_of,
    servers_of,
    tokens_of,
    wrong,
)
from tale.servers.overview_sources import Sources
from tale.servers.overview_tasks import TaskLooks
from tale.tasks.task import TaskEvent
from tale.wire.contracts import Event, TaskView
from tale.wire.overview_change import change_between, joined
from tale.wire.overview_contracts import (
    BreakerView,
    Change,
    DaemonView,
    HistoryView,
    MachineView,
    ModelView,
    Overview,
    ServerView,
    TokensView,
)
from tale.wire.verdict import verdict

__all__ = ["Overviews", "Pace"]

_MOST_READERS: Final = 32
_LOOK_SECONDS: Final = 3.0
"""A source that takes longer is given up for this time."""
_GAP_SECONDS: Final = 30.0
"""After so long without a look at the memory, what the supervisor has kept is told as well."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two looks while somebody watches.

    Attributes:
        servers: At what runs.
        wires: At what they call; asks every server.
        models: At the models.
        tokens: At what they took.
        tasks: At the tasks, if nothing happens to them before.
        memory: Between two points of the memory's history.
        told: Between two words to those who watch.
    """

    servers: float = 2.5
    wires: float = 5.0
    models: float = 2.0
    tokens: float = 5.0
    tasks: float = 1.0
    memory: float = 5.0
    told: float = 0.5


class Overviews:
    """What is known, and who watches it. `run` must be running in a task group.

    Attributes:
        broadcast: The changes, as the event `changed`, and what happens to tasks, as `task`.
    """

    def __init__(
        self,
        sources: Sources,
        tasks: TaskLooks,
        *,
        address: Callable[[], str],
        now: Callable[[], datetime],
        pace: Pace | None = None,
    ) -> None:
        """Look at nothing yet.

        Args:
            sources: Who is asked.
            tasks: Looks at the tasks.
            address: Gives the gateway's URL, once it is known.
            now: Gives the present time, in UTC.
            pace: How often to look.
        """
        self.broadcast = Broadcast()
        self._sources = sources
        self._task_looks = tasks
        self._address = address
        self._now = now
        self._pace = pace or Pace()
        self._readers = 0
        self._wanted = anyio.Event()
        self._unwanted = anyio.Event()
        self._shown = anyio.Event()
        self._stirred = anyio.Event()
        self._happened = anyio.Event()
        self._unseen: set[str] = set()
        self._troubles: dict[str, str] = {}
        self._report: SupervisorReport | None = None
        self._wires: Mapping[str, tuple[BreakerView, ...]] = {}
        self._wires_at = -anyio.current_time()
        self._servers: tuple[ServerView, ...] = ()
        self._models: tuple[ModelView, ...] = ()
        self._reserve: int | None = None
        self._tasks: tuple[TaskView, ...] = ()
        self._tokens: TokensView | None = None
        self._history = HistoryView()
        self._last = Overview(at=now())

    def take(self, event: TaskEvent) -> None:
        """Hear of an event, as a listener of the hub."""
        if self._task_looks.take(event):
            told = Event(
                task=event.task, seq=event.seq, at=event.at, kind=event.kind, data=dict(event.data)
            )
            # Also while nobody looks: who comes back within a while reads on where they were.
            self.broadcast.tell("task", told.model_dump_json())
            self._happened.set()

    @contextmanager
    def watch(self) -> Generator[None]:
        """Have it gathered for as long as the block lasts.

        Raises:
            ServiceUnavailable: Too many do already.
        """
        if self._readers >= _MOST_READERS:
            raise ServiceUnavailable(
                f"{_MOST_READERS} dashboards are open already.", hint="Close some of them."
            )
        self._readers += 1
        if self._readers == 1:
            self._unwanted = anyio.Event()
            self._shown = anyio.Event()
            self._wanted.set()
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                self._wanted = anyio.Event()
                self._unwanted.set()

    async def whole(self) -> tuple[int, Overview]:
        """Give all that is known, fresh, and the number of the last news that it has in it.

        Only within `watch`.
        """
        await self._shown.wait()
        return self.broadcast.last, self._last

    async def run(self) -> None:
        """Look while somebody watches, until cancelled."""
        while True:
            await self._wanted.wait()
            looks: dict[str, tuple[float, Callable[[], Awaitable[None]]]] = {
                "servers": (self._pace.servers, self._look_at_servers),
                "models": (self._pace.models, self._look_at_models),
                "tokens": (self._pace.tokens, self._look_at_tokens),
                "tasks": (self._pace.tasks, self._look_at_tasks),
            }
            self._unseen = set(looks)
            async with anyio.create_task_group() as looking:
                for name, (seconds, look) in looks.items():
                    looking.start_soon(self._keep_looking, name, seconds, look)
                looking.start_soon(self._tell)
                await self._unwanted.wait()
                looking.cancel_scope.cancel()

    async def _keep_looking(
        self, name: str, seconds: float, look: Callable[[], Awaitable[None]]
    ) -> None:
        while True:
            trouble = f"the {name} could not be looked at in {_LOOK_SECONDS:g} s"
            with anyio.move_on_after(_LOOK_SECONDS):
                try:
                    await look()
                    trouble = ""
                except TaleError as error:
                    trouble = error.message
            if trouble:
                self._troubles[name] = trouble
            else:
                self._troubles.pop(name, None)
            self._unseen.discard(name)
            self._stirred.set()
            if name == "tasks":
                with anyio.move_on_after(seconds):
                    await self._happened.wait()
                self._happened = anyio.Event()
            else:
                await anyio.sleep(seconds)

    async def _tell(self) -> None:
        """Tell what is new, whenever something is, but not too often."""
        while True:
            await self._stirred.wait()
            self._stirred = anyio.Event()
            if self._unseen:
                continue
            overview = self._assembled()
            change = change_between(self._last, overview)
            if not change.empty:
                self._last = overview
                self.broadcast.tell("changed", _written(change))
            self._shown.set()
            await anyio.sleep(self._pace.told)

    async def _look_at_servers(self) -> None:
        report = await self._sources.supervisor()
        if anyio.current_time() - self._wires_at >= self._pace.wires:
            self._wires_at = anyio.current_time()
            self._wires = breakers_of(await self._wires_of(report))
        now = self._now()
        self._report = report
        self._servers = servers_of(report.servers, self._wires, self._servers, now)

    async def _wires_of(self, report: SupervisorReport) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}

        async def ask(name: str, url: str) -> None:
            with suppress(TaleError):  # that one doesn't answer is told by its state
                found[name] = await self._sources.wire(url)

        async with anyio.create_task_group() as asking:
            for server in filter(is_asked_for_its_calls, report.servers):
                asking.start_soon(ask, server.name, server.url)
        return found

    async def _look_at_models(self) -> None:
        pool = await self._sources.pool()
        self._models, self._reserve = models_of(pool), pool.reserve_bytes

    async def _look_at_tokens(self) -> None:
        known = max((point.number for point in self._history.requests), default=0)
        trend = await self._sources.trend(known)
        self._tokens = tokens_of(await self._sources.usage(), trend.hours)
        new = HistoryView(requests=requests_of(trend.ended))
        self._history = joined(self._history, new, self._now().timestamp())

    async def _look_at_tasks(self) -> None:
        self._tasks = await self._task_looks.look()

    def _assembled(self) -> Overview:
        now = self._now()
        memory = MachineMemory.read()
        self._note_memory(now.timestamp(), memory.available)
        troubles = tuple(self._troubles[name] for name in sorted(self._troubles))
        restarts = sum(server.restarts for server in self._servers)
        faults = wrong(self._servers, self._models, troubles)
        well, said = verdict(faults, len(self._servers), restarts)
        report = self._report
        return Overview(
            at=now,
            daemon=DaemonView(
                version=__version__,
                pid=report.pid if report else None,
                started=report.started if report else None,
                address=self._address(),
                well=well,
                verdict=said,
            ),
            machine=MachineView(
                memory_total=memory.total,
                memory_available=memory.available >> 24 << 24,  # smaller changes are no news
                memory_reserve=self._reserve,
                cores=os.cpu_count(),
                load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
            ),
            servers=self._servers,
            models=self._models,
            tasks=self._tasks,
            plans=self._task_looks.plans(self._tasks),
            tokens=self._tokens,
            history=self._history,
            troubles=troubles,
        )

    def _note_memory(self, now: float, available: int) -> None:
        """Add a point to the memory's history, and those of the time when nobody looked."""
        last = self._history.memory[-1].at if self._history.memory else 0.0
        if not self._servers or now - last < self._pace.memory:
            return
        earlier = ()
        if now - last > _GAP_SECONDS and self._report:
            told = earlier_memory(self._report.servers, self._models, now)
            earlier = tuple(point for point in told if last < point.at < now)
        point = memory_point(now, self._models, self._servers, available)
        self._history = joined(self._history, HistoryView(memory=(*earlier, point)), now)


def _written(change: Change) -> str:
    """Write a change without what is as it was."""
    fields = type(change).model_fields
    same = {name for name, field in fields.items() if getattr(change, name) == field.default}
    return change.model_dump_json(exclude=same)
