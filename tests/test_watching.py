"""Outlooks of tasks in a real database: learned from those before, the same after a restart."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tale.config import Settings
from tale.errors import TaskNotFound
from tale.paths import Paths
from tale.storage.database import Database
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task import StepResult, Subtask, TaskEvent
from tale.tasks.task_rows import Change
from tale.tasks.watching import Watching

pytestmark = pytest.mark.anyio


class World:
    """A store and those who watch it, at a time that is set by hand."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)
        self.store = TaskStore(database, folder, now=lambda: self.now)
        self.watching = self.new_watching()

    def new_watching(self) -> Watching:
        return Watching(self.store, kind_of=lambda _: "code", lanes=1, now=lambda: self.now)

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def tell(self, change: Change) -> TaskEvent:
        self.watching.take(change.event)
        return change.event

    async def begin(self) -> str:
        added = await self.store.add(NewTask("Write it"))
        assert isinstance(added, Change)
        self.tell(added)
        self.tell(await self.store.start(added.task.id, "task", "work"))
        return added.task.id

    async def finish(self, identity: str) -> None:
        self.tell(await self.store.finish(identity, StepResult("Done.", "big", "task")))

    async def do(self, seconds: float) -> None:
        identity = await self.begin()
        self.later(seconds)
        await self.finish(identity)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    async with opened(tmp_path) as made:
        yield made


@asynccontextmanager
async def opened(home: Path) -> AsyncGenerator[World]:
    paths = Paths.from_environment({"TALE_HOME": str(home)})
    async with Database.open(paths, Settings()) as database:
        yield World(database, paths.workspaces)


async def test_the_time_left_is_a_wide_guess_first_and_learned_from_those_that_were_done(
    world: World,
) -> None:
    first = (await world.watching.of(await world.begin())).eta
    for seconds in (190, 210, 200, 205, 195) * 4:
        await world.do(seconds)
    later = (await world.watching.of(await world.begin())).eta
    assert first is not None
    assert later is not None
    assert first.high / first.low > 5
    assert later.high / later.low < 4
    assert later.median == pytest.approx(200, rel=0.1)


async def test_what_was_learned_is_known_again_after_a_restart(world: World) -> None:
    for _ in range(5):
        await world.do(300)
    identity = await world.begin()
    before = await world.watching.of(identity)
    assert await world.new_watching().of(identity) == before


async def test_a_part_of_a_plan_is_expected_by_what_was_learned_of_its_kind_and_by_its_size(
    world: World,
) -> None:
    large = Subtask("a", "A", "do a", size="large")
    for _ in range(20):
        added = await world.store.add(NewTask("Write it", subtasks=(large,)))
        assert isinstance(added, Change)
        await world.store.start_part(added.task.id, large, "task", "")
        world.later(400)
        result = StepResult("Done.", "big", "task")
        for change in await world.store.finish_part(added.task.id, large, result):
            world.tell(change)
    medium, small = Subtask("m", "M", "t"), Subtask("s", "S", "t", size="small")
    found = await world.new_watching().expected((large, medium, small))
    assert found == {
        "a": pytest.approx(400, rel=0.1),
        "m": pytest.approx(200, rel=0.1),
        "s": pytest.approx(100, rel=0.1),
    }


async def test_an_outlook_follows_events_that_come_while_the_stored_ones_are_read(
    world: World,
) -> None:
    identity = await world.begin()
    assert (await world.watching.of(identity)).state == "running"
    world.later(30)
    world.tell(await world.store.note(identity, "acting", {"action": "run", "what": "pytest"}))
    found = await world.watching.of(identity)
    assert (found.elapsed, found.tool) == (30, "run pytest")
    await world.finish(identity)
    assert (await world.watching.of(identity)).percent == 100


async def test_percent_goes_back_at_a_restart_of_the_step_alone(world: World) -> None:
    identity = await world.begin()
    world.later(60)
    before = await world.watching.of(identity)
    world.tell(await world.store.note(identity, "resumed", {"why": "Its server died."}))
    after = await world.watching.of(identity)
    assert after.percent < before.percent
    assert after.setback == "Its server died."


async def test_an_unknown_task_is_said_to_be_unknown_each_time(world: World) -> None:
    for _ in range(2):
        with pytest.raises(TaskNotFound):
            await world.watching.of("t-none")


async def test_an_event_that_is_stored_counts_before_it_is_told(world: World) -> None:
    identity = await world.begin()
    await world.watching.of(identity)
    change = await world.store.cancel(identity)
    assert isinstance(change, Change)
    assert (await world.watching.of(identity)).state == "running"
    assert (await world.watching.of(identity, change.event.seq)).state == "cancelled"
