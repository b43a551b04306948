"""The wire between our servers: real HTTP, real MCP, servers that come and go."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import pytest

from desk import (
    COUNT,
    ECHO,
    FAIL,
    HANG,
    ONCE,
    UNSERVED,
    WAIT,
    WHO,
    Ask,
    Desk,
    Told,
    calling,
    peer,
    serving,
)
from tale.errors import DeadlineExceeded, ServiceUnavailable, TaskNotFound, WireError
from tale.wire.peers import FixedPeers
from tale.wire.service import Limits
from tale.wire.tool import Tool

pytestmark = pytest.mark.anyio


async def test_a_call_carries_its_request_and_brings_its_reply() -> None:
    async with serving(Desk()) as port, calling(FixedPeers(peer(port))) as services:
        assert await services.call(ECHO, Ask(text="ünï"), deadline=5) == Told(text="ünï")


async def test_progress_arrives_in_order_and_before_the_reply() -> None:
    seen: list[int] = []

    async def note(data: Mapping[str, int]) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(data["number"])

    async with serving(Desk()) as port, calling(FixedPeers(peer(port))) as services:
        await services.call(COUNT, Ask(count=200), deadline=10, on_progress=note)
        assert seen == list(range(200))


async def test_an_error_of_the_tool_keeps_its_class_and_hint() -> None:
    async with serving(Desk()) as port, calling(FixedPeers(peer(port))) as services:
        with pytest.raises(TaskNotFound) as caught:
            await services.call(FAIL, Ask(), deadline=5)
        assert caught.value.hint == "`tale tasks` lists them."


async def test_an_unexpected_error_says_where_the_traceback_is_and_nothing_more() -> None:
    async with serving(Desk()) as port, calling(FixedPeers(peer(port))) as services:
        with pytest.raises(Exception, match="tale logs desk") as caught:
            await services.call(FAIL, Ask(text="unexpected"), deadline=5)
        assert "secret detail" not in str(caught.value)


async def test_an_unknown_tool_is_named() -> None:
    async with serving(Desk()) as port, calling(FixedPeers(peer(port))) as services:
        with pytest.raises(Exception, match="no tool 'unserved'"):
            await services.call(UNSERVED, Ask(), deadline=5)


async def test_a_call_waits_until_its_service_is_there() -> None:
    source = FixedPeers()
    told: list[Told] = []
    async with serving(Desk()) as port, calling(source) as services, anyio.create_task_group() as t:

        async def ask() -> None:
            told.append(await services.call(ONCE, Ask(text="late"), deadline=10))

        t.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert told == []
        source.set(peer(port))
    assert told == [Told(text="late")]


async def test_a_service_that_never_comes_ends_with_the_deadline() -> None:
    async with calling(FixedPeers()) as services:
        with pytest.raises(DeadlineExceeded, match=r"desk\.echo"):
            await services.call(ECHO, Ask(), deadline=0.05)


async def test_a_tool_that_hangs_ends_with_the_deadline_and_is_cancelled_on_the_server() -> None:
    desk = Desk()
    async with serving(desk) as port, calling(FixedPeers(peer(port))) as services:
        with pytest.raises(DeadlineExceeded):
            await services.call(HANG, Ask(), deadline=0.5)
        with anyio.fail_after(5):
            await desk.cancelled.wait()
        assert await services.call(ECHO, Ask(text="still here"), deadline=5)


async def test_a_cancelled_caller_cancels_the_work_on_the_server() -> None:
    desk = Desk()
    async with serving(desk) as port, calling(FixedPeers(peer(port))) as services:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: services.call(HANG, Ask(), deadline=60))
            await desk.hanging.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            await desk.cancelled.wait()


async def test_calls_go_on_after_the_server_was_replaced() -> None:
    source = FixedPeers()
    async with calling(source) as services:
        async with serving(Desk()) as port:
            source.set(peer(port, pid=1))
            await services.call(ECHO, Ask(text="a"), deadline=5)
        async with serving(Desk()) as port:
            source.set(peer(port, pid=2))
            assert await services.call(ECHO, Ask(text="b"), deadline=5) == Told(text="b")


async def test_calls_in_flight_end_well_on_a_process_that_is_announced_as_gone() -> None:
    draining, fresh = Desk(), Desk()
    told: list[Told] = []
    async with serving(draining) as old, serving(fresh) as new:
        source = FixedPeers(peer(old, 1))
        async with calling(source) as services:
            async with anyio.create_task_group() as tasks:

                async def ask() -> None:
                    told.append(await services.call(WAIT, Ask(text="old"), deadline=20))

                tasks.start_soon(ask)
                await draining.hanging.wait()
                source.set(peer(new, 2))
                await anyio.wait_all_tasks_blocked()
                assert await services.call(WHO, Ask(), deadline=5) == Told(text=str(id(fresh)))
                draining.released.set()
            assert told == [Told(text="old")]


async def test_a_server_that_is_gone_but_still_announced_is_waited_for() -> None:
    source = FixedPeers()
    told: list[Told] = []
    answered = anyio.Event()
    async with calling(source) as services:
        async with serving(Desk()) as port:
            source.set(peer(port))
            await services.call(ONCE, Ask(text="a"), deadline=5)
        await anyio.wait_all_tasks_blocked()  # the end of its connections has been seen
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                told.append(await services.call(ONCE, Ask(text="b"), deadline=20))
                answered.set()

            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            async with serving(Desk(), port):
                with anyio.fail_after(20):
                    await answered.wait()
        assert told == [Told(text="b")]


async def test_what_broke_in_mid_call_is_repeated_only_if_that_is_harmless() -> None:
    harmless = Tool("desk", "hang", "Hang, harmlessly.", Ask, Told, idempotent=True)
    source = FixedPeers()
    broken: list[type[Exception]] = []
    async with calling(source) as services:
        desk = Desk()
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                try:
                    await services.call(HANG, Ask(), deadline=20)
                except ServiceUnavailable as error:
                    broken.append(type(error))

            async def ask_harmlessly() -> None:
                try:
                    await services.call(harmless, Ask(), deadline=1)
                except DeadlineExceeded as error:
                    broken.append(type(error))

            async with serving(desk) as port:
                source.set(peer(port))
                tasks.start_soon(ask)
                tasks.start_soon(ask_harmlessly)
                await desk.hanging.wait()
        assert set(broken) == {ServiceUnavailable, DeadlineExceeded}


async def test_the_least_loaded_replica_gets_the_call() -> None:
    busy, idle = Desk(), Desk()
    async with serving(busy) as first, serving(idle) as second:
        source = FixedPeers(peer(first, 1, "desk-1"))
        async with calling(source) as services, anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: services.call(HANG, Ask(), deadline=60))
            await busy.hanging.wait()
            source.set(peer(first, 1, "desk-1"), peer(second, 2, "desk-2"))
            tasks.start_soon(lambda: services.call(HANG, Ask(), deadline=60))
            with anyio.fail_after(10):
                while not idle.hanging.is_set():
                    busy.hanging = anyio.Event()
                    tasks.start_soon(lambda: services.call(HANG, Ask(), deadline=60))
                    await anyio.wait_all_tasks_blocked()
            assert idle.hanging.is_set()
            tasks.cancel_scope.cancel()


async def test_a_wrong_token_is_refused() -> None:
    async with serving(Desk()) as port, calling(FixedPeers(peer(port)), "wrong") as services:
        with pytest.raises((DeadlineExceeded, WireError)):
            await services.call(ECHO, Ask(), deadline=1)


async def test_an_instance_that_died_unannounced_costs_its_callers_nothing() -> None:
    async with serving(Desk()) as living:
        source = FixedPeers()
        async with calling(source) as services:
            async with serving(Desk()) as dead:
                source.set(peer(living, 1, "desk-1"), peer(dead, 2, "desk-2"))
                for _ in range(10):
                    await services.call(ECHO, Ask(text="both"), deadline=5)
            # Half of these would fail, more than there are retries for, but for the breaker.
            for number in range(50):
                told = await services.call(ONCE, Ask(text=str(number)), deadline=5)
                assert told == Told(text=str(number))


async def test_when_a_whole_service_fails_retries_end_with_a_clear_error() -> None:
    source = FixedPeers()
    failures: list[Exception] = []
    async with calling(source, limits=Limits(in_flight=4)) as services:
        async with serving(Desk()) as port:
            source.set(peer(port))
            await services.call(ECHO, Ask(), deadline=5)

        async def ask() -> None:
            try:
                await services.call(ECHO, Ask(), deadline=2)
            except (ServiceUnavailable, DeadlineExceeded) as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(ask)
    assert len(failures) == 30
    assert any("too many calls" in str(error) for error in failures)
