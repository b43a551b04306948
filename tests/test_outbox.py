"""Kept work survives, goes out in order, and becomes one task however often it is delivered."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy import Connection, select

from tale.config import Settings
from tale.errors import (
    DeadlineExceeded,
    InvalidRequest,
    PromptRejected,
    ServiceUnavailable,
    StorageReadOnly,
    TaleError,
    TaskError,
    WorkspaceUnusable,
)
from tale.memory.exchange import Work
from tale.memory.forgetting import BySession, Forgetting
from tale.memory.outbox import Outbox, deliver, is_passing
from tale.memory.turns import NewTurn, TurnStore
from tale.paths import Paths
from tale.storage.database import Database
from tale.storage.schema import outbox

pytestmark = pytest.mark.anyio

TOLD = NewTurn("assistant", "It is kept.")


class Gateway:
    """Takes work once by its key; fails as often as it is told to."""

    def __init__(self, *failures: TaleError) -> None:
        self.failures = list(failures)
        self.tasks: dict[str, str] = {}
        self.asked: list[str] = []

    async def submit(self, work: Work) -> str:
        self.asked.append(work.text)
        await anyio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        return self.tasks.setdefault(work.key, f"t-{len(self.tasks) + 1}")


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.turns, self.outbox = TurnStore(database), Outbox(database)
        self.session = ""
        self.paused: list[float] = []

    async def keep(self, *texts: str) -> list[str]:
        """Keep work of one conversation; gives its keys."""
        keys: list[str] = []
        for text in texts:
            turn = await self.turns.add(self.session or None, NewTurn("user", text))
            self.session = turn.session
            keys.append(f"{turn.session}/{turn.seq}")
            await self.outbox.keep(Work(text, "/w", turn.session, keys[-1]), TOLD)
        return keys

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        await anyio.lowlevel.checkpoint()

    @asynccontextmanager
    async def delivering(self, gateway: Gateway) -> AsyncGenerator[None]:
        async def run() -> None:
            await deliver(self.outbox, gateway, pause=self.pause)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                yield
                tasks.cancel_scope.cancel()

    async def told(self) -> list[tuple[str, str | None]]:
        return [(turn.text, turn.task) for turn in await self.turns.turns(self.session)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    async with Database.open(paths, Settings()) as database:
        yield World(database)


async def test_kept_work_goes_out_in_order_and_its_turns_get_their_tasks(world: World) -> None:
    keys = await world.keep("one", "two", "three")
    gateway = Gateway()
    async with world.delivering(gateway):
        tasks = [await world.outbox.task_of(key) for key in keys]
    assert tasks == ["t-1", "t-2", "t-3"]
    assert gateway.asked == ["one", "two", "three"]
    assert [task for _, task in await world.told()] == [None, "t-1", None, "t-2", None, "t-3"]


async def test_what_is_kept_later_is_delivered_too(world: World) -> None:
    gateway = Gateway()
    async with world.delivering(gateway):
        await anyio.wait_all_tasks_blocked()
        [key] = await world.keep("one")
        assert await world.outbox.task_of(key) == "t-1"
    assert gateway.asked == ["one"]


async def test_another_process_delivers_what_one_that_died_had_kept(world: World) -> None:
    [key] = await world.keep("one")
    again = World(world.database)
    async with again.delivering(Gateway()):
        assert await again.outbox.task_of(key) == "t-1"


async def test_work_whose_delivery_was_not_recorded_is_one_task(world: World) -> None:
    [key] = await world.keep("one")
    gateway = Gateway()
    await gateway.submit((await world.outbox.oldest()).work)  # and then the process is killed
    async with world.delivering(gateway):
        assert await world.outbox.task_of(key) == "t-1"
    assert gateway.asked == ["one", "one"]
    assert len(gateway.tasks) == 1


async def test_a_gateway_that_can_not_take_it_yet_is_asked_again_less_and_less_often(
    world: World,
) -> None:
    [key] = await world.keep("one")
    passing = [DeadlineExceeded("a"), ServiceUnavailable("b"), *[StorageReadOnly("full")] * 5]
    async with world.delivering(Gateway(*passing)):
        assert await world.outbox.task_of(key) == "t-1"
    assert world.paused == [0.5, 1, 2, 4, 8, 10, 10]


async def test_what_the_gateway_refuses_is_told_and_does_not_hold_up_the_rest(
    world: World,
) -> None:
    one, two = await world.keep("one", "two")
    async with world.delivering(Gateway(WorkspaceUnusable("/w is a file", hint="Move it."))):
        assert await world.outbox.task_of(two) == "t-1"
        with pytest.raises(TaskError, match=r"could not be started. /w is a file Move it\."):
            await world.outbox.task_of(one)
    assert (await world.told())[-1] == (
        "The work that was kept could not be started. /w is a file Move it.",
        None,
    )


async def test_work_of_a_forgotten_conversation_that_is_refused_does_not_hold_up_the_rest(
    world: World,
) -> None:
    other = World(world.database)
    await world.keep("one")
    [two] = await other.keep("two")
    await Forgetting(world.database).forget(BySession(world.session))
    async with other.delivering(Gateway(WorkspaceUnusable("/w is a file"))):
        assert await other.outbox.task_of(two) == "t-1"


async def test_what_was_forgotten_while_it_waited_is_gone_once_it_waits_no_more(
    world: World,
) -> None:
    [refused, taken] = await world.keep("tell Ada", "ask Ada")
    await Forgetting(world.database).forget(BySession(world.session))

    def texts(connection: Connection) -> list[str]:
        return list(connection.scalars(select(outbox.c.text)))

    assert await world.database.read(texts) == ["tell Ada", "ask Ada"], "it was promised"
    async with world.delivering(Gateway(PromptRejected("too long"))):
        assert await world.outbox.task_of(taken) == "t-1"
        with pytest.raises(TaskError, match="too long"):
            await world.outbox.task_of(refused)
    assert await world.database.read(texts) == ["", ""]


async def test_work_nobody_kept_is_not_waited_for(world: World) -> None:
    with pytest.raises(TaskError, match="s-none/1"):
        await world.outbox.task_of("s-none/1")


async def test_work_is_kept_whole_or_not_at_all(world: World) -> None:
    [key] = await world.keep("one")
    with pytest.raises(Exception, match="UNIQUE"):
        await world.outbox.keep(Work("again", None, world.session, key), TOLD)
    assert [text for text, _ in await world.told()] == ["one", "It is kept."]


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (ServiceUnavailable(""), True),
        (DeadlineExceeded(""), True),
        (StorageReadOnly(""), True),
        (InvalidRequest(""), False),
        (PromptRejected(""), False),
        (WorkspaceUnusable(""), False),
        (TaleError("it crashed"), False),
    ],
)
def test_only_what_passes_is_tried_again(error: TaleError, *, passing: bool) -> None:
    assert is_passing(error) == passing
