"""What dashboards show: how it is put together, and gathered only while somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from tale.errors import ServiceUnavailable
from tale.servers.overview_facts import (
    ServerReport,
    breakers_of,
    earlier_memory,
    is_asked_for_its_calls,
    memory_point,
    models_of,
    servers_of,
    tokens_of,
    wrong,
)
from tale.servers.overview_stream import stream_overview
from tale.servers.overview_tasks import cut
from tale.tasks.leave import Asked
from tale.wire.contracts import TaskView
from tale.wire.overview_change import merged
from tale.wire.overview_contracts import Change, ModelView, Overview, ServerView
from tale.wire.verdict import verdict
from web_world import PLAN, QUICK, TASK, UX, MemorySources, World, composed, parts, server, trend

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def report(name: str, **more: object) -> ServerReport:
    return ServerReport.model_validate(server(name, **more))


def test_a_start_is_told_the_same_each_time() -> None:
    first = servers_of([report("ux", uptime=10.0)], {}, (), NOW)
    later = servers_of([report("ux", uptime=11.4)], {}, first, NOW + timedelta(seconds=1))
    assert later[0].started == first[0].started == NOW - timedelta(seconds=10)
    again = servers_of([report("ux", uptime=0.5, pid=9)], {}, later, NOW + timedelta(seconds=2))
    assert again[0].started == NOW + timedelta(seconds=1)


def test_of_a_server_without_a_process_nothing_is_claimed() -> None:
    gone = report("ux", pid=None, state="backoff", url="", rss=0, cpu=0.0, crash_looping=True)
    shown = servers_of([gone], {}, (), NOW)[0]
    assert (shown.started, shown.rss, shown.cpu, shown.crash_looping) == (None, None, None, True)


def test_breakers_are_told_by_who_is_called() -> None:
    wires = {
        "gateway": {"instances": [{"name": "execution-1", "breaker": "open", "in_flight": 2}]},
        "ux": {"instances": [{"name": "gateway", "breaker": "closed"}, {"breaker": 3}, "x"]},
        "odd": {"instances": None},
    }
    found = breakers_of(wires)
    assert [(one.caller, one.state, one.in_flight) for one in found["execution-1"]] == [
        ("gateway", "open", 2)
    ]
    assert set(found) == {"execution-1", "gateway"}


def test_our_token_is_sent_to_servers_of_our_own_that_serve() -> None:
    assert is_asked_for_its_calls(report("gateway"))
    for other in (
        report("notes", foreign=True),
        report("model-ux"),
        report("ux", state="starting"),
        report("fork-server", url=""),
    ):
        assert not is_asked_for_its_calls(other)


async def test_models_have_their_roles_cost_of_switching() -> None:
    ux, task = models_of(await MemorySources().pool())
    assert (ux.name, ux.switching and ux.switching.reload_ms) == (UX, 5500.0)
    assert (task.name, task.in_flight, task.slots) == (TASK, 1, 2)


async def test_tokens_are_summed_by_model() -> None:
    usage = await MemorySources().usage()
    doubled = replace(usage, lines=usage.lines * 2)
    found = tokens_of(doubled, trend(1e9).hours)
    assert [(one.model, one.requests) for one in found.models] == [(TASK, 102), (UX, 160)]
    assert (found.computed_saved, len(found.trend)) == (0.642, 10)


def test_memory_is_told_for_each_model_and_for_all_else() -> None:
    models = (ModelView(name="small", state="ready", pid=11, memory_bytes=600),)
    servers = (
        ServerView(name="model-ux", state="ready", pid=11, rss=600),
        ServerView(name="ux", state="ready", pid=5, rss=70),
        ServerView(name="gateway", state="stopped"),
    )
    point = memory_point(1.0, models, servers, 42)
    assert (point.models, point.servers, point.available) == ({"small": 600}, 70, 42)


def test_the_minutes_before_anybody_looked_are_told_too() -> None:
    moments = [{"at": 5.0 * n, "cpu": 0.0, "rss": 100 + n} for n in range(3)]
    reports = [
        report("model-ux", pid=11, history=moments),
        report("ux", pid=5, history=moments[:2]),
        report("gateway", pid=6, history=[]),
    ]
    models = (ModelView(name="small", state="ready", pid=11, memory_bytes=600),)
    points = earlier_memory(reports, models, 1000.0)
    assert [(one.at, one.models, one.servers) for one in points] == [
        (990.0, {"small": 100}, 0),
        (995.0, {"small": 101}, 100),
        (1000.0, {"small": 102}, 101),
    ]
    assert earlier_memory([], (), 1000.0) == ()


READY = ServerView(name="gateway", state="ready", restarts=2)
CORE = ModelView(name="small", role="ux", state="ready")


@pytest.mark.parametrize(
    ("servers", "models", "trouble", "well", "words"),
    [
        (
            [READY],
            [CORE],
            [],
            True,
            "The server is ready and both models are resident; 2 restarts so far.",
        ),
        ([], [], [], False, "Nothing is known yet."),
        ([READY], [], [], False, "no core model"),
        ([READY.model_copy(update={"state": "backoff"})], [CORE], [], False, "gateway is backoff"),
        ([READY], [CORE.model_copy(update={"state": "loading"})], [], False, "small (ux) is load"),
        ([READY], [CORE], ["the models server is not there."], False, "not there."),
    ],
)
def test_one_sentence_says_whether_all_is_well(
    servers: list[ServerView], models: list[ModelView], trouble: list[str], well: bool, words: str
) -> None:
    faults = wrong(servers, models, trouble)
    found, said = verdict(faults, len(servers), sum(one.restarts for one in servers))
    assert found == well
    assert words in said


def test_long_texts_are_cut_in_a_list() -> None:
    task = TaskView(
        id="t", text="x" * 9000, state="done", workspace="", created=NOW, answer="y" * 3000
    )
    shown = cut(task)
    assert len(shown.text) == len(shown.answer or "") == 2000


def read(line: str) -> tuple[str, str, str]:
    """Take a server-sent event apart: id, kind, data."""
    fields = dict(row.split(": ", 1) for row in line.strip().split("\n"))
    return fields["id"], fields["event"], fields["data"]


class Reader:
    """Reads a stream and puts together what it tells, as a dashboard does."""

    def __init__(self, world: World, place: str = "") -> None:
        self._stream = stream_overview(world.overviews, place, heartbeat=60)
        self.overview: Overview | None = None
        self.place = place
        self.events: list[str] = []

    async def until(self, holds: Callable[[Overview], object]) -> Overview:
        while True:
            if self.overview and holds(self.overview):
                return self.overview
            await self.next()

    async def next(self) -> str:
        self.place, kind, data = read(await anext(self._stream))
        self.events.append(kind)
        if kind == "overview":
            self.overview = Overview.model_validate_json(data)
        elif kind == "changed":
            assert self.overview
            self.overview = merged(self.overview, Change.model_validate_json(data))
        return kind

    async def close(self) -> None:
        await self._stream.aclose()


async def test_a_reader_has_all_of_it_at_once_and_then_what_changes(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with composed(tmp_path) as (world, _):
            identity = await world.task("Write a program", *parts(("a", "Write it", ())))
            reader = Reader(world)
            assert await reader.next() == "overview"
            found = await reader.until(lambda one: one.servers and one.models and one.tokens)
            assert found.daemon.well
            assert found.daemon.address == "http://127.0.0.1:7433"
            assert [task.id for task in found.tasks] == [identity]
            assert [one.caller for one in found.servers[3].breakers] == ["gateway"]
            await world.note(identity, "subtask", id="a", state="running")
            far = await reader.until(
                lambda one: one.tasks[0].progress and one.tasks[0].progress.doing
            )
            assert far.tasks[0].progress
            assert far.tasks[0].progress.parts[0].state == "running"
            await world.finish(identity, "It is written.", "one.py")
            done = await reader.until(lambda one: one.tasks[0].state == "done")
            assert (done.tasks[0].answer, done.tasks[0].files) == ("It is written.", ("one.py",))
            assert reader.events.count("overview") == 1
            await reader.close()


async def test_a_late_reader_misses_nothing_of_what_happened_to_tasks(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with composed(tmp_path) as (world, _):
            identity = await world.task("Write a program")
            first = Reader(world)
            await first.next()
            await first.close()
            for n in range(3):
                await world.note(identity, "note", text=str(n))
            late = Reader(world, first.place)
            told = [await late.next() for _ in range(3)]
            assert told == ["task", "task", "task"]
            await late.close()
            stranger = Reader(world, "another-7")
            assert await stranger.next() == "overview"
            await stranger.close()


async def test_a_reader_that_falls_behind_gets_the_whole_anew(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with composed(tmp_path) as (world, _):
            reader = Reader(world)
            await reader.next()
            for _ in range(300):
                world.overviews.broadcast.tell("task", "{}")
            assert await reader.next() == "overview"
            await reader.close()


async def test_a_source_that_fails_is_named_and_the_rest_is_told(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with composed(tmp_path) as (world, _):
            world.sources.gone = {"pool", "trend"}
            reader = Reader(world)
            found = await reader.until(lambda one: one.servers)
            assert found.troubles == ("the pool is not there", "the trend is not there")
            assert (found.models, found.tokens, found.daemon.well) == ((), None, False)
            world.sources.gone = set()
            healed = await reader.until(lambda one: one.models and one.tokens)
            assert healed.troubles == ()
            await reader.close()


async def test_what_ended_lately_is_in_the_history_once(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with composed(tmp_path) as (world, _):
            told = trend(datetime.now(UTC).timestamp())
            world.sources.known = replace(told, ended=told.ended[:60])
            reader = Reader(world)
            await reader.until(lambda one: len(one.history.requests) == 60)
            world.sources.known = told
            found = await reader.until(lambda one: len(one.history.requests) == 100)
            assert [point.number for point in found.history.requests] == list(range(1, 101))
            assert len(found.history.memory) >= 30
            await reader.close()


async def test_nothing_is_looked_at_while_nobody_watches(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with composed(tmp_path, pace=replace(QUICK, servers=0.01)) as (world, _):
            await anyio.wait_all_tasks_blocked()
            assert world.sources.looks == 0
            reader = Reader(world)
            await reader.next()
            assert world.sources.looks > 0
            await reader.close()
            await anyio.wait_all_tasks_blocked()
            looks = world.sources.looks
            await world.task("Nobody sees it")
            await anyio.wait_all_tasks_blocked()
            assert world.sources.looks == looks
            again = Reader(world)
            await again.until(lambda one: one.tasks)
            await again.close()


async def test_there_is_an_end_to_how_many_may_watch(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with composed(tmp_path) as (world, _):
            readers = [Reader(world) for _ in range(33)]
            for reader in readers[:32]:
                await reader.next()
            with pytest.raises(ServiceUnavailable, match="open already"):
                await readers[32].next()
            for reader in readers:
                await reader.close()


async def test_a_task_that_asks_shows_its_plan_and_names_what_is_asked(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with composed(tmp_path) as (world, _):
            identity = await world.task("Build an application")
            await world.ask(identity, Asked("q1", "May it follow this plan?", "plan", PLAN, "d1"))
            reader = Reader(world)
            found = await reader.until(lambda one: one.tasks and one.tasks[0].state == "waiting")
            task = found.tasks[0]
            assert (task.plan, task.digest, task.asked) == (PLAN, "d1", "q1")
            assert (found.plans[0].task, found.plans[0].digest) == (identity, "d1")
            assert [(one.id, one.depends_on, one.acceptance) for one in found.plans[0].parts] == [
                ("models", (), ""),
                ("api", ("models",), "pytest -q"),
                ("pages", ("api",), ""),
            ]
            await reader.close()
