"""A step whose execution server is not there waits for one, and its task is told."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tale.errors import BackendFailed, DeadlineExceeded, ServiceUnavailable, TaleError
from tale.models.backend import Message
from tale.servers.steps import RemoteWorkers
from tale.tasks.hands import Outcome, Question, Reply, RunCommand
from tale.tasks.hands_json import write_reply
from tale.tasks.task import Began, Noted, Progress, Step
from tale.wire.execution_contracts import AskReply
from tale.wire.leash import Peer, Peers
from tale.wire.peers import FixedPeers
from tale.wire.presence import absence_of, presence_of
from tale.wire.tool import Tool

pytestmark = pytest.mark.anyio

STEP = Step("t-1", "do", "/w", "task", "work")
RESULT = Reply("did", "m", "task")
QUESTION = Question((Message("user", "do"),), 10)


def execution(pid: int = 1) -> Peer:
    return Peer(service="execution", name="execution-1", url="", pid=pid, starts=pid)


class Wire:
    """Takes calls, which wait until they are answered."""

    def __init__(self) -> None:
        self.deadlines: list[float] = []
        self.answer = anyio.Event()
        self.failure: TaleError | None = None
        self.left = 0
        self.say: Callable[[Mapping[str, object]], Awaitable[None]] | None = None

    async def call(
        self,
        tool: Tool[Any, Any],
        request: Any,
        *,
        deadline: float,
        on_progress: Callable[[Mapping[str, object]], Awaitable[None]] | None = None,
    ) -> Any:
        del tool, request
        self.deadlines.append(deadline)
        assert on_progress
        self.say = on_progress
        await on_progress({"began": True})
        try:
            await self.answer.wait()
        except anyio.get_cancelled_exc_class():
            self.left += 1
            raise
        if self.failure:
            failure, self.failure = self.failure, None
            raise failure
        return AskReply(reply=write_reply(RESULT))


class World:
    def __init__(self, *peers: Peer) -> None:
        self.wire, self.peers = Wire(), FixedPeers(*peers)
        self.told: list[Progress] = []
        self.results: list[Reply | Outcome | TaleError] = []

    async def report(self, progress: Progress) -> None:
        self.told.append(progress)

    @property
    def notes(self) -> int:
        return sum(isinstance(one, Noted) for one in self.told)

    async def run(self, grace: float) -> None:
        """Have a command run that must not be run twice."""
        workers = RemoteWorkers(self.wire, self.peers, deadline=7, grace=grace)
        try:
            command = RunCommand("pay")
            self.results.append(await workers.act(STEP, command, self.report, repeatable=False))
        except TaleError as error:
            self.results.append(error)

    async def do(self, grace: float) -> None:
        workers = RemoteWorkers(self.wire, self.peers, deadline=7, grace=grace)
        try:
            self.results.append(await workers.ask(STEP, QUESTION, self.report))
        except TaleError as error:
            self.results.append(error)

    @asynccontextmanager
    async def doing(self, grace: float) -> AsyncGenerator[None]:
        """Have the step done; on leaving, wait for its end."""
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.do, grace)
                await anyio.wait_all_tasks_blocked()
                yield
                await anyio.wait_all_tasks_blocked()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await anyio.wait_all_tasks_blocked()


async def test_a_step_without_a_server_is_not_handed_out_and_its_task_told_once() -> None:
    world = World()
    async with world.doing(grace=0):
        await until(lambda: world.notes == 1)
        assert world.wire.deadlines == []
        [note] = world.told
        assert isinstance(note, Noted)
        assert "No execution server" in note.text
        assert "by itself" in note.text
        world.peers.set()  # something else changed
        await anyio.wait_all_tasks_blocked()
        world.wire.answer.set()
        world.peers.set(execution())
    assert world.results == [RESULT]
    assert world.told == [note, Began()]
    assert world.wire.deadlines == [7]


async def test_a_server_that_is_only_restarting_is_not_worth_a_word() -> None:
    world = World()
    async with world.doing(grace=math.inf):
        world.wire.answer.set()
        world.peers.set(execution())
    assert world.results == [RESULT]
    assert world.told == [Began()]


async def test_a_step_whose_server_is_long_gone_begins_anew_with_all_its_time() -> None:
    world = World(execution())
    async with world.doing(grace=0):
        world.peers.set()
        await until(lambda: world.notes == 1)
        assert world.wire.left == 0
        world.peers.set(execution(2))
        await until(lambda: len(world.wire.deadlines) == 2)
        world.wire.answer.set()
    assert world.results == [RESULT]
    assert (world.wire.left, world.wire.deadlines, world.notes) == (1, [7, 7], 1)


async def test_a_step_goes_on_through_a_short_absence() -> None:
    world = World(execution())
    async with world.doing(grace=math.inf):
        world.peers.set()
        await anyio.wait_all_tasks_blocked()
        world.peers.set(execution(2))
        await anyio.wait_all_tasks_blocked()
        world.wire.answer.set()
    assert world.results == [RESULT]
    assert (world.wire.left, world.wire.deadlines) == (0, [7])


async def test_a_command_whose_server_is_long_gone_is_not_begun_anew() -> None:
    world = World(execution())
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.run, 0)
            await anyio.wait_all_tasks_blocked()
            world.peers.set()
            await until(lambda: world.notes == 1)
            world.peers.set(execution(2))
    [failure] = world.results
    assert isinstance(failure, ServiceUnavailable)
    assert (world.wire.left, world.wire.deadlines) == (1, [7])


class Draining(FixedPeers):
    """Peers that, once none is ready, hear of the last one's step before anybody waits."""

    hear: Callable[[], Awaitable[None]] | None = None

    async def wait_change(self) -> Peers:
        if self.hear and not self.peers.peers:
            await self.hear()
        return await super().wait_change()


async def test_a_server_that_was_told_to_leave_finishes_its_step_without_a_word() -> None:
    world = World(execution())
    world.peers = peers = Draining(execution())
    heard = anyio.Event()

    async def still_at_it() -> None:
        assert world.wire.say
        heard.set()
        await world.wire.say({"token": "still at it"})

    async with world.doing(grace=0):
        peers.hear = still_at_it
        peers.set()
        await heard.wait()
        await anyio.wait_all_tasks_blocked()
        peers.set(execution(2))
        await anyio.wait_all_tasks_blocked()
        world.wire.answer.set()
    assert world.results == [RESULT]
    assert (world.wire.left, world.wire.deadlines, world.notes) == (0, [7], 0)


async def test_a_result_that_comes_while_its_server_leaves_is_taken() -> None:
    world = World(execution())
    async with world.doing(grace=0):
        world.peers.set()
        await until(lambda: world.notes == 1)
        world.wire.answer.set()
    assert world.results == [RESULT]


async def test_time_that_ran_out_without_a_server_is_given_again() -> None:
    world = World(execution())
    async with world.doing(grace=math.inf):
        world.peers.set()
        world.wire.failure = DeadlineExceeded("an hour later")
        world.wire.answer.set()
        await anyio.wait_all_tasks_blocked()
        world.peers.set(execution(2))
    assert world.results == [RESULT]
    assert world.wire.deadlines == [7, 7]


@pytest.mark.parametrize("failure", [DeadlineExceeded("too slow"), BackendFailed("no")])
async def test_a_failure_beside_a_living_server_is_the_steps_own(failure: TaleError) -> None:
    world = World(execution())
    async with world.doing(grace=0):
        world.wire.failure = failure
        world.wire.answer.set()
    assert world.results == [failure]


async def test_absence_is_that_of_the_last_one() -> None:
    peers, gone = FixedPeers(execution(1), execution(2)), anyio.Event()

    async def wait() -> None:
        await absence_of(peers, "execution")
        gone.set()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            peers.set(execution(2))
            await anyio.wait_all_tasks_blocked()
            assert not gone.is_set()
            peers.set(Peer(service="models", name="models", url="", pid=9, starts=1))
    assert gone.is_set()


async def test_who_is_there_is_not_late() -> None:
    async def late() -> None:
        raise AssertionError

    assert not await presence_of(FixedPeers(execution()), "execution", late, grace=0)
