"""Servers forked from a warmed parent: cheap, and otherwise like any other."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from ctypes import CDLL
from pathlib import Path

import anyio
import psutil
import pytest

from tale.config import Settings
from tale.orchestration.fork_spawn import ForkSpawner, become_subreaper
from tale.orchestration.own_servers import default_specs
from tale.orchestration.spawn import OsSpawner, Running
from tale.orchestration.specs import FORK_SERVER, ServerSpec
from tale.paths import Paths
from tale.wire.leash import Hello, Ready

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="forking servers needs Linux"),
]

SERVER = Path(__file__).with_name("misbehaving_server.py")
PARENT = ServerSpec(
    FORK_SERVER,
    FORK_SERVER,
    (sys.executable, "-m", "tale.orchestration.fork_server", "misbehaving_server"),
)
MARK = "TALE_TEST_MARK"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    paths.logs.mkdir()
    return paths


@pytest.fixture
def spawner(paths: Paths) -> Generator[ForkSpawner]:
    assert become_subreaper()
    environment = {**os.environ, "PYTHONPATH": str(SERVER.parent)}
    spawner = ForkSpawner(OsSpawner(paths, environment))
    yield spawner
    spawner.close()
    CDLL(None).prctl(36, 0)


def server(name: str = "server", **options: str) -> ServerSpec:
    return ServerSpec(
        name,
        name,
        (sys.executable, "-S", "-E", str(SERVER)),
        environment={MARK: name},
        module=options.get("module", "misbehaving_server"),
    )


async def until_ready(running: Running) -> None:
    running.leash.send(Hello(name="x", token="t"))
    with anyio.fail_after(20):
        assert isinstance(await running.leash.receive(), Ready)


async def end(*processes: Running) -> None:
    for running in processes:
        running.kill()
        with anyio.fail_after(10):
            await running.wait()
        running.leash.close()


def was_forked(running: Running) -> bool:
    return psutil.Process(running.pid).cmdline()[0].startswith(f"tale: {FORK_SERVER}")


async def test_a_forked_server_is_a_child_of_the_supervisor_with_a_session_of_its_own(
    spawner: ForkSpawner,
) -> None:
    parent = spawner.spawn(PARENT)
    await until_ready(parent)
    forked = spawner.spawn(server())
    await until_ready(forked)
    process = psutil.Process(forked.pid)
    assert was_forked(forked)
    assert process.ppid() == os.getpid()
    assert os.getsid(forked.pid) == os.getpgid(forked.pid) == forked.pid
    forked.terminate(signal.SIGTERM)
    with anyio.fail_after(10):
        assert await forked.wait() == -15
    forked.leash.close()
    await end(parent)


async def test_a_server_that_is_killed_as_soon_as_it_is_forked_is_reaped(
    spawner: ForkSpawner,
) -> None:
    parent = spawner.spawn(PARENT)
    await until_ready(parent)
    for _ in range(30):
        forked = spawner.spawn(server())
        os.kill(forked.pid, signal.SIGKILL)
        with anyio.fail_after(10):
            assert await forked.wait() == -9
        forked.leash.close()
    await end(parent)


async def test_a_forked_server_has_its_own_log_and_environment(
    spawner: ForkSpawner, paths: Paths
) -> None:
    parent = spawner.spawn(PARENT)
    await until_ready(parent)
    broken = spawner.spawn(server("broken", module="no_such_module"))
    with anyio.fail_after(10):
        assert await broken.wait() == 1
    broken.leash.close()
    assert "no_such_module" in paths.log_of("broken").read_text()
    assert "no_such_module" not in paths.log_of(FORK_SERVER).read_text()
    await end(parent)


async def test_until_the_fork_server_is_warm_servers_are_spawned(spawner: ForkSpawner) -> None:
    early = spawner.spawn(server())
    await until_ready(early)
    assert not was_forked(early)
    parent = spawner.spawn(PARENT)
    still_early = spawner.spawn(server("still-early"))
    await until_ready(still_early)
    assert not was_forked(still_early)
    await end(early, still_early, parent)


async def test_without_the_fork_server_servers_are_spawned_and_live_on(
    spawner: ForkSpawner,
) -> None:
    parent = spawner.spawn(PARENT)
    await until_ready(parent)
    before = spawner.spawn(server("before"))
    await until_ready(before)
    await end(parent)
    after = spawner.spawn(server("after"))
    await until_ready(after)
    assert psutil.Process(before.pid).is_running()
    assert not was_forked(after)
    again = spawner.spawn(PARENT)
    await until_ready(again)
    forked = spawner.spawn(server("forked"))
    await until_ready(forked)
    assert was_forked(forked)
    await end(before, after, forked, again)


async def test_the_fork_server_leaves_with_its_supervisor(spawner: ForkSpawner) -> None:
    parent = spawner.spawn(PARENT)
    await until_ready(parent)
    parent.leash.close()
    with anyio.fail_after(10):
        assert await parent.wait() == 0


def test_what_may_be_forked_waits_for_the_fork_server() -> None:
    for spec in default_specs(Settings()):
        needs = [dependency.name for dependency in spec.depends_on]
        assert (FORK_SERVER in needs) == bool(spec.module)
