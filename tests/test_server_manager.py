"""The manager's work, with processes that exist only in memory; their leashes are real sockets."""

from __future__ import annotations

import itertools
import os
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread
import pytest
from pydantic import JsonValue

from memory_spawner import PATIENT, MemoryProcess, MemorySpawner, spec
from tale.config import Settings
from tale.errors import DaemonError, ServiceUnavailable
from tale.orchestration import rollout
from tale.orchestration.leashes import answer
from tale.orchestration.near_end import NearEnd
from tale.orchestration.own_servers import default_specs, model_spec
from tale.orchestration.owned import OwnedProcesses
from tale.orchestration.probe import Probe
from tale.orchestration.server_manager import ServerManager
from tale.orchestration.specs import FORK_SERVER, Dependency, ServerSpec
from tale.wire.leash import (
    Call,
    Failed,
    FailedStart,
    Fault,
    Hello,
    Peer,
    Peers,
    Reply,
    decode_supervisor,
)

pytestmark = pytest.mark.anyio

TOKEN = "secret"

MODELS = replace(spec("models"), may_manage=True)
GATEWAY = replace(spec("gateway"), may_operate=True)


class World:
    """A running manager and its spawner."""

    def __init__(
        self,
        *specs: ServerSpec,
        jitter: Callable[[], float] = lambda: 1.0,
        measure_seconds: float = 600,
    ) -> None:
        self.spawner = MemorySpawner()
        self.mute: set[str] = set()
        self.manager = ServerManager(
            specs,
            self.spawner,
            token=TOKEN,
            jitter=jitter,
            ask=self.ask,
            measure_seconds=measure_seconds,
        )
        self.owned = OwnedProcesses(self.manager)

    async def ask(self, url: str, probe: Probe) -> str:
        """Answer a probe, unless the server at that address is mute."""
        await anyio.lowlevel.checkpoint()
        return f"{probe.path} gave no answer" if url in self.mute else ""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[World]:
        with anyio.fail_after(10):
            async with self.manager.running():
                yield self

    def state(self, name: str) -> str:
        return next(server.state for server in self.manager.status() if server.name == name)

    async def reaches(self, name: str, state: str) -> None:
        await self.manager.until(lambda: self.state(name) == state or None)

    async def spawns(self, name: str, times: int) -> MemoryProcess:
        await self.manager.until(lambda: len(self.spawner.of(name)) >= times or None)
        return self.spawner.latest(name)

    async def ready(self, *names: str) -> None:
        for name in names:
            self.spawner.latest(name).announce()
        for name in names:
            await self.reaches(name, "ready")

    async def call(self, caller: str, operation: str, **arguments: JsonValue) -> Reply:
        """Ask over the leash, as a server does, and wait for the reply."""
        process = self.spawner.latest(caller)
        number = len(process.replies()) + 1
        process.say(Call(id=number, operation=operation, arguments=arguments))
        while len(process.replies()) < number:  # arrives without any change of state
            await anyio.wait_readable(process.far)
        return process.replies()[-1]


async def test_tales_servers_start_models_first_and_ux_once_the_path_of_a_task_stands() -> None:
    settings = Settings.model_validate({"execution": {"replicas": 2}})
    async with World(*default_specs(settings)).running() as world:
        assert world.spawner.names() == ["models", FORK_SERVER]
        await world.ready(FORK_SERVER)
        await world.spawns("gateway", 1)
        assert world.spawner.names()[2:] == ["execution-1", "gateway"]
        await world.ready("execution-1")
        await world.spawns("execution-2", 1)
        assert not world.spawner.of("ux")
        await world.ready("gateway")
        await world.spawns("ux", 1)


async def test_a_dependency_that_never_comes_holds_nobody_up_for_good() -> None:
    impatient = replace(PATIENT, patience=0.01)
    late = spec("ux", Dependency("gateway", "ready"), policy=impatient)
    async with World(spec("gateway"), late, spec("x", Dependency("nobody"))).running() as world:
        assert world.spawner.names() == ["gateway", "x"]
        await world.spawns("ux", 1)


async def test_a_server_is_greeted_with_its_name_the_token_and_who_is_there() -> None:
    async with World(spec("a"), spec("b", Dependency("a", "ready"))).running() as world:
        await world.ready("a")
        hello, peers = world.spawner.latest("b").heard()[:2]
        assert hello == Hello(name="b", token=TOKEN, grace=PATIENT.grace)
        assert isinstance(peers, Peers)
        assert [peer.name for peer in peers.peers] == ["a"]


async def test_everybody_hears_who_is_ready_and_who_is_gone() -> None:
    async with World(spec("a"), spec("b")).running() as world:
        await world.ready("a", "b")
        a, b = world.spawner.latest("a"), world.spawner.latest("b")
        assert a.peers() == b.peers() == ["a", "b"]
        a.die(1)
        replacement = await world.spawns("a", 2)
        assert b.peers() == ["b"]
        await world.ready("a")
        assert b.peers() == replacement.peers() == ["a", "b"]
        peer = await world.manager.ready("a")
        assert (peer.pid, peer.starts) == (replacement.pid, 2)


async def test_a_server_that_keeps_failing_is_in_backoff_and_status_says_why() -> None:
    quick = replace(PATIENT, base=0.001, cap=0.001)
    async with World(spec("a"), spec("b", policy=quick)).running() as world:
        world.spawner.latest("a").die(3)
        (await world.spawns("a", 2)).die(3)
        await world.reaches("a", "backoff")
        status = world.manager.status()[0]
        assert (status.restarts, status.last_exit, status.pid) == (1, "exit 3", None)
        for times in range(1, 6):
            (await world.spawns("b", times)).die(3)


async def test_a_program_that_does_not_exist_is_reported_and_tried_again() -> None:
    world = World(spec("a", policy=replace(PATIENT, base=0.001)))
    world.spawner.impossible.add("a")
    async with world.running():
        await world.reaches("a", "backoff")
        assert "no such program" in (world.manager.status()[0].last_exit or "")
        world.spawner.impossible.clear()
        await world.spawns("a", 1)


async def test_a_server_that_is_not_ready_in_time_is_killed_and_replaced() -> None:
    async with World(spec("a", policy=replace(PATIENT, start=0.02))).running() as world:
        await world.spawns("a", 2)
        assert world.spawner.of("a")[0].signals == ["KILL"]


async def test_a_server_that_lets_go_of_its_leash_is_replaced() -> None:
    async with World(spec("a")).running() as world:
        await world.ready("a")
        world.spawner.latest("a").far.shutdown(socket.SHUT_WR)
        await world.spawns("a", 2)
        assert "let go" in (world.manager.status()[0].last_exit or "")


PROBE = Probe(every=0.001)


async def test_a_server_is_ready_once_it_answers_its_first_probe() -> None:
    world = World(replace(spec("a"), probe=PROBE))
    async with world.running():
        a = world.spawner.latest("a")
        world.mute.add(a.url)
        a.announce(a.url)
        await world.manager.until(lambda: world.manager.children["a"].process.doubt or None)
        assert world.state("a") == "starting"
        world.mute.clear()
        await world.reaches("a", "ready")


async def test_a_server_that_does_not_answer_any_more_is_killed_and_replaced() -> None:
    world = World(replace(spec("a"), probe=PROBE), spec("b"))
    async with world.running():
        a, b = world.spawner.latest("a"), world.spawner.latest("b")
        a.announce(a.url)
        await world.reaches("a", "ready")
        world.mute.add(a.url)
        await world.spawns("a", 2)
        assert a.signals == ["KILL"]
        assert b.peers() == []
        assert "gave no answer, 3 times in a row" in (world.manager.status()[0].last_exit or "")


async def test_a_program_without_a_leash_is_ready_once_it_answers_at_the_port_it_was_given() -> (
    None
):
    foreign = replace(spec("search"), leash=False, probe=PROBE)
    async with World(foreign, spec("ux")).running() as world:
        await world.reaches("search", "ready")
        process = world.spawner.latest("search")
        assert process.heard() == []
        assert world.manager.peers.of("search")[0].url == process.url


async def test_a_crash_loop_is_told_with_the_end_of_its_log_until_the_server_is_ready() -> None:
    looping = replace(PATIENT, base=0, cap=0.001, intensity=2)
    async with World(spec("a", policy=looping)).running() as world:
        for times in range(1, 5):
            (await world.spawns("a", times)).die(3)
        await world.spawns("a", 5)
        status = world.manager.status()[0]
        assert status.crash_looping
        assert status.tail == ["the last words of a"]
        assert [end.split(" ", 1)[1] for end in status.exits] == ["exit 3"] * 4
        await world.ready("a")
        status = world.manager.status()[0]
        assert (status.crash_looping, status.tail) == (False, [])
        # It counts as stable only after a while: where it ends before, the loop goes on.
        world.spawner.latest("a").die(3)
        await world.spawns("a", 6)
        assert world.manager.status()[0].crash_looping


async def test_a_server_is_asked_to_leave_by_the_signal_of_its_spec() -> None:
    async with World(replace(spec("a"), stop_signal=signal.SIGINT)).running() as world:
        await world.ready("a")
    assert world.spawner.latest("a").signals == ["INT"]


def replicas(count: int) -> list[ServerSpec]:
    return [
        ServerSpec(f"a-{n}", "a", ("true",), policy=PATIENT, scalable=True)
        for n in range(1, count + 1)
    ]


async def test_replicas_are_replaced_one_after_the_other() -> None:
    async with World(*replicas(3), spec("ux")).running() as world:
        await world.ready("a-1", "a-2", "a-3")
        ux = world.spawner.latest("ux")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rollout.restart, world.manager, "a")
            for name in ("a-1", "a-2", "a-3"):
                await world.spawns(name, 2)
                assert ux.peers() == [n for n in ("a-1", "a-2", "a-3") if n != name]
                assert len(world.manager.peers.of("a")) == 2
                world.spawner.latest(name).announce()


async def test_a_server_leaves_the_picture_before_it_is_asked_to_leave() -> None:
    settling = replace(PATIENT, settle=600)
    async with World(spec("a", policy=settling), spec("b")).running() as world:
        await world.ready("a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rollout.restart, world.manager, "a")
            await world.reaches("a", "draining")
            assert world.spawner.latest("b").peers() == []
            assert world.spawner.latest("a").signals == []
            tasks.cancel_scope.cancel()
        world.manager.kill()


async def test_a_replica_that_was_scaled_away_is_not_restarted_with_the_others() -> None:
    hasty = [replace(one, policy=replace(PATIENT, patience=0)) for one in replicas(2)]
    async with World(*hasty).running() as world:
        await world.ready("a-1", "a-2")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rollout.restart, world.manager, "a")
            await world.spawns("a-1", 2)
            tasks.start_soon(rollout.scale, world.manager, "a", 1)
            await world.manager.until(lambda: "a-2" not in world.manager.children or None)
            world.spawner.latest("a-1").announce()
        await anyio.wait_all_tasks_blocked()
        assert len(world.spawner.of("a-2")) == 1


async def test_a_service_is_scaled_up_and_down() -> None:
    async with World(*replicas(1)).running() as world:
        await world.ready("a-1")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rollout.scale, world.manager, "a", 3)
            for name in ("a-2", "a-3"):
                (await world.spawns(name, 1)).announce()
        assert [server.name for server in world.manager.status()] == ["a-1", "a-2", "a-3"]
        await rollout.scale(world.manager, "a", 1)
        assert [server.name for server in world.manager.status()] == ["a-1"]
        assert world.spawner.latest("a-3").signals == ["TERM"]
        assert world.spawner.latest("a-1").signals == []


async def test_a_replica_that_is_wanted_again_while_it_leaves_comes_back() -> None:
    world = World(*replicas(2))
    world.spawner.stubborn.add("a-2")
    async with world.running():
        await world.ready("a-1", "a-2")
        leaving = world.spawner.latest("a-2")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rollout.scale, world.manager, "a", 1)
            await world.reaches("a-2", "stopping")
            tasks.start_soon(rollout.scale, world.manager, "a", 2)
            await anyio.wait_all_tasks_blocked()
            leaving.die(0)
            (await world.spawns("a-2", 2)).announce()
        assert [server.name for server in world.manager.status()] == ["a-1", "a-2"]
        world.manager.kill()


async def test_what_a_cancelled_scaling_left_behind_can_be_scaled_again() -> None:
    world = World(*replicas(2))
    world.spawner.stubborn.add("a-2")
    async with world.running():
        await world.ready("a-1", "a-2")
        with anyio.move_on_after(0.01):
            await rollout.scale(world.manager, "a", 1)
        world.spawner.latest("a-2").die(0)
        await world.reaches("a-2", "stopped")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rollout.scale, world.manager, "a", 2)
            (await world.spawns("a-2", 2)).announce()
        world.manager.kill()


async def test_settings_that_were_not_applied_to_the_end_still_count_as_different() -> None:
    before, after = replicas(2), [replace(one, reads="new") for one in replicas(2)]
    async with World(*before).running() as world:
        await world.ready("a-1", "a-2")
        with anyio.move_on_after(0.01):  # a-1 does not get ready again in time
            await rollout.apply(world.manager, after)
        assert len(world.spawner.of("a-2")) == 1
        world.spawner.latest("a-1").announce()
        changes: list[rollout.Changes] = []

        async def again() -> None:
            changes.append(await rollout.apply(world.manager, after))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(again)
            (await world.spawns("a-2", 2)).announce()
        assert changes[0].restarted == ("a-2",)


async def test_a_command_that_the_system_cannot_take_is_a_failed_start() -> None:
    world = World(spec("a", policy=replace(PATIENT, base=0.001)), spec("b"))
    world.spawner.absurd.add("a")
    async with world.running():
        await world.reaches("a", "backoff")
        assert "embedded null byte" in (world.manager.status()[0].last_exit or "")
        await world.ready("b")


@pytest.mark.parametrize(
    ("service", "count", "words"),
    [("b", 2, "no server 'b'"), ("ux", 2, "one process"), ("a", 0, "1 to 64"), ("a", 65, "1 to")],
)
async def test_what_cannot_be_scaled_is_refused_with_a_reason(
    service: str, count: int, words: str
) -> None:
    async with World(*replicas(1), spec("ux")).running() as world:
        with pytest.raises(DaemonError, match=words):
            await rollout.scale(world.manager, service, count)
        assert world.spawner.names() == ["a-1", "ux"]


async def test_other_settings_restart_only_what_reads_them() -> None:
    before = [spec("a"), spec("b"), spec("c")]
    after = [replace(before[0], reads="something else"), before[1], spec("d")]
    async with World(*before).running() as world:
        await world.ready("a", "b", "c")
        changes: list[rollout.Changes] = []

        async def reload() -> None:
            changes.append(await rollout.apply(world.manager, after))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reload)
            (await world.spawns("a", 2)).announce()
        assert changes == [rollout.Changes(("d",), ("c",), ("a",))]
        assert [server.name for server in world.manager.status()] == ["a", "b", "d"]
        assert len(world.spawner.of("b")) == 1
        assert world.spawner.latest("c").signals == ["TERM"]


async def test_settings_that_say_the_same_change_nothing() -> None:
    async with World(spec("a")).running() as world:
        await world.ready("a")
        assert await rollout.apply(world.manager, [spec("a")]) == rollout.Changes()


async def test_models_processes_are_left_alone_when_settings_are_read_again() -> None:
    async with World(MODELS).running() as world:
        await world.call("models", "start_model", name="model-ux", module_args=[])
        await rollout.apply(world.manager, [MODELS])
        assert [server.name for server in world.manager.status()] == ["models", "model-ux"]


async def test_a_server_that_takes_more_memory_than_it_may_is_replaced() -> None:
    world = World(replace(spec("a"), max_rss=1 << 20), measure_seconds=0.001)
    # This test's own process stands in for a server that grew.
    world.spawner.pids = itertools.repeat(os.getpid())
    async with world.running():
        world.spawner.latest("a").announce()
        await world.spawns("a", 2)
        assert world.spawner.of("a")[0].signals == ["TERM"]
        assert "its limit is 1 MiB" in (world.manager.status()[0].last_exit or "")


async def test_the_supervisors_own_log_is_kept_short_like_those_of_its_servers() -> None:
    world = World(spec("a"), measure_seconds=0.001)
    async with world.running():
        while not {"a", "daemon"} <= set(world.spawner.rotated):
            await anyio.lowlevel.checkpoint()


async def test_only_one_replica_at_a_time_is_replaced_for_its_memory() -> None:
    greedy = [replace(one, max_rss=1 << 20) for one in replicas(2)]
    world = World(*greedy, measure_seconds=0.001)
    world.spawner.pids = itertools.repeat(os.getpid())
    async with world.running():
        first, second = world.spawner.all
        first.announce()
        second.announce()
        await world.manager.until(lambda: any(p.signals for p in world.spawner.all) or None)
        await world.spawns(first.spec.name if first.signals else second.spec.name, 2)
        await anyio.sleep(0.02)  # several looks, while the replacement is not ready
        assert sorted([first.signals, second.signals]) == [[], ["TERM"]]


async def test_servers_stop_in_reverse_order_of_dependency_and_models_after_their_owner() -> None:
    order: list[str] = []
    world = World(MODELS, spec("gateway", Dependency("models")), spec("ux", Dependency("gateway")))
    async with world.running():
        await world.ready("models")
        await world.call("models", "start_model", name="model-ux", module_args=["--x"])
        await world.ready("gateway", "ux", "model-ux")
        for process in world.spawner.all:
            process.die = _recording(process, order)  # type: ignore[method-assign]
    assert order == ["ux", "gateway", "models", "model-ux"]
    assert {server.state for server in world.manager.status()} == {"stopped"}


def _recording(process: MemoryProcess, order: list[str]) -> Callable[[int], None]:
    die = process.die

    def record(code: int) -> None:
        order.append(process.spec.name)
        die(code)

    return record


async def test_what_a_failing_server_depends_on_is_stopped_without_delay() -> None:
    async with World(
        spec("gateway"), spec("ux", Dependency("gateway", "ready"))
    ).running() as world:
        await world.ready("gateway")
        (await world.spawns("ux", 1)).die(3)
        (await world.spawns("ux", 2)).die(3)
        await world.reaches("ux", "backoff")
        with anyio.fail_after(5):
            await world.manager.stop()
        assert world.spawner.latest("gateway").signals == ["TERM"]


async def test_a_server_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    world = World(spec("a", policy=replace(PATIENT, grace=0.01)))
    world.spawner.stubborn.add("a")
    async with world.running():
        await world.ready("a")
    assert world.spawner.latest("a").signals == ["TERM", "KILL"]


async def test_a_manager_that_is_cancelled_stops_its_servers_in_the_same_way() -> None:
    world = World(spec("a", policy=replace(PATIENT, grace=0.01)))
    world.spawner.stubborn.add("a")

    async def run(task_status: anyio.abc.TaskStatus[None]) -> None:
        async with world.running():
            await world.ready("a")
            task_status.started()
            await anyio.sleep_forever()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            await tasks.start(run)
            tasks.cancel_scope.cancel()
    assert world.spawner.latest("a").signals == ["TERM", "KILL"]


async def test_grace_can_be_cut_short() -> None:
    world = World(spec("a"), spec("b"))
    world.spawner.stubborn |= {"a", "b"}
    async with world.running():
        await world.ready("a")
        world.manager.kill()
    assert [process.signals for process in world.spawner.all] == [["KILL"], ["KILL"]]


async def test_a_crash_while_stopping_brings_nothing_back() -> None:
    world = World(spec("a"), spec("b", Dependency("a")))
    world.spawner.stubborn.add("b")
    async with world.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(world.manager.stop)
        await world.reaches("b", "stopping")
        world.spawner.latest("a").die(1)
        await world.reaches("a", "waiting")
        world.spawner.latest("b").die(0)
    assert world.spawner.names() == ["a", "b"]


async def test_a_restart_by_name_service_or_of_everything_ends_when_ready_again() -> None:
    a1 = ServerSpec("a-1", "a", ("true",), policy=PATIENT)
    a2 = ServerSpec("a-2", "a", ("true",), policy=PATIENT)
    async with World(a1, a2, spec("b")).running() as world:
        await world.ready("a-1", "a-2", "b")
        for name, times in (("a-1", (2, 1, 1)), ("b", (2, 1, 2)), (None, (3, 2, 3))):
            done = anyio.Event()

            async def restart(name: str | None = name, done: anyio.Event = done) -> None:
                await rollout.restart(world.manager, name)
                done.set()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(restart)
                for server, count in zip(("a-1", "a-2", "b"), times, strict=True):
                    await world.spawns(server, count)
                assert not done.is_set()
                for server in ("a-1", "a-2", "b"):
                    world.spawner.latest(server).announce()
        with pytest.raises(DaemonError, match="no server 'c'") as caught:
            await rollout.restart(world.manager, "c")
        assert "a-1, a-2, b" in caught.value.hint


async def test_a_restart_ends_though_a_process_was_ended_and_begun_anew_meanwhile() -> None:
    async with World(MODELS).running() as world:
        await world.ready("models")
        await world.call("models", "start_model", name="model-ux", module_args=["--old"])
        await world.ready("model-ux")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rollout.restart, world.manager)
            await world.spawns("models", 2)
            await world.spawns("model-ux", 2)
            await world.call("models", "keep_models", names=[])
            await world.call("models", "start_model", name="model-ux", module_args=["--new"])
            await world.ready("models", "model-ux")


async def test_a_model_process_is_started_once_for_the_same_arguments() -> None:
    async with World(MODELS).running() as world:
        ask: dict[str, JsonValue] = {
            "name": "model-ux",
            "module_args": ["--port", "1"],
            "nice": 19,
        }
        for _ in range(2):
            assert (await world.call("models", "start_model", **ask)).result == {}
        (model,) = world.spawner.of("model-ux")
        assert model.spec.command[-3:] == ("tale.models.llama_server", "--port", "1")
        assert model.spec.nice == 19
        await world.ready("model-ux")
        assert world.spawner.latest("models").peers() == ["model-ux"]


async def test_other_arguments_replace_a_model_process() -> None:
    async with World(MODELS).running() as world:
        await world.call("models", "start_model", name="model-ux", module_args=["--old"])
        await world.call("models", "start_model", name="model-ux", module_args=["--new"])
        old, new = world.spawner.of("model-ux")
        assert old.signals == ["TERM"]
        assert new.spec.command[-1] == "--new"


async def test_a_process_that_ends_before_it_is_ready_is_reported_with_its_last_words() -> None:
    words = Fault(code="model_file_damaged", message="m.gguf is cut off.", hint="Fetch it again.")
    async with World(MODELS, spec("a")).running() as world:
        models, first = world.spawner.latest("models"), world.spawner.latest("a")
        first.say(Failed(fault=words))
        first.die(65)
        second = await world.spawns("a", 2)
        failed = FailedStart(name="a", number=1, reason="exit 65", fault=words)
        assert models.picture().failed == (failed,)
        second.die(-11)
        await world.reaches("a", "backoff")
        failed = FailedStart(name="a", number=2, reason="killed by SIGSEGV")
        assert models.picture().failed == (failed,)


async def test_a_process_that_became_ready_has_no_failed_start_any_more() -> None:
    async with World(spec("a"), spec("b")).running() as world:
        world.spawner.latest("a").die(1)
        await world.spawns("a", 2)
        assert [failed.name for failed in world.manager.peers.failed] == ["a"]
        await world.ready("a")
        assert world.manager.peers.failed == ()
        world.spawner.latest("a").die(1)
        await world.reaches("a", "backoff")
        assert world.manager.peers.failed == ()


async def test_a_model_process_that_waits_after_failures_is_started_at_once_when_asked_for() -> (
    None
):
    async with World(MODELS).running() as world:
        ask: dict[str, JsonValue] = {"name": "model-ux", "module_args": []}
        await world.call("models", "start_model", **ask)
        world.spawner.latest("model-ux").die(65)
        (await world.spawns("model-ux", 2)).die(65)
        await world.reaches("model-ux", "backoff")
        assert (await world.call("models", "start_model", **ask)).result == {}
        assert len(world.spawner.of("model-ux")) == 3
        assert world.state("model-ux") == "starting"


async def test_a_model_process_outlives_the_models_server() -> None:
    async with World(MODELS).running() as world:
        await world.call("models", "start_model", name="model-ux", module_args=[])
        world.spawner.latest("models").die(-9)
        await world.spawns("models", 2)
        await world.call("models", "start_model", name="model-ux", module_args=[])
        assert len(world.spawner.of("model-ux")) == 1


async def test_a_stalled_model_process_is_killed_and_replaced_without_backoff() -> None:
    async with World(MODELS).running() as world:
        await world.call("models", "start_model", name="model-ux", module_args=[])
        for times in range(2, 6):
            ask = {"name": "model-ux", "reason": "stalled"}
            assert (await world.call("models", "restart_server", **ask)).result == {}
            assert len(world.spawner.of("model-ux")) == times
        assert world.spawner.of("model-ux")[0].signals == ["KILL"]


async def test_a_model_process_is_stopped_and_forgotten_and_can_come_back() -> None:
    async with World(MODELS).running() as world:
        await world.call("models", "start_model", name="model-x", module_args=[])
        for _ in range(2):  # the second finds nothing to do
            assert (await world.call("models", "stop_server", name="model-x")).result == {}
        assert [server.name for server in world.manager.status()] == ["models"]
        await world.call("models", "start_model", name="model-x", module_args=[])
        assert world.state("model-x") == "starting"


async def test_model_processes_of_an_earlier_models_server_are_ended_but_those_it_keeps() -> None:
    async with World(MODELS, spec("gateway")).running() as world:
        for name in ("model-ux", "model-task", "model-x", "model-y"):
            await world.call("models", "start_model", name=name, module_args=[])
        await world.ready("model-ux", "model-x")
        world.spawner.latest("model-y").die(65)
        world.spawner.latest("models").die(-9)
        await world.spawns("models", 2)
        keep: list[JsonValue] = ["model-ux", "model-task", "model-none"]
        assert (await world.call("models", "keep_models", names=keep)).result == {}
        left = [server.name for server in world.manager.status()]
        assert left == ["models", "gateway", "model-ux", "model-task"]
        assert not world.spawner.of("model-ux")[0].signals
        assert world.spawner.of("model-x")[0].signals == ["TERM"]
        assert (await world.call("models", "keep_models", names=[])).result == {}
        assert [server.name for server in world.manager.status()] == ["models", "gateway"]


async def test_a_model_process_asked_for_again_while_it_stops_stays() -> None:
    world = World(MODELS)
    world.spawner.stubborn.add("model-x")
    owned = model_spec("model-x", [], 0, "models")
    async with world.running():
        await world.owned.ensure(owned)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.owned.remove, "model-x", "models")
            await world.reaches("model-x", "stopping")
            tasks.start_soon(world.owned.ensure, owned)
            await anyio.wait_all_tasks_blocked()
            world.spawner.latest("model-x").die(0)
        assert world.state("model-x") == "starting"
        world.spawner.stubborn.clear()
        world.manager.kill()


async def test_a_model_process_that_cannot_be_started_is_an_error_for_the_caller() -> None:
    world = World(MODELS)
    world.spawner.impossible.add("model-x")
    async with world.running():
        fault = (await world.call("models", "start_model", name="model-x", module_args=[])).error
        assert fault is not None
        assert "no such program" in fault.message


@pytest.mark.parametrize(
    ("caller", "operation", "arguments", "code", "words"),
    [
        ("gateway", "stop_server", {"name": "models"}, "unauthorized", "gateway may not"),
        ("models", "stop_server", {"name": "gateway"}, "daemon_error", "no server 'gateway'"),
        ("gateway", "keep_models", {"names": []}, "unauthorized", "gateway may not"),
        ("models", "keep_models", {}, "wire_error", "names"),
        ("models", "restart_server", {"name": "model-q"}, "daemon_error", "no server 'model-q'"),
        (
            "models",
            "start_model",
            {"name": "gateway", "module_args": []},
            "daemon_error",
            "another",
        ),
        ("models", "start_model", {"name": "../x", "module_args": []}, "wire_error", "name"),
        ("models", "start_model", {"name": "x"}, "wire_error", "module_args"),
        ("models", "reboot", {}, "wire_error", "start_model"),
        ("models", "status", {}, "unauthorized", "models may not"),
        ("models", "restart", {"name": "ux"}, "unauthorized", "models may not"),
    ],
)
async def test_what_a_server_may_not_ask_is_refused_with_a_reason(
    caller: str, operation: str, arguments: dict[str, JsonValue], code: str, words: str
) -> None:
    async with World(MODELS, spec("gateway"), spec("ux")).running() as world:
        fault = (await world.call(caller, operation, **arguments)).error
        assert fault is not None
        assert fault.code == code
        assert words in fault.message + fault.hint
        assert world.spawner.names() == ["models", "gateway", "ux"]


async def test_the_gateway_may_look_at_every_server() -> None:
    async with World(MODELS, GATEWAY).running() as world:
        await world.ready("models")
        result = (await world.call("gateway", "status")).result
        assert isinstance(result, dict)
        assert result["pid"] == os.getpid()
        servers = result["servers"]
        assert isinstance(servers, list)
        shown = [one for one in servers if isinstance(one, dict)]
        assert [(one["name"], one["state"]) for one in shown] == [
            ("models", "ready"),
            ("gateway", "starting"),
        ]


async def test_the_gateway_may_have_a_server_restarted_and_hears_when_it_is_ready_again() -> None:
    async with World(MODELS, GATEWAY, spec("ux")).running() as world:
        await world.ready("models", "gateway", "ux")
        process = world.spawner.latest("gateway")
        process.say(Call(id=1, operation="restart", arguments={"name": "ux"}))
        (await world.spawns("ux", 2)).announce()
        while not process.replies():
            await anyio.wait_readable(process.far)
        assert process.replies()[-1].result == {}
        fault = (await world.call("gateway", "restart", name="nobody")).error
        assert fault is not None
        assert "no server 'nobody'" in fault.message


async def test_a_call_that_breaks_is_answered_and_the_supervisor_lives_on() -> None:
    class Broken(OwnedProcesses):
        async def remove(self, name: str, owner: str) -> None:
            raise ZeroDivisionError(name, owner)

    manager = ServerManager([], MemorySpawner(), token=TOKEN)
    call = Call(id=4, operation="stop_server", arguments={"name": "x"})
    reply = await answer(Broken(manager), manager, MODELS, call)
    assert reply.error is not None
    assert "ZeroDivisionError" in reply.error.message


async def test_who_waits_for_a_change_of_what_runs_is_told_that_all_is_being_stopped() -> None:
    told: list[str] = []

    async def ask(change: Awaitable[object]) -> None:
        try:
            await change
        except ServiceUnavailable as error:
            told.append(error.message)

    async with World(*replicas(2)).running() as world:
        await world.ready("a-1", "a-2")
        other = [replace(one, reads="new") for one in replicas(2)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, rollout.restart(world.manager, "a"))
            tasks.start_soon(ask, rollout.scale(world.manager, "a", 3))
            tasks.start_soon(ask, rollout.apply(world.manager, other))
            await world.spawns("a-1", 2)
            await world.manager.stop()
    assert told == ["tale is stopping."] * 3


async def test_nothing_is_started_any_more_while_stopping() -> None:
    async with World(MODELS).running() as world:
        await world.manager.stop()
        with pytest.raises(ServiceUnavailable):
            await world.owned.ensure(model_spec("model-x", [], 0, "models"))


async def test_nonsense_on_a_leash_is_passed_over() -> None:
    async with World(spec("a")).running() as world:
        world.spawner.latest("a").far.send(b'\xff nonsense\n{"kind": "hello"}\n')
        await world.ready("a")


@pytest.mark.parametrize("nonsense", [b"x" * (1 << 21), b"?\n" * 200], ids=["endless", "many"])
async def test_a_leash_gives_up_on_endless_nonsense(nonsense: bytes) -> None:
    near, far = socket.socketpair()
    end = NearEnd(near)
    with far, anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, _send_all, far, nonsense)
            assert await end.receive() is None
            end.close()


def _send_all(sock: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        sock.sendall(data)


async def test_a_child_that_does_not_read_gets_only_the_latest_picture_later() -> None:
    near, far = socket.socketpair()
    end = NearEnd(near)
    received: list[bytes] = []
    last = Peer(service="a", name="last", url="", pid=1, starts=1)
    with far, anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end.pump)
            end.send(Hello(name="a", token=TOKEN))
            for number in range(3000):
                end.send(Peers())
                end.send(Reply(id=number, result="x" * 600))
            end.send(Peers(peers=(last,)))
            received = await anyio.to_thread.run_sync(_read_until, far, b'"last"')
            end.send(Reply(id=9999))
            received += await anyio.to_thread.run_sync(_read_until, far, b"9999")
            tasks.cancel_scope.cancel()
        end.close()
    messages = [decode_supervisor(line) for line in received]
    kinds = [message.kind for message in messages]
    assert kinds[0] == "hello"
    assert messages[-2:] == [Peers(peers=(last,)), Reply(id=9999)]
    # The rest was dropped, or replaced by its successor, not kept without limit.
    assert kinds.count("peers") < 3000
    assert 0 < kinds.count("reply") < 3000


def _read_until(sock: socket.socket, marker: bytes) -> list[bytes]:
    lines: list[bytes] = []
    with socket.socket(fileno=os.dup(sock.fileno())) as far, far.makefile("rb") as stream:
        while not lines or marker not in lines[-1]:
            lines.append(stream.readline())
    return lines


async def test_sending_to_a_child_that_is_gone_is_no_error() -> None:
    near, far = socket.socketpair()
    far.close()
    end = NearEnd(near)
    end.send(Hello(name="a", token=TOKEN))
    end.close()


async def test_a_manager_that_is_not_running_starts_nothing() -> None:
    manager = ServerManager([], MemorySpawner(), token=TOKEN)
    with pytest.raises(RuntimeError, match="not running"):
        await OwnedProcesses(manager).ensure(spec("a"))
