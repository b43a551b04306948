"""Many calls at once: bounds, batches, hedges, and time that travels with them."""

from __future__ import annotations

import time

import anyio
import pytest

from desk import (
    COUNT,
    ECHO,
    HANG,
    READ,
    SMALL,
    UNSERVED,
    WAIT,
    Ask,
    Desk,
    Told,
    calling,
    peer,
    serving,
)
from tale.errors import Busy, DeadlineExceeded, TaleError, TaskNotFound
from tale.servers.mcp_app import McpApp, Progress
from tale.wire.metrics import EdgeView, WireMetrics
from tale.wire.peers import FixedPeers
from tale.wire.pool import Services
from tale.wire.service import Limits
from tale.wire.tool import Tool

pytestmark = pytest.mark.anyio


def edges(views: list[EdgeView]) -> dict[str, EdgeView]:
    return {view.tool: view for view in views}


async def test_calls_beyond_the_bound_wait_their_turn_and_beyond_the_line_are_told_so() -> None:
    desk, metrics = Desk(), WireMetrics()
    told: list[Told] = []
    async with (
        serving(desk) as port,
        calling(
            FixedPeers(peer(port)), limits=Limits(in_flight=2, waiting=3), metrics=metrics
        ) as services,
        anyio.create_task_group() as tasks,
    ):

        async def ask(text: str) -> None:
            told.append(await services.call(WAIT, Ask(text=text), deadline=30))

        for number in range(5):
            tasks.start_soon(ask, str(number))
        await desk.hanging.wait()
        await anyio.wait_all_tasks_blocked()
        assert [one.in_flight for one in metrics.instances()] == [2]
        with pytest.raises(Busy, match="desk is busy: 3 calls wait"):
            await services.call(WAIT, Ask(), deadline=30)
        desk.released.set()
    assert {one.text for one in told} == set("01234")


async def test_who_waits_first_is_served_first() -> None:
    source = FixedPeers()
    order: list[str] = []
    async with (
        serving(Desk()) as port,
        calling(source, limits=Limits(in_flight=1)) as services,
        anyio.create_task_group() as tasks,
    ):

        async def ask(text: str) -> None:
            await services.call(ECHO, Ask(text=text), deadline=30)
            order.append(text)

        for text in "abcdef":
            tasks.start_soon(ask, text)
            await anyio.wait_all_tasks_blocked()
        source.set(peer(port))
    assert order == list("abcdef")


async def test_a_caller_that_leaves_the_line_lets_the_others_go_on() -> None:
    source = FixedPeers()
    told: list[Told] = []
    async with (
        serving(Desk()) as port,
        calling(source, limits=Limits(in_flight=1, waiting=2)) as services,
        anyio.create_task_group() as tasks,
    ):

        async def ask() -> None:
            told.append(await services.call(ECHO, Ask(text="second"), deadline=30))

        async with anyio.create_task_group() as leaving:
            leaving.start_soon(lambda: services.call(ECHO, Ask(text="first"), deadline=30))
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            leaving.cancel_scope.cancel()
        source.set(peer(port))
    assert told == [Told(text="second")]


async def test_calls_of_one_moment_travel_as_one_and_end_each_for_itself() -> None:
    desk = Desk()
    outcomes: dict[str, str] = {}
    async with serving(desk) as port, calling(FixedPeers(peer(port))) as services:

        async def ask(text: str) -> None:
            try:
                outcomes[text] = (await services.call(SMALL, Ask(text=text), deadline=10)).text
            except TaskNotFound as error:
                outcomes[text] = error.hint

        async with anyio.create_task_group() as tasks:
            for text in ("a", "bad", "c"):
                tasks.start_soon(ask, text)
        served = edges(desk.metrics.served.view(0))
    assert outcomes == {"a": "a", "bad": "`tale tasks` lists them.", "c": "c"}
    assert served["small_many"].calls == 1
    assert "small" not in served


async def test_a_single_call_of_a_batched_tool_travels_alone() -> None:
    desk = Desk()
    async with serving(desk) as port, calling(FixedPeers(peer(port))) as services:
        assert await services.call(SMALL, Ask(text="a"), deadline=10) == Told(text="a")
    assert set(edges(desk.metrics.served.view(0))) == {"small"}


async def test_a_request_that_waits_does_not_hold_up_those_made_with_it() -> None:
    desk = Desk()
    async with serving(desk) as port, calling(FixedPeers(peer(port))) as services:
        async with anyio.create_task_group() as tasks:
            for ask in (Ask(text="waits", count=1), Ask(text="a"), Ask(text="b")):
                tasks.start_soon(lambda ask=ask: services.call(SMALL, ask, deadline=10))
        served = edges(desk.metrics.served.view(0))
    assert (served["small"].calls, served["small_many"].calls) == (1, 1)


async def test_a_batch_ends_when_its_last_caller_has_left() -> None:
    desk = Desk()
    async with serving(desk) as port, calling(FixedPeers(peer(port))) as services:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(lambda: services.call(SMALL, Ask(text="hang"), deadline=60))
            await desk.hanging.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            await desk.cancelled.wait()


async def test_the_error_of_a_whole_batch_reaches_each_caller() -> None:
    caught: list[TaleError] = []
    unserved = Tool("desk", UNSERVED.name, "Nobody has it.", Ask, Told, batched=True)
    async with serving(Desk()) as port, calling(FixedPeers(peer(port))) as services:

        async def ask() -> None:
            try:
                await services.call(unserved, Ask(), deadline=10)
            except TaleError as error:
                caught.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            tasks.start_soon(ask)
    assert len(caught) == 2
    assert caught[0] is not caught[1]
    assert all("no tool 'unserved_many'" in str(error) for error in caught)


async def test_a_late_read_is_asked_elsewhere_too_and_the_loser_is_cancelled() -> None:
    stuck, quick, metrics = Desk(), Desk(), WireMetrics()
    quick.released.set()
    edge = metrics.made.edge("desk", READ.name)
    async with serving(stuck) as first, serving(quick) as second:
        source = FixedPeers(peer(first, 1, "desk-1"), peer(second, 2, "desk-2"))
        async with calling(source, metrics=metrics) as services:
            for _ in range(100):
                edge.began()
                edge.ended(time.monotonic(), 0.001)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(30):
                while not stuck.hanging.is_set():
                    await services.call(READ, Ask(), deadline=30)
        with anyio.fail_after(5):
            await stuck.cancelled.wait()
    assert edge.hedges >= 1
    assert edge.view(0.0).errors == {}


async def test_the_callers_time_bounds_the_handler_even_if_the_caller_never_leaves() -> None:
    desk = Desk()
    async with serving(desk) as port, calling(FixedPeers(peer(port))) as services:
        with pytest.raises(DeadlineExceeded):
            await services.call(HANG, Ask(), deadline=0.2)
        with anyio.fail_after(5):
            await desk.cancelled.wait()


async def test_a_nested_call_has_no_more_time_than_the_one_around_it() -> None:
    desk = Desk()
    outer = Tool("desk", "outer", "Call another.", Ask, Told)
    left: list[float] = []
    async with serving(desk) as port, calling(FixedPeers(peer(port))) as services:

        async def nested(request: Ask, progress: Progress) -> Told:
            del progress
            left.append(anyio.current_effective_deadline() - anyio.current_time())
            return await services.call(HANG, request, deadline=600)

        front = Desk()
        front.app = McpApp("desk", "Calls another.")
        front.app.add(outer, nested)
        async with serving(front) as other, calling(FixedPeers(peer(other))) as callers:
            with pytest.raises(DeadlineExceeded):
                await callers.call(outer, Ask(), deadline=0.5)
            with anyio.fail_after(5):
                await desk.cancelled.wait()
    assert 0 < left[0] <= 0.5


async def test_what_a_call_costs_is_counted_on_both_sides() -> None:
    desk, metrics = Desk(), WireMetrics()
    async with (
        serving(desk) as port,
        calling(FixedPeers(peer(port)), metrics=metrics) as services,
    ):
        await services.call(ECHO, Ask(), deadline=5)
        with pytest.raises(DeadlineExceeded):
            await services.call(HANG, Ask(), deadline=0.1)
        with anyio.fail_after(5):
            await desk.cancelled.wait()
        await services.call(COUNT, Ask(count=1), deadline=5)
        made, served = edges(metrics.made.view(0)), edges(desk.metrics.served.view(0))
    assert (made["echo"].calls, made["echo"].errors) == (1, {})
    assert (made["hang"].calls, made["hang"].errors) == (1, {"deadline_exceeded": 1})
    assert served["echo"].calls == 1
    assert sum(served["hang"].errors.values()) == 1
    assert [one.breaker for one in metrics.instances()] == ["closed"]


async def test_services_that_nobody_announced_have_no_instances() -> None:
    services = Services(FixedPeers(), services={"desk"}, token="", metrics=WireMetrics())
    async with services.open():
        with pytest.raises(DeadlineExceeded):
            await services.call(ECHO, Ask(), deadline=0.01)
