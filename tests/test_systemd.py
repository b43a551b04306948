"""What systemd hears, on a real datagram socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Generator
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from tale.orchestration.systemd import Systemd

pytestmark = pytest.mark.anyio


class Ear:
    """Systemd's end of the socket."""

    def __init__(self, address: str | bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(10)

    def hear(self) -> str:
        return self.socket.recv(4096).decode()

    def hears_nothing(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.hear()
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def ear(path: str) -> Generator[Ear]:
    ear = Ear(path)
    with ear.socket:
        yield ear


def test_the_life_of_a_service_is_told(ear: Ear, path: str) -> None:
    systemd = Systemd(path)
    systemd.status("starting 5 servers\nof which\tnone is ready")
    systemd.ready()
    systemd.stopping()
    said = [ear.hear() for _ in range(3)]
    assert said == ["STATUS=starting 5 servers of which none is ready", "READY=1", "STOPPING=1"]
    systemd.close()


def test_a_reload_says_when_it_began(ear: Ear, path: str) -> None:
    systemd = Systemd(path)
    before = time.monotonic_ns() // 1000
    systemd.reloading()
    first, second = ear.hear().splitlines()
    assert first == "RELOADING=1"
    name, _, moment = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(moment) <= time.monotonic_ns() // 1000
    systemd.close()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="abstract sockets are Linux's")
def test_an_abstract_socket_is_found() -> None:
    name = f"tale-{uuid4()}"
    ear = Ear(b"\0" + name.encode())
    with ear.socket:
        systemd = Systemd.from_environment({"NOTIFY_SOCKET": "@" + name})
        systemd.ready()
        assert ear.hear() == "READY=1"
        systemd.close()


def test_children_inherit_nothing_of_it(ear: Ear, path: str) -> None:
    del ear
    environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    Systemd.from_environment(environ).close()
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize("pid", ["", str(os.getpid())], ids=["anybody", "this process"])
async def test_the_watchdog_hears_again_and_again(ear: Ear, path: str, pid: str) -> None:
    environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000", "WATCHDOG_PID": pid}
    systemd = Systemd.from_environment(environ)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(systemd.keep_alive)
            for _ in range(3):
                await anyio.wait_readable(ear.socket)
                assert ear.hear() == "WATCHDOG=1"
            tasks.cancel_scope.cancel()
    systemd.close()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "?"},
        {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"},
    ],
    ids=["none", "off", "nonsense", "another process's"],
)
async def test_without_a_watchdog_nothing_is_kept_alive(
    ear: Ear, path: str, variables: dict[str, str]
) -> None:
    systemd = Systemd.from_environment({"NOTIFY_SOCKET": path, **variables})
    with anyio.fail_after(10):
        await systemd.keep_alive()
    assert ear.hears_nothing()
    systemd.close()


async def test_without_systemd_everything_is_done_to_nobody() -> None:
    systemd = Systemd.from_environment({"WATCHDOG_USEC": "2000"})
    systemd.ready()
    systemd.status("x")
    systemd.reloading()
    systemd.stopping()
    with anyio.fail_after(10):
        await systemd.keep_alive()
    systemd.close()


def test_a_systemd_that_cannot_be_reached_is_no_failure(ear: Ear, path: str) -> None:
    Systemd(path + "-elsewhere").ready()
    systemd = Systemd(path)
    ear.socket.close()
    systemd.ready()
    systemd.close()
