"""The daemon with real processes that misbehave on command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import psutil
import pytest

from tale.errors import DaemonError, DaemonVersionMismatch, PortInUse, StorageError, Unauthorized
from tale.orchestration.background import ensure_daemon, start_daemon, stop_daemon
from tale.orchestration.control_client import Runtime, control, daemon_pid, read_runtime
from tale.orchestration.spawn import OsSpawner
from tale.orchestration.specs import ServerSpec
from tale.paths import Paths

pytestmark = pytest.mark.integration

DAEMON = Path(__file__).parents[1] / "misfit_daemon.py"
COMMAND = (sys.executable, str(DAEMON))
SERVER = (sys.executable, "-S", "-E", str(DAEMON.with_name("misbehaving_server.py")))
PORTS = "[gateway]\nport = 0\n[model_server]\nport = 0\n"
QUICK = {"grace": 0.3, "start": 0.5, "base": 0.01, "cap": 0.02}
_T = TypeVar("_T")


def until(condition: Callable[[], _T | None], what: str = "the condition") -> _T:
    """Look at another process's state until it is as wanted, or fail after 20 s."""
    deadline = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.01)
    return found


class Home:
    """One installation, all of whose processes carry a mark in their environment."""

    def __init__(self, root: Path) -> None:
        self.mark = str(root)
        self.paths = Paths.from_environment({"TALE_HOME": str(root)})
        self.paths.config_file.write_text(PORTS)

    def environ(self, misfits: list[dict[str, Any]]) -> dict[str, str]:
        return {**os.environ, "MISFITS": json.dumps(misfits), "MISFIT_MARK": self.mark}

    def start(self, *misfits: dict[str, Any]) -> Runtime:
        return start_daemon(self.paths, environ=self.environ(list(misfits)), command=COMMAND)

    def ask(self, op: str, timeout: float = 20, **arguments: Any) -> Any:
        runtime = read_runtime(self.paths)
        assert runtime is not None
        return control(runtime, op, timeout, **arguments)

    def server(self, name: str) -> dict[str, Any]:
        servers = self.ask("status")["servers"]
        return next(server for server in servers if server["name"] == name)

    def processes(self) -> list[psutil.Process]:
        """Find every living process of this installation, whoever started it."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("MISFIT_MARK") == self.mark and (
                    process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def gone(self) -> bool:
        return not self.processes()


@pytest.fixture
def home(tmp_path: Path) -> Generator[Home]:
    home = Home(tmp_path)
    yield home
    daemon = daemon_pid(home.paths)
    with suppress(DaemonError):
        stop_daemon(home.paths, 10)
    for process in home.processes():
        process.kill()
    if daemon:
        with_reaped(daemon)


def with_reaped(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def misfit(name: str, *options: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "options": list(options), **more}


def lines_of(file: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in file.read_bytes().splitlines()]
    except OSError:
        return []


def test_a_killed_server_is_replaced_and_its_peers_hear_of_it(home: Home, tmp_path: Path) -> None:
    record = tmp_path / "record"
    home.start(misfit("gateway"), misfit("ux", "--record", str(record)))
    home.ask("wait", service="gateway")
    home.ask("wait", service="ux")
    before = home.server("gateway")
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: home.server("gateway")["starts"] == 2 or None)
    home.ask("wait", service="gateway")
    after = home.server("gateway")
    assert after["pid"] != before["pid"]
    assert after["last_exit"] == "killed by SIGKILL"
    assert after["rss"] > 0
    assert (after["restarts"], after["state"]) == (1, "ready")

    def heard() -> bool:
        pictures = [line["peers"] for line in lines_of(record) if line["kind"] == "peers"]
        pids = [{p["pid"] for p in picture if p["name"] == "gateway"} for picture in pictures]
        return {before["pid"]} in pids and pids[-1] == {after["pid"]} and set() in pids

    until(heard)


def test_stop_leaves_nothing_not_even_what_a_server_left_behind(home: Home) -> None:
    home.start(
        misfit("models", "--grandchild"),
        misfit("gateway", "--ignore-term", "--grandchild", policy=QUICK, depends_on=["models"]),
        misfit("ux", "--never-ready", "--hang"),
    )
    home.ask("wait", service="gateway")
    until(lambda: len(home.processes()) >= 6 or None)
    assert stop_daemon(home.paths)
    assert home.gone()
    assert read_runtime(home.paths) is None
    assert not home.paths.runtime_file.exists()
    assert not stop_daemon(home.paths)


def test_a_killed_supervisor_leaves_no_server_and_the_next_one_starts(home: Home) -> None:
    runtime = home.start(misfit("models"), misfit("gateway"))
    home.ask("wait", service="gateway")
    home.ask("wait", service="models")
    os.kill(runtime.pid, signal.SIGKILL)
    os.waitpid(runtime.pid, 0)
    until(home.gone, "that all are gone")
    assert home.paths.runtime_file.exists()
    assert read_runtime(home.paths) is None
    again = home.start(misfit("gateway"))
    assert again.pid != runtime.pid
    assert again.token == runtime.token
    home.ask("wait", service="gateway")


def test_many_starters_at_once_get_one_daemon(home: Home) -> None:
    def ensure(_: int) -> Runtime:
        environ = home.environ([misfit("gateway")])
        return ensure_daemon(home.paths, environ=environ, command=COMMAND)

    with ThreadPoolExecutor(4) as pool:
        runtimes = list(pool.map(ensure, range(4)))
    assert len({runtime.pid for runtime in runtimes}) == 1
    with pytest.raises(DaemonError, match=f"running already.*{runtimes[0].pid}"):
        home.start(misfit("gateway"))
    until(lambda: len(home.processes()) == 2 or None, "one daemon with one server")


def test_a_daemon_started_while_the_last_one_is_stopping_waits_its_turn(home: Home) -> None:
    slow = {"grace": 0.5}
    first = home.start(misfit("gateway", "--ignore-term", policy=slow))
    home.ask("wait", service="gateway")
    os.kill(first.pid, signal.SIGTERM)
    until(lambda: read_runtime(home.paths) is None or None)
    second = ensure_daemon(home.paths, environ=home.environ([misfit("ux")]), command=COMMAND)
    assert second.pid != first.pid
    home.ask("wait", service="ux")
    os.waitpid(first.pid, 0)


def test_a_server_that_exits_at_once_is_in_backoff_and_says_why(home: Home) -> None:
    home.start(misfit("gateway", "--exit", "7", policy={"base": 30}))
    # Full jitter may make any single delay short; each further one is drawn from a wider range.
    failing = until(lambda: ((s := home.server("gateway"))["state"] == "backoff" and s) or None)
    assert failing["last_exit"] == "exit 7"
    assert failing["pid"] is None
    assert "about to fail" in Path(failing["log"]).read_text()


def test_a_program_that_does_not_exist_is_reported(home: Home) -> None:
    home.start(misfit("gateway", command=["/no/such/program"]))
    failing = until(lambda: ((s := home.server("gateway"))["last_exit"] and s) or None)
    assert "No such file" in failing["last_exit"]
    assert failing["starts"] == 0


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--never-ready", "not ready after 0.5 s"),
        ("--close-leash", "let go of its line"),
        ("--endless", "let go of its line"),
    ],
)
def test_a_server_that_cannot_be_led_is_replaced(home: Home, option: str, reason: str) -> None:
    patient = QUICK if option == "--never-ready" else {**QUICK, "start": 30}
    home.start(misfit("gateway", option, "--hang", policy=patient), misfit("ux"))
    home.ask("wait", service="ux")
    failing = until(lambda: ((s := home.server("gateway"))["starts"] > 1 and s) or None)
    assert reason in failing["last_exit"]
    assert home.server("ux")["starts"] == 1


def test_garbage_on_the_leash_is_passed_over(home: Home) -> None:
    home.start(misfit("gateway", "--garbage"))
    home.ask("wait", service="gateway")
    assert home.server("gateway")["starts"] == 1


def test_a_flooded_log_is_put_aside_at_the_next_start(home: Home) -> None:
    home.start(misfit("gateway", "--flood", str(5 << 20)))
    home.ask("wait", service="gateway")
    for _ in range(5):
        home.ask("restart", server="gateway")
    logs = sorted(path.name for path in home.paths.logs.glob("gateway.log*"))
    assert logs == ["gateway.log", "gateway.log.1", "gateway.log.2", "gateway.log.3"]


def test_a_server_runs_with_the_priority_it_was_given(home: Home) -> None:
    home.start(misfit("model", nice=19, oom_score=300))
    home.ask("wait", service="model")
    pid = home.server("model")["pid"]
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "300"
    assert os.getsid(pid) == os.getpgid(pid) == pid


def test_a_call_over_a_real_leash_is_answered(home: Home, tmp_path: Path) -> None:
    record = tmp_path / "record"
    call = {"kind": "call", "id": 5, "operation": "stop_server", "arguments": {"name": "none"}}
    talker = ("--record", str(record), "--call", json.dumps(call))
    home.start(misfit("models", *talker, may_manage=True))
    reply = until(lambda: [x for x in lines_of(record) if x["kind"] == "reply"] or None)[0]
    assert reply == {"kind": "reply", "id": 5, "result": {}, "error": None}


def test_a_stranger_is_turned_away_and_garbage_does_no_harm(home: Home) -> None:
    runtime = home.start(misfit("gateway"))
    stranger = Runtime(runtime.pid, runtime.version, "guess", runtime.control, "", "", "")
    with pytest.raises(Unauthorized):
        control(stranger, "stop")
    host, port = runtime.control.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(os.urandom(1 << 16))
    home.ask("wait", service="gateway")


def test_ctrl_c_twice_ends_a_daemon_whose_servers_are_stubborn(home: Home) -> None:
    runtime = home.start(misfit("gateway", "--ignore-term", policy={"grace": 600}))
    home.ask("wait", service="gateway")
    os.kill(runtime.pid, signal.SIGINT)
    until(lambda: read_runtime(home.paths) is None or None)
    os.kill(runtime.pid, signal.SIGINT)
    assert os.waitpid(runtime.pid, 0)[1] == 0
    assert home.gone()


def test_stop_works_on_a_daemon_that_does_not_answer(home: Home) -> None:
    runtime = home.start(misfit("gateway"))
    os.kill(runtime.pid, signal.SIGSTOP)
    with pytest.raises(DaemonError, match=f"{runtime.pid}.*not stopped") as caught:
        stop_daemon(home.paths, 0.1)
    assert f"kill -9 {runtime.pid}" in caught.value.hint
    os.kill(runtime.pid, signal.SIGCONT)
    assert stop_daemon(home.paths)


def test_another_version_is_refused_but_can_be_stopped(home: Home) -> None:
    runtime = home.start(misfit("gateway"))
    table = json.loads(home.paths.runtime_file.read_text())
    home.paths.runtime_file.write_text(json.dumps({**table, "version": "0.0.1"}))
    with pytest.raises(DaemonVersionMismatch, match=r"0\.0\.1"):
        ensure_daemon(home.paths)
    assert stop_daemon(home.paths)
    assert not psutil.pid_exists(runtime.pid)


PROBE = {"path": "/", "every": 0.05, "timeout": 0.2}


def program(*options: str, **more: Any) -> dict[str, Any]:
    command = [sys.executable, "-S", "-E", str(DAEMON.with_name("misbehaving_program.py"))]
    port = ["--port", "{port}"]
    table = {"name": "web-1", "service": "web", "leash": False, "probe": PROBE, "scalable": True}
    return {**table, "command": [*command, *options, *port], **more}


def test_a_program_that_stops_answering_is_replaced_at_another_port(home: Home) -> None:
    home.start(program())
    first = home.ask("wait", service="web")["url"]
    before = home.server("web-1")
    os.kill(before["pid"], signal.SIGSTOP)
    after = until(lambda: ((s := home.server("web-1"))["starts"] == 2 and s) or None)
    assert "gave no answer within 0.2 s, 3 times in a row" in after["last_exit"]
    assert home.ask("wait", service="web")["url"] != first


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--deaf", "/ gave no answer within 0.2 s"),
        ("--garbage", "/ answered in no HTTP"),
        ("--half", "/ answered in no HTTP"),
    ],
)
def test_a_program_that_answers_badly_never_counts_as_ready(
    home: Home, option: str, reason: str
) -> None:
    home.start(program(option, policy={**QUICK, "start": 1}))
    failing = until(lambda: ((s := home.server("web-1"))["last_exit"] and s) or None)
    assert f"not ready after 1 s ({reason})" in failing["last_exit"]


def test_a_program_that_keeps_failing_is_marked_and_quoted_and_tried_again(home: Home) -> None:
    home.start(program("--no-such-option", policy={"base": 0.001, "cap": 0.05, "intensity": 2}))
    failing = until(lambda: ((s := home.server("web-1"))["crash_looping"] and s) or None)
    assert "unrecognized arguments: --no-such-option" in failing["tail"][-1]
    until(lambda: home.server("web-1")["starts"] > failing["starts"] or None)


def test_replicas_are_added_and_taken_away(home: Home) -> None:
    home.start(program())
    home.ask("wait", service="web")
    home.ask("scale", service="web", count=3)
    names = [server["name"] for server in home.ask("status")["servers"]]
    assert names == ["web-1", "web-2", "web-3"]
    servers = home.ask("status")["servers"]
    assert len({server["url"] for server in servers}) == 3
    home.ask("scale", service="web", count=1)
    assert [server["name"] for server in home.ask("status")["servers"]] == ["web-1"]
    assert [psutil.pid_exists(server["pid"]) for server in servers] == [True, False, False]


def test_what_a_program_left_in_a_session_of_its_own_goes_with_it(home: Home) -> None:
    home.start(program("--leave-child"))
    home.ask("wait", service="web")
    first = home.server("web-1")["pid"]
    (left,) = psutil.Process(first).children()
    os.kill(first, signal.SIGKILL)
    until(lambda: not left.is_running() or None, "that its child is gone")
    home.ask("wait", service="web")


def test_a_killed_supervisor_leaves_no_foreign_program(home: Home) -> None:
    runtime = home.start(program())
    home.ask("wait", service="web")
    os.kill(runtime.pid, signal.SIGKILL)
    os.waitpid(runtime.pid, 0)
    until(home.gone, "that all are gone")


class TestTalesOwn:
    """`python -m tale.orchestration.daemon` as users run it, where it can't start."""

    def test_a_port_in_use_is_told_to_whoever_starts_it(self, home: Home) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            home.paths.config_file.write_text(f"[gateway]\nport = {port}\n")
            with pytest.raises(PortInUse, match=f"Port {port}.*process {os.getpid()}"):
                start_daemon(home.paths)
        assert daemon_pid(home.paths) is None

    def test_an_unusable_folder_is_told_to_whoever_starts_it(self, home: Home) -> None:
        home.paths.runtime.write_text("a file")
        with pytest.raises(StorageError, match="can't be written"):
            start_daemon(home.paths)

    def test_logs_that_cannot_be_written_are_noticed_before_it_starts(self, home: Home) -> None:
        home.paths.logs.write_text("a file")
        with pytest.raises(StorageError, match=str(home.paths.logs)):
            start_daemon(home.paths)

    def test_a_daemon_that_dies_without_a_word_is_shown_with_its_last_lines(
        self, home: Home
    ) -> None:
        command = (sys.executable, "-c", "raise SystemExit('so sorry')")
        with pytest.raises(DaemonError, match=r"ended before(?s:.*)so sorry"):
            start_daemon(home.paths, command=command)

    def test_a_daemon_that_says_nothing_is_ended(self, home: Home) -> None:
        command = (sys.executable, "-c", "import time; time.sleep(600)")
        with pytest.raises(DaemonError, match=r"did not answer within 0\.1 s"):
            start_daemon(home.paths, 0.1, environ=home.environ([]), command=command)
        assert home.gone()

    def test_in_the_foreground_it_leaves_on_ctrl_c(self, home: Home) -> None:
        environ = {**home.environ([misfit("gateway")]), "TALE_HOME": home.mark}
        with subprocess.Popen(COMMAND, env=environ, stderr=subprocess.DEVNULL) as process:
            until(lambda: read_runtime(home.paths))
            home.ask("wait", service="gateway")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        assert home.gone()


class TestSpawner:
    """The operating system's side alone."""

    @pytest.mark.anyio
    @pytest.mark.parametrize("pidfd", [True, False])
    async def test_a_death_is_noticed_with_its_cause(self, home: Home, pidfd: bool) -> None:
        spawner = OsSpawner(home.paths, home.environ([]), pidfd=pidfd)
        for code in (-signal.SIGKILL, -signal.SIGTERM, 0):
            running = spawner.spawn(ServerSpec("a", "a", (*SERVER, "--never-ready")))
            ends = {
                -signal.SIGKILL: running.kill,
                -signal.SIGTERM: partial(running.terminate, signal.SIGTERM),
            }
            ends.get(code, running.leash.close)()
            with anyio.fail_after(20):
                assert await running.wait() == code
            running.kill()  # of no consequence any more
            running.leash.close()

    def test_a_program_that_does_not_exist_leaves_nothing_open(self, home: Home) -> None:
        before = list(Path("/proc/self/fd").iterdir())
        with pytest.raises(FileNotFoundError):
            OsSpawner(home.paths).spawn(ServerSpec("a", "a", ("/no/such/program",)))
        assert len(list(Path("/proc/self/fd").iterdir())) == len(before)
