"""The daemon's parts within one process: claim, ports, runtime file, control endpoint, reports."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from memory_spawner import MemorySpawner, spec
from small_disk import mounted
from tale import __version__
from tale.config import Settings
from tale.errors import (
    ConfigError,
    DaemonError,
    DaemonUnreachable,
    DaemonVersionMismatch,
    DeadlineExceeded,
    PortInUse,
    StorageError,
    TaleError,
    Unauthorized,
    WireError,
)
from tale.orchestration.background import daemon_environment, stop_daemon
from tale.orchestration.control import ControlServer
from tale.orchestration.control_client import (
    Json,
    Runtime,
    check_version,
    control,
    daemon_pid,
    read_runtime,
)
from tale.orchestration.daemon import Daemon, main
from tale.orchestration.detach import poll_gone, read_line, wait_gone
from tale.orchestration.facts import ServerStatus
from tale.orchestration.instance import check_ports, claim
from tale.orchestration.logfile import last_lines, open_log
from tale.orchestration.policy import Policy
from tale.orchestration.rollout import Changes
from tale.orchestration.server_manager import ServerManager
from tale.orchestration.specs import ServerSpec
from tale.paths import Paths

STARTING = """
import sys
import anyio
from tale.config import Settings
from tale.orchestration.daemon import Daemon
from tale.orchestration.instance import claim
from tale.paths import Paths

paths = Paths.from_environment()
with claim(paths) as instance:
    print("claimed", flush=True)
    sys.stdin.read()
    anyio.run(Daemon(paths, Settings(), specs=()).run, instance, lambda _: None)
"""
RUNTIME = Runtime(
    pid=os.getpid(),
    version=__version__,
    token="secret",
    control="127.0.0.1:1",
    gateway="http://127.0.0.1:2",
    models="http://127.0.0.1:3",
    started="2026-01-31T12:00:00+00:00",
)
NO_PORTS = Settings.model_validate({"gateway": {"port": 0}, "model_server": {"port": 0}})


@pytest.fixture
def any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the usual ports to a tale that runs on this machine."""
    monkeypatch.setenv("TALE_GATEWAY__PORT", "0")
    monkeypatch.setenv("TALE_MODEL_SERVER__PORT", "0")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.from_environment({"TALE_HOME": str(tmp_path / "home")})


class TestInstance:
    def test_a_claim_makes_the_folders_and_the_runtime_file_is_the_owners_alone(
        self, paths: Paths
    ) -> None:
        with claim(paths) as instance:
            assert daemon_pid(paths) == os.getpid()
            assert read_runtime(paths) is None
            instance.publish(RUNTIME)
            assert read_runtime(paths) == RUNTIME
            assert stat.S_IMODE(paths.runtime_file.stat().st_mode) == 0o600
            assert stat.S_IMODE(paths.runtime.stat().st_mode) == 0o700
            assert "secret" not in repr(RUNTIME)
        assert not paths.runtime_file.exists()
        assert daemon_pid(paths) is None

    def test_the_token_is_made_once_and_is_the_owners_alone(self, paths: Paths) -> None:
        with claim(paths) as instance:
            token = instance.token()
        with claim(paths) as instance:
            assert instance.token() == token
        assert len(token) >= 32
        assert stat.S_IMODE(paths.token_file.stat().st_mode) == 0o600

    @pytest.mark.parametrize("damaged", ["", "short", "\n"])
    def test_a_damaged_token_is_replaced(self, paths: Paths, damaged: str) -> None:
        with claim(paths) as instance:
            paths.token_file.write_text(damaged)
            assert len(instance.token()) >= 32

    def test_a_token_that_cannot_be_read_is_told(self, paths: Paths) -> None:
        with claim(paths) as instance:
            paths.token_file.mkdir()
            with pytest.raises(StorageError, match="Remove it"):
                instance.token()

    def test_a_second_daemon_is_told_of_the_first(self, paths: Paths) -> None:
        with claim(paths) as instance:
            instance.publish(RUNTIME)
            instance.started()
            with pytest.raises(DaemonError, match=rf"running already.*{os.getpid()}"), claim(paths):
                pytest.fail("two at once")
            assert read_runtime(paths) == RUNTIME

    def test_a_daemon_that_never_comes_up_is_not_waited_for_without_end(self, paths: Paths) -> None:
        with (
            claim(paths),
            pytest.raises(DaemonError, match="has been starting"),
            claim(paths, turn=0),
        ):
            pytest.fail("two at once")

    def test_what_a_killed_daemon_left_counts_for_nothing(self, paths: Paths) -> None:
        with claim(paths) as instance:
            instance.publish(RUNTIME)
            left = paths.runtime_file.read_bytes()
        paths.runtime_file.write_bytes(left)
        assert read_runtime(paths) is None
        with claim(paths):
            assert not paths.runtime_file.exists()

    def test_a_runtime_file_that_is_not_one_is_no_daemon(self, paths: Paths) -> None:
        with claim(paths):
            for text in ("", "[]", "{}", "null", '{"pid": 1}', "\xff"):
                paths.runtime_file.write_text(text, encoding="latin-1")
                assert read_runtime(paths) is None

    @pytest.mark.parametrize("folder", ["data", "run", "logs"])
    def test_a_folder_that_cannot_be_written_is_named(self, paths: Paths, folder: str) -> None:
        blocked = {"data": paths.data, "run": paths.runtime, "logs": paths.logs}[folder]
        blocked.parent.mkdir(parents=True, exist_ok=True)
        blocked.write_text("a file, no folder")
        with pytest.raises(StorageError, match=str(blocked)) as caught, claim(paths):
            pytest.fail("usable")
        assert "TALE_HOME" in caught.value.hint

    @pytest.mark.parametrize("kept", ["nothing", "the lock file"])
    def test_a_full_disk_is_told_as_one(self, tmp_path: Path, kept: str) -> None:
        with mounted(tmp_path / "disk") as disk:
            paths = Paths.from_environment({"TALE_HOME": str(disk.path)})
            if kept == "the lock file":
                with claim(paths):
                    pass
            disk.fill()
            full = pytest.raises(StorageError, match="No space left")
            with full as caught, claim(paths) as instance:
                instance.token()
            assert "free space" in caught.value.hint

    def test_a_runtime_file_that_cannot_be_written_is_an_error(self, paths: Paths) -> None:
        with claim(paths) as instance:
            paths.runtime_file.mkdir()
            with pytest.raises(StorageError, match="can't be written"):
                instance.publish(RUNTIME)
            paths.runtime_file.rmdir()


class TestPorts:
    def test_a_port_in_use_is_named_with_its_holder_and_where_to_change_it(
        self, paths: Paths
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            settings = Settings.model_validate({"gateway": {"port": port}})
            with pytest.raises(PortInUse) as caught:
                check_ports(settings, paths, patience=0)
        assert f"Port {port}" in caught.value.message
        assert f"process {os.getpid()}" in caught.value.message
        assert "gateway" in caught.value.message
        assert str(paths.config_file) in caught.value.hint
        assert "[gateway]" in caught.value.hint

    def test_two_servers_on_one_port_are_a_mistake_in_the_settings(self, paths: Paths) -> None:
        settings = Settings.model_validate(
            {"gateway": {"port": 7777}, "model_server": {"port": 7777}}
        )
        with pytest.raises(ConfigError, match="both 7777"):
            check_ports(settings, paths)

    def test_free_ports_and_port_zero_are_fine(self, paths: Paths) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
        check_ports(NO_PORTS, paths)
        check_ports(
            Settings.model_validate({"gateway": {"port": port}, "model_server": {"port": 0}}), paths
        )


class TestLogs:
    def test_a_log_is_put_aside_when_it_is_large_and_three_old_ones_are_kept(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "logs" / "a.log"
        for number in range(6):
            fd = open_log(file, limit=10)
            os.write(fd, f"{number} and some more\n".encode())
            os.close(fd)
        kept = {path.name: path.read_text()[0] for path in file.parent.iterdir()}
        assert kept == {"a.log": "5", "a.log.1": "4", "a.log.2": "3", "a.log.3": "2"}

    def test_a_small_log_is_continued(self, tmp_path: Path) -> None:
        file = tmp_path / "a.log"
        for _ in range(2):
            fd = open_log(file)
            os.write(fd, b"line\n")
            os.close(fd)
        assert last_lines(file, 5) == ["line", "line"]
        assert last_lines(file, 1) == ["line"]
        assert last_lines(tmp_path / "none.log", 5) == []
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


class Running:
    """A daemon in this process, with servers in memory."""

    def __init__(self, daemon: Daemon, runtime: Runtime, spawner: MemorySpawner) -> None:
        self.daemon = daemon
        self.runtime = runtime
        self.spawner = spawner

    async def ask(self, op: str, deadline: float = 5, **arguments: Json) -> Json:
        return await anyio.to_thread.run_sync(
            lambda: control(self.runtime, op, deadline, **arguments)
        )

    async def raw(self, data: bytes) -> bytes:
        host, port = self.runtime.control.split(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(data)
            received = b""
            try:
                while not received.endswith(b"\n"):
                    received += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass
            return received


@asynccontextmanager
async def serving(paths: Paths, *specs: ServerSpec) -> AsyncGenerator[Running]:
    spawner = MemorySpawner()
    daemon = Daemon(paths, NO_PORTS, specs, spawner=spawner, jitter=lambda: 1.0)
    with anyio.fail_after(20), claim(paths) as instance:
        async with anyio.create_task_group() as tasks:
            announced: list[Runtime] = []
            served = anyio.Event()

            def announce(runtime: Runtime) -> None:
                announced.append(runtime)
                served.set()

            tasks.start_soon(daemon.run, instance, announce)
            await served.wait()
            yield Running(daemon, announced[0], spawner)
            await daemon.stop()


@pytest.mark.anyio
@pytest.mark.usefixtures("any_port")
class TestControl:
    async def test_status_tells_of_every_server(self, paths: Paths) -> None:
        async with serving(paths, spec("gateway"), spec("ux")) as running:
            running.spawner.latest("ux").announce()
            await running.ask("wait", service="ux")
            status = await running.ask("status")
            assert isinstance(status, dict)
            assert status["version"] == __version__
            assert status["pid"] == os.getpid()
            assert isinstance(status["servers"], list)
            gateway, ux = status["servers"]
            assert isinstance(gateway, dict)
            assert isinstance(ux, dict)
            assert (gateway["name"], gateway["state"]) == ("gateway", "starting")
            assert (ux["state"], ux["starts"], ux["restarts"]) == ("ready", 1, 0)
            assert ux["log"] == str(paths.log_of("ux"))
            assert set(ux) == {
                "name", "service", "state", "pid", "url", "restarts", "starts", "uptime", "rss",
                "cpu", "last_exit", "foreign", "crash_looping", "tail", "fds", "threads", "growth",
                "history", "exits", "log",
            }  # fmt: skip

    async def test_wait_answers_when_the_service_is_ready(self, paths: Paths) -> None:
        async with serving(paths, spec("gateway")) as running:
            answers: list[Json] = []
            gateway = running.spawner.latest("gateway")

            async def wait() -> None:
                answers.append(await running.ask("wait", service="gateway"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                gateway.announce()
            assert answers == [{"url": gateway.url}]

    async def test_a_wait_that_is_too_long_says_what_is_the_matter(self, paths: Paths) -> None:
        never = spec("gateway", policy=Policy(base=600, cap=600))
        async with serving(paths, never) as running:
            running.spawner.latest("gateway").die(3)
            second = running.spawner.of("gateway")
            with pytest.raises(DeadlineExceeded, match=r"'starting'.*exit 3"):
                await running.ask("wait", 0.05, service="gateway")
            assert len(second) == 1
            with pytest.raises(DeadlineExceeded, match="no server 'gatway'"):
                await running.ask("wait", 0.05, service="gatway")

    async def test_restart_answers_when_ready_again(self, paths: Paths) -> None:
        async with serving(paths, spec("gateway")) as running:
            running.spawner.latest("gateway").announce()
            await running.ask("wait", service="gateway")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_announce_second, running)
                assert await running.ask("restart", server="gateway") == {}
            with pytest.raises(DaemonError, match="no server 'x'"):
                await running.ask("restart", server="x")

    async def test_stop_answers_when_everything_is_stopped(self, paths: Paths) -> None:
        async with serving(paths, spec("gateway")) as running:
            assert await running.ask("stop") == {}
            assert running.spawner.latest("gateway").signals == ["TERM"]
            assert read_runtime(paths) is None

    async def test_chosen_ports_are_written_down_when_known(self, paths: Paths) -> None:
        async with serving(paths, spec("gateway"), spec("models")) as running:
            assert running.runtime.gateway == ""
            gateway, models = (running.spawner.latest(name) for name in ("gateway", "models"))
            gateway.announce()
            models.announce()
            await running.ask("wait", service="gateway")
            await running.ask("wait", service="models")
            await anyio.wait_all_tasks_blocked()
            runtime = read_runtime(paths)
            assert runtime is not None
            assert runtime.gateway == gateway.url
            assert runtime.models == models.url
            # A disk that fills up later costs the file's freshness, not the daemon.
            paths.runtime_file.unlink()
            paths.runtime_file.mkdir()
            gateway.die(1)
            await running.ask("status")
            running.spawner.latest("gateway").announce()
            await running.ask("wait", service="gateway")
            await anyio.wait_all_tasks_blocked()
            paths.runtime_file.rmdir()

    async def test_a_wrong_or_missing_token_learns_nothing(self, paths: Paths) -> None:
        async with serving(paths, spec("gateway")) as running:
            for request in (b'{"op": "stop"}\n', b'{"op": "nonsense", "token": "x"}\n'):
                reply = json.loads(await running.raw(request))
                assert reply["error"]["code"] == Unauthorized.code
            assert running.spawner.latest("gateway").signals == []

    @pytest.mark.parametrize(
        "garbage",
        [b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff\n", b"[]\n", b"\n", b"x" * 70_000],
        ids=["http", "binary", "list", "empty", "endless"],
    )
    async def test_garbage_is_refused_and_the_endpoint_lives_on(
        self, paths: Paths, garbage: bytes
    ) -> None:
        async with serving(paths, spec("gateway")) as running:
            reply = await running.raw(garbage)
            assert not reply or json.loads(reply)["error"]["code"] == WireError.code
            assert await running.ask("status")

    async def test_a_caller_that_leaves_does_no_harm(self, paths: Paths) -> None:
        async with serving(paths) as running:
            host, port = running.runtime.control.split(":")
            stream = await anyio.connect_tcp(host, int(port))
            await stream.send(b"half a li")
            await stream.aclose()
            assert await running.ask("status")

    async def test_a_fault_of_ours_is_told_to_the_caller_and_survived(self, paths: Paths) -> None:
        class Broken(ServerManager):
            def status(self) -> tuple[ServerStatus, ...]:
                raise ZeroDivisionError("ours")

        async def stop() -> None:
            pass

        async def reload() -> Changes:
            return Changes()

        manager = Broken([], MemorySpawner(), token="")
        server = ControlServer(RUNTIME, paths, manager, stop, reload)
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, server.handle)
                runtime = replace(RUNTIME, control=f"127.0.0.1:{port}")
                for _ in range(2):
                    with pytest.raises(TaleError, match="ZeroDivisionError"):
                        await anyio.to_thread.run_sync(control, runtime, "status")
                tasks.cancel_scope.cancel()

    async def test_an_unknown_operation_is_named(self, paths: Paths) -> None:
        async with serving(paths) as running:
            with pytest.raises(WireError, match="'op'"):
                await running.ask("explode")
            with pytest.raises(WireError, match="'timeout'"):
                await running.ask("wait", -1)

    async def test_sigterm_stops_the_daemon(self, paths: Paths) -> None:
        async with serving(paths, spec("gateway")) as running:
            gateway = running.spawner.latest("gateway")
            gateway.announce()
            await running.ask("wait", service="gateway")
            os.kill(os.getpid(), signal.SIGTERM)
            while not gateway.signals:
                await anyio.lowlevel.checkpoint()
            await running.daemon.stop()
            assert gateway.signals == ["TERM"]

    async def test_a_hangup_has_the_settings_read_again(
        self, paths: Paths, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)  # and puts back afterwards what it was
        async with serving(paths, spec("gateway"), spec("ux")) as running:
            paths.config_file.write_text('log_level = "SOMETIMES"')
            with pytest.raises(ConfigError, match="log_level"):
                await running.ask("reload")
            paths.config_file.write_text('log_level = "WARNING"')
            os.kill(os.getpid(), signal.SIGHUP)
            while logging.getLogger().level != logging.WARNING:
                await anyio.lowlevel.checkpoint()
            answer = await running.ask("reload")
            assert answer == {"started": [], "stopped": [], "restarted": []}
            assert len(running.spawner.all) == 2

    async def test_settings_that_no_server_survives_can_be_mended(self, paths: Paths) -> None:
        async with serving(paths, spec("gateway")) as running:
            running.spawner.latest("gateway").announce()
            await running.ask("wait", service="gateway")
            told: list[str] = []

            async def reload() -> None:
                try:
                    await running.daemon.reload()
                except DaemonError as error:
                    told.append(error.message)

            async with anyio.create_task_group() as tasks:
                for reads, starts in (("broken", 2), ("mended", 3)):
                    running.daemon.specs = [replace(spec("gateway"), reads=reads)]
                    tasks.start_soon(reload)
                    while len(running.spawner.of("gateway")) < starts:
                        await anyio.lowlevel.checkpoint()
                running.spawner.latest("gateway").announce()
            assert running.spawner.latest("gateway").spec.reads == "mended"
            assert told == ["The settings were read again meanwhile; the later ones are in force."]

    async def test_many_who_connect_and_say_nothing_do_no_harm(self, paths: Paths) -> None:
        async with serving(paths, spec("gateway")) as running:
            host, port = running.runtime.control.split(":")
            mute = [await anyio.connect_tcp(host, int(port)) for _ in range(80)]
            # Those past the limit are turned away; the others are heard.
            with pytest.raises(anyio.EndOfStream):
                await mute[-1].receive()
            for stream in mute:
                await stream.aclose()
            while True:
                try:
                    assert await running.ask("status")
                except DaemonUnreachable:
                    continue  # the last of them are just leaving
                break

    async def test_a_service_is_scaled_by_its_name(self, paths: Paths) -> None:
        execution = replace(spec("execution"), name="execution-1", scalable=True)
        async with serving(paths, execution) as running:
            running.spawner.latest("execution-1").announce()
            with pytest.raises(DeadlineExceeded, match="'starting'"):
                await running.ask("scale", 0.2, service="execution", count=2)
            assert [one.spec.name for one in running.spawner.all] == ["execution-1", "execution-2"]

    async def test_a_second_sigterm_ends_all_grace(self, paths: Paths) -> None:
        async with serving(paths, spec("gateway")) as running:
            running.spawner.stubborn.add("gateway")
            running.spawner.latest("gateway").die(1)
            await running.ask("status")
            stubborn = running.spawner.latest("gateway")
            os.kill(os.getpid(), signal.SIGINT)
            while not stubborn.signals:
                await anyio.lowlevel.checkpoint()
            os.kill(os.getpid(), signal.SIGTERM)
            await running.daemon.stop()
            assert stubborn.signals == ["TERM", "KILL"]


async def _announce_second(running: Running) -> None:
    while len(running.spawner.of("gateway")) < 2:
        await anyio.lowlevel.checkpoint()
    running.spawner.latest("gateway").announce()


@contextmanager
def answering(answer: bytes) -> Generator[Runtime]:
    """Stand in for a daemon that answers once, with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield replace(RUNTIME, control=f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()


class TestClient:
    def test_a_daemon_that_does_not_answer_is_unreachable(self) -> None:
        with pytest.raises(DaemonUnreachable, match="does not answer") as caught:
            control(RUNTIME, "status", 0.1)
        assert caught.value.exit_code == 3

    @pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"[1]\n", b"{}\n"])
    def test_an_answer_that_is_none_counts_as_unreachable(self, answer: bytes) -> None:
        with pytest.raises(DaemonUnreachable), answering(answer) as runtime:
            control(runtime, "status")

    def test_an_error_keeps_its_kind_and_its_hint(self) -> None:
        fault = {"error": {"code": "port_in_use", "message": "m", "hint": "h"}}
        answer = json.dumps(fault).encode() + b"\n"
        with pytest.raises(PortInUse) as caught, answering(answer) as runtime:
            control(runtime, "status")
        assert (caught.value.message, caught.value.hint) == ("m", "h")

    def test_another_version_is_named_with_the_remedy(self) -> None:
        check_version(RUNTIME)
        other = Runtime(1, "0.0.1", "", "", "", "", "")
        with pytest.raises(DaemonVersionMismatch, match=rf"0\.0\.1.*{__version__}") as caught:
            check_version(other)
        assert "tale restart" in caught.value.hint

    def test_stopping_where_nothing_runs_is_no_error(self, paths: Paths) -> None:
        assert not stop_daemon(paths)

    def test_a_daemon_that_is_just_starting_is_stopped_once_it_can_be_asked_to(
        self, paths: Paths
    ) -> None:
        starting = [sys.executable, "-c", STARTING]
        environment = daemon_environment(paths, os.environ)
        with subprocess.Popen(
            starting, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdin
            assert process.stdout
            assert process.stdout.readline() == b"claimed\n"
            go_on = threading.Timer(0.1, process.stdin.close)
            go_on.start()
            try:
                assert stop_daemon(paths, 20)
            finally:
                process.kill()

    @pytest.mark.parametrize("wait", [wait_gone, poll_gone])
    def test_a_process_is_waited_for_with_and_without_pidfd(
        self, wait: Callable[[int, float], bool]
    ) -> None:
        pid = os.posix_spawnp("sleep", ["sleep", "600"], os.environ)
        assert not wait(pid, 0)
        os.kill(pid, signal.SIGKILL)
        assert wait(pid, 10)
        assert wait(pid, 0)

    def test_half_a_line_is_none(self) -> None:
        reader, writer = os.pipe()
        os.write(writer, b"half")
        assert read_line(reader, 0.01) == b""
        os.write(writer, b" a line\n")
        assert read_line(reader, 10) == b" a line\n"
        os.close(writer)
        assert read_line(reader, 10) == b""
        os.close(reader)

    def test_folders_reach_the_daemon_whatever_its_environment(self, tmp_path: Path) -> None:
        given = {"TALE_HOME": str(tmp_path)}
        paths = Paths.from_environment(given)
        for environ in ({}, given, {"TALE_CONFIG": "/etc/other.toml"}):
            assert Paths.from_environment(daemon_environment(paths, environ)) == paths
        xdg = {"HOME": str(tmp_path)}
        here = Paths.from_environment(xdg)
        assert daemon_environment(here, xdg) == xdg


@pytest.fixture
def kept_logging() -> Generator[None]:
    """Undo what an entry point does to this process's logging."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("kept_logging")
class TestMain:
    def run(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[str, Json]]:
        monkeypatch.setenv("TALE_HOME", str(home))
        reader, writer = os.pipe()
        code = main(["--notify-fd", str(writer)])
        with os.fdopen(reader, "rb") as stream:
            return code, json.loads(stream.readline())["error"]

    def test_a_failure_is_reported_to_the_starter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "logs"
        file.write_text("")
        code, error = self.run(tmp_path, monkeypatch)
        assert code == StorageError.exit_code
        assert error["code"] == StorageError.code
        assert str(file) in str(error["message"])

    def test_a_mistake_in_the_settings_is_reported_with_its_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "tale.toml").write_text('[gateway]\nport = "high"\n')
        code, error = self.run(tmp_path, monkeypatch)
        assert code == ConfigError.exit_code
        assert "line 2" in str(error["message"])

    def test_a_crash_is_reported_in_one_line_and_logged_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "starting.lock").mkdir()
        code, error = self.run(tmp_path, monkeypatch)
        assert code == 1
        assert "IsADirectoryError" in str(error["message"])
        assert "Traceback" in capfd.readouterr().err

    def test_a_starter_that_is_gone_is_no_matter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "logs").write_text("")
        monkeypatch.setenv("TALE_HOME", str(tmp_path))
        reader, writer = os.pipe()
        os.close(reader)
        assert main(["--notify-fd", str(writer)]) == 1
        os.close(writer)
        assert main([]) == 1


def test_a_reader_that_probes_the_lock_does_not_keep_a_daemon_out(paths: Paths) -> None:
    paths.runtime.mkdir(parents=True)
    with paths.lock_file.open("w") as probe:
        fcntl.flock(probe, fcntl.LOCK_SH)
        with anyio.from_thread.start_blocking_portal() as portal:
            portal.start_task_soon(_let_go_soon, probe.fileno())
            with claim(paths):
                assert daemon_pid(paths) == os.getpid()


async def _let_go_soon(fd: int) -> None:
    await anyio.lowlevel.checkpoint()
    fcntl.flock(fd, fcntl.LOCK_UN)
