"""The commands against a fake daemon: what they print, where, and with which exit code."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from fake_daemon import FakeDaemon, ToolError, default_events, event, model, server, task
from tale import __version__
from tale.cli.app import COMMANDS
from tale.cli.main import run
from tale.models.backend import Usage
from tale.models.entry import Entry, Row
from tale.models.ledger_file import LedgerFile
from tale.models.naive import Naive
from tale.models.router import Decision, RouteRequest, route
from tale.models.usage import Tally, report
from tale.paths import Paths
from tale.tasks.judging import judge


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Tale = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TALE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TALE_CONFIG", raising=False)
    return tmp_path / "home"


@pytest.fixture
def tale(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tale:
    def call(*arguments: str, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(list(arguments))
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


@pytest.fixture
def daemon(home: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(home).running() as fake:
        yield fake


class TestUsage:
    def test_help_lists_every_command_under_its_panel(self, tale: Tale) -> None:
        done = tale("--help")
        assert done.code == 0
        for spec in COMMANDS:
            assert f"  {spec.name} " in done.out
            assert f"{spec.panel}:" in done.out

    @pytest.mark.parametrize("name", [spec.name for spec in COMMANDS])
    def test_every_command_explains_itself(self, tale: Tale, name: str) -> None:
        done = tale(name, "--help")
        assert done.code == 0
        assert f"Usage: tale {name}" in done.out

    def test_no_command_shows_the_help_and_is_a_usage_error(self, tale: Tale) -> None:
        done = tale()
        assert done.code == 2
        assert "Usage: tale" in done.out

    def test_a_mistyped_command_is_answered_with_the_right_one(self, tale: Tale) -> None:
        done = tale("sumbit", "x")
        assert (done.code, done.out) == (2, "")
        assert "Did you mean 'submit'?" in done.err

    def test_a_wrong_option_names_the_help_of_its_command(self, tale: Tale) -> None:
        done = tale("tasks", "--wrong")
        assert done.code == 2
        assert "--wrong" in done.err
        assert "`tale tasks --help`" in done.err

    def test_version_is_the_packages(self, tale: Tale) -> None:
        assert tale("--version").out == f"tale {__version__}\n"
        assert tale("version", "--json").json["version"] == __version__

    def test_help_and_status_import_nothing_heavy(self, home: Path) -> None:
        program = (
            "import sys; from tale.cli.main import run; run(sys.argv[1:]); "
            "heavy = {'pydantic', 'rich', 'aiohttp', 'mcp', 'httpx', 'anyio', 'psutil', "
            "'prompt_toolkit', 'sqlalchemy'} & set(sys.modules); "
            "print('heavy:', heavy)"
        )
        with FakeDaemon(home).running():
            for arguments in (["--help"], ["status"]):
                done = subprocess.run(
                    [sys.executable, "-c", program, *arguments],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                assert done.stdout.splitlines()[-1] == "heavy: set()"

    def test_an_unexpected_failure_is_one_line_and_a_log_file(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        daemon.pool = {"models": [model(memory_bytes=10**400)]}
        done = tale("models")
        assert done.code == 1
        assert "Traceback" not in done.err
        log = daemon.paths.log_of("cli")
        assert str(log) in done.err
        assert "Traceback" in log.read_text()

    def test_an_unwritable_log_is_no_second_failure(self, tale: Tale, daemon: FakeDaemon) -> None:
        daemon.pool = {"models": [model(memory_bytes=10**400)]}
        daemon.paths.logs.write_text("a file where the folder should be")
        done = tale("models")
        assert done.code == 1
        assert "could not be written" in done.err


class TestStatus:
    def test_no_daemon_is_said_and_is_exit_code_3(self, tale: Tale) -> None:
        done = tale("status")
        assert (done.code, done.out) == (3, "The daemon is not running.\n")
        assert tale("status", "--json").json == {"running": False, "version": __version__}

    def test_it_shows_servers_models_and_a_verdict(self, tale: Tale, daemon: FakeDaemon) -> None:
        done = tale("status")
        assert done.code == 0
        lines = done.out.splitlines()
        assert lines[0].startswith(f"tale {__version__} at {daemon.url}")
        assert any(
            line.split()[:7] == ["gateway", "ready", "100", "2", "min", "5", "s"] for line in lines
        )
        assert any(line.startswith("tiny-ux") and "650 MiB" in line for line in lines)
        assert lines[-1] == "All 3 servers are ready and both models are resident."
        assert "\x1b" not in done.out

    def test_what_is_not_ready_is_in_the_verdict(self, tale: Tale, daemon: FakeDaemon) -> None:
        daemon.servers[2] = server("ux", state="backoff", restarts=3, last_exit="signal 9")
        daemon.pool["models"][1] = model("task", state="recovering", detail="it died")
        done = tale("status")
        assert done.code == 0
        assert "ux is backoff; tiny-task (task) is recovering" in done.out
        assert "signal 9" in done.out
        assert "it died" in done.out

    def test_a_models_server_that_starts_does_not_hold_it_up(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        daemon.servers[0] = server("models", state="starting", rss=None, uptime=None, cpu=None)
        done = tale("status")
        assert "the models server is starting" in done.out
        assert tale("status", "--json").json["pool"] is None

    def test_a_crash_loop_is_told_with_the_last_words(self, tale: Tale, daemon: FakeDaemon) -> None:
        daemon.servers[2] = server(
            "ux", state="backoff", crash_looping=True, tail=["Traceback", "no such table"]
        )
        done = tale("status")
        assert "crash-looping" in done.out
        assert "ux ended with:\n  Traceback\n  no such table\n" in done.out
        assert done.out.splitlines()[-1].startswith("Not all is ready: ux is crash-looping")

    def test_one_server_is_shown_in_full(self, tale: Tale, daemon: FakeDaemon) -> None:
        history = [{"at": 20.0 * n, "cpu": float(n), "rss": n << 20} for n in range(9)]
        daemon.servers[1] = server(
            "gateway",
            restarts=2,
            fds=25,
            threads=8,
            growth=float(3 << 20),
            history=history,
            exits=["2026-01-31T12:00:00Z exit 3"],
        )
        shown = tale("inspect", "gateway").out
        assert shown.splitlines()[0] == "gateway is ready"
        assert "process 100, up 2 min 5 s, 2 restarts before" in shown
        assert "80 MiB of memory (growing 3 MiB an hour), 2% of a processor, 25 open files" in shown
        assert "▁▂▃▄▅▆▇██  the last 2 min 40 s" in shown
        assert "2026-01-31T12:00:00Z exit 3" in shown
        assert [s["name"] for s in tale("inspect", "gateway", "--json").json["servers"]] == [
            "gateway"
        ]
        missing = tale("inspect", "nobody")
        assert missing.code == 1
        assert "There is no server 'nobody'" in missing.err

    def test_many_troubles_are_counted(self, tale: Tale, daemon: FakeDaemon) -> None:
        daemon.servers = [server(n, state="starting") for n in ("gateway", "ux", "models", "e")]
        assert "models is starting, and 2 more." in tale("status").out

    def test_restarts_are_told_when_all_is_well_again(self, tale: Tale, daemon: FakeDaemon) -> None:
        daemon.servers[1] = server("gateway", restarts=1)
        assert tale("status").out.splitlines()[-1].endswith("resident; 1 restart so far.")

    def test_the_wire_is_a_row_for_each_edge_and_instance(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        daemon.servers = [server("gateway"), server("model-ux"), server("ux", state="backoff")]
        edge = {
            "service": "execution",
            "tool": "ask",
            "calls": 7,
            "errors": {"busy": 2},
            "in_flight": 1,
            "retries": 3,
            "hedges": 0,
            "percentiles": {"seen": 5, "p50": 0.0012, "p95": 0.5, "p99": 1.5},
        }
        instance = {
            "service": "execution",
            "name": "execution-2",
            "breaker": "open",
            "in_flight": 4,
        }
        daemon.wire = {"made": [edge], "served": [], "instances": [instance]}
        lines = [line.split() for line in tale("status", "--wire").out.splitlines()]
        row = "gateway execution ask 7 2 1 3 0 1.2 ms 500.0 ms 1500.0 ms busy 2"
        assert row.split() in lines
        assert ["gateway", "execution-2", "open", "4"] in lines
        daemon.servers.append(server("web-1", foreign=True))
        assert "1 server did not answer: ux." in tale("status", "--wire").out
        report = tale("status", "--wire", "--json").json
        assert report["wire"] == {"gateway": daemon.wire, "ux": None}

    def test_a_wire_without_calls_says_so(self, tale: Tale, daemon: FakeDaemon) -> None:
        assert "No calls between servers so far." in tale("status", "--wire").out

    def test_json_has_everything(self, tale: Tale, daemon: FakeDaemon) -> None:
        report = tale("status", "--json").json
        assert report["running"] is True
        assert [s["name"] for s in report["servers"]] == ["models", "gateway", "ux"]
        assert report["pool"] == daemon.pool


class TestSubmit:
    def test_the_answer_alone_goes_to_standard_output(self, tale: Tale, daemon: FakeDaemon) -> None:
        done = tale("submit", "hello", "world", "--priority", "3")
        assert (done.code, done.out) == (0, "Hello there.\n")
        assert done.err == "tiny (ux) · 5 tokens · 2.5 s · task t1\n"
        (asked,) = daemon.calls_of("submit")
        assert len(str(asked.pop("key"))) == 32
        assert asked == {"text": "hello world", "priority": 3}

    def test_a_task_that_waits_for_a_server_says_so(self, tale: Tale, daemon: FakeDaemon) -> None:
        waits = event(3, "note", text="No execution server is there.")
        daemon.events["t1"] = [event(1, "queued"), event(2, "started"), waits, event(4, "done")]
        done = tale("submit", "hello")
        assert (done.code, done.out) == (0, "Hello there.\n")
        assert done.err.startswith("No execution server is there.\n")

    def test_a_gateway_that_is_late_is_told_of_and_waited_for(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        daemon.not_ready = 1
        done = tale("submit", "hello")
        assert (done.code, done.out) == (0, "Hello there.\n")
        assert "is in state 'backoff'. It is waited for.\n" in done.err

    def test_a_database_that_is_read_only_is_an_error_with_what_to_do(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        def refuse(arguments: Any, say: Any) -> Any:
            raise ToolError("storage_read_only", "tale.db: the disk is full.", "Free some space.")

        daemon.tools["submit"] = refuse
        done = tale("submit", "hello")
        assert (done.code, done.out) == (1, "")
        assert done.err == "error: tale.db: the disk is full.\nhint: Free some space.\n"

    def test_the_workspace_is_made_absolute(
        self, tale: Tale, daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        tale("submit", "x", "--workspace", "sub")
        assert daemon.calls_of("submit")[0]["workspace"] == str(tmp_path / "sub")

    def test_files_are_told_with_their_sizes(
        self, tale: Tale, daemon: FakeDaemon, tmp_path: Path
    ) -> None:
        (tmp_path / "a.py").write_text("x" * 2048)
        ended = task(files=["a.py", "gone.py"], workspace=str(tmp_path))
        daemon.tools["show"] = lambda arguments, say: ended
        err = tale("submit", "x").err
        assert f"wrote {tmp_path}/a.py (2 KiB)\n" in err
        assert f"wrote {tmp_path}/gone.py\n" in err

    def test_no_wait_prints_the_id_and_returns(self, tale: Tale, daemon: FakeDaemon) -> None:
        assert tale("submit", "x", "--no-wait").out == "t1\n"
        assert daemon.event_queries == []
        assert tale("submit", "x", "--no-wait", "--json").json["state"] == "queued"

    def test_json_is_the_task_as_it_ended(self, tale: Tale, daemon: FakeDaemon) -> None:
        done = tale("submit", "x", "--json")
        assert done.json["answer"] == "Hello there."

    def test_a_failed_task_is_exit_code_1_with_its_hint(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        daemon.events["t1"] = [event(1, "queued"), event(2, "failed", error="broke", hint="mend")]
        failed = task(state="failed", error="broke", hint="mend it", answer=None, model=None)
        daemon.tools["show"] = lambda arguments, say: failed
        done = tale("submit", "x")
        assert (done.code, done.out) == (1, "")
        assert "error: broke\nhint: mend it\n" in done.err

    def test_a_cancelled_task_is_exit_code_1(self, tale: Tale, daemon: FakeDaemon) -> None:
        daemon.events["t1"] = [event(1, "queued"), event(2, "cancelled")]
        daemon.tools["show"] = lambda a, say: task(state="cancelled", answer=None)
        done = tale("submit", "x")
        assert done.code == 1
        assert "cancelled" in done.err

    def test_a_dash_reads_standard_input(self, tale: Tale, daemon: FakeDaemon) -> None:
        tale("submit", "-", stdin="grüße\n".encode())
        tale("submit", stdin=b"piped")
        tale("submit", "review", "this", "-", stdin=b"diff")
        assert [call["text"] for call in daemon.calls_of("submit")] == [
            "grüße\n",
            "piped",
            "review this\n\ndiff",
        ]

    @pytest.mark.parametrize(
        ("stdin", "reason"),
        [
            (b"", "is empty"),
            (b"  \n\t", "is empty"),
            (b"caf\xe9", "is not UTF-8: byte 0xe9 at offset 3"),
            (b"\x7fELF\0\0", "is binary"),
            (b"x" * (2 * 1024 * 1024 + 1), "larger than 2 MiB"),
        ],
    )
    def test_what_is_no_text_is_refused_before_anything_starts(
        self, tale: Tale, home: Path, stdin: bytes, reason: str
    ) -> None:
        done = tale("submit", "-", stdin=stdin)
        assert (done.code, done.out) == (2, "")
        assert reason in done.err
        assert not home.exists()

    def test_an_argument_that_is_not_utf8_is_refused(self, tale: Tale) -> None:
        done = tale("submit", b"caf\xe9".decode("utf-8", "surrogateescape"))
        assert done.code == 2
        assert "not UTF-8" in done.err

    def test_what_the_gateway_refuses_has_its_exit_code(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        def refuse(arguments: dict[str, Any], say: object) -> dict[str, Any]:
            raise ToolError("workspace_unusable", "/x can't be used.", "Choose another.")

        daemon.tools["submit"] = refuse
        done = tale("submit", "x")
        assert done.code == 2
        assert done.err == "error: /x can't be used.\nhint: Choose another.\n"

    def test_a_daemon_of_another_version_is_refused(self, tale: Tale, home: Path) -> None:
        fake = FakeDaemon(home)
        fake.version = "0.0.1"
        with fake.running():
            done = tale("submit", "x")
        assert done.code == 3
        assert "0.0.1" in done.err
        assert fake.calls == []


class TestTasks:
    def test_they_are_listed_in_aligned_columns(self, tale: Tale, daemon: FakeDaemon) -> None:
        rows = [task("aa", text="first\nsecond " + "long " * 40), task("b", state="running")]
        daemon.tools["list"] = lambda arguments, say: {"tasks": rows}
        done = tale("tasks", "--state", "done", "-n", "5")
        head, first, second = done.out.splitlines()
        assert head.split() == ["ID", "STATE", "CREATED", "TOOK", "FILES", "TEXT"]
        assert first.index("first second") == second.index("hello") == head.index("TEXT")
        assert first.endswith("long")  # whole where a program reads it
        assert daemon.calls_of("list") == [{"limit": 5, "state": "done"}]

    def test_none_is_said_on_standard_error(self, tale: Tale, daemon: FakeDaemon) -> None:
        daemon.tools["list"] = lambda arguments, say: {"tasks": []}
        done = tale("tasks")
        assert (done.code, done.out) == (0, "")
        assert "No tasks yet" in done.err
        assert tale("tasks", "--json").json == {"tasks": []}

    def test_show_has_everything_and_the_answer_last(self, tale: Tale, daemon: FakeDaemon) -> None:
        shown = task(files=["a.py", "b.py"], priority=2, session="s1", text="one\ntwo")
        daemon.tools["show"] = lambda arguments, say: shown
        out = tale("show", "t1").out
        assert "state      done by tiny (ux)\n" in out
        assert "tokens     12 read (3 from cache), 5 written\n" in out
        assert "files      a.py\n           b.py\n" in out
        assert out.endswith("\n\nHello there.\n")
        assert tale("show", "t1", "--json").json == shown

    def test_show_says_on_what_a_plan_rests_and_its_reasoning_where_it_is_asked_for(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        first = {"used": ["shop.py", "a.md"], "changes": ["b waits for a."], "notes": ["Mended."]}
        second = {"used": ["shop.py"], "changes": ["'A' is replaced."]}

        def show(arguments: dict[str, Any], say: object) -> dict[str, Any]:
            thought = {"why": "The model first."} if arguments.get("reasoning") else {}
            return task(planning=[{**first, **thought}, second])

        daemon.tools["show"] = show
        out = tale("show", "t1").out
        assert "rests on   shop.py, a.md\n" in out
        assert "changes    b waits for a.\n           'A' is replaced.\n" in out
        assert "notes      Mended.\n" in out
        assert "reasoning" not in out
        assert "reasoning  The model first.\n" in tale("show", "t1", "--reasoning").out
        assert tale("show", "t1", "--json").json["planning"][0]["why"] == "The model first."

    def test_an_unknown_task_is_a_usage_error(self, tale: Tale, daemon: FakeDaemon) -> None:
        def refuse(arguments: dict[str, Any], say: object) -> dict[str, Any]:
            raise ToolError("task_not_found", "No task 'zz'.", "`tale tasks` lists them.")

        daemon.tools["show"] = refuse
        assert tale("show", "zz").code == 2
        assert tale("watch", "zz").code == 2

    def test_watch_tells_what_happened_line_by_line(self, tale: Tale, daemon: FakeDaemon) -> None:
        daemon.events["t1"] = [
            *default_events()[:-1],
            event(3, "resumed", why="the daemon restarted"),
            event(4, "file", path="a.py", bytes=2048),
            event(5, "note", text="half done"),
            event(6, "done", answer="Hello there."),
        ]
        done = tale("watch", "t1")
        assert (done.code, done.out) == (0, "Hello there.\n")
        told = [line.split("  ", 1)[1] for line in done.err.splitlines() if "  " in line]
        assert told == [
            "queued",
            "started on the ux model: short",
            "resumed: the daemon restarted",
            "wrote a.py (2 KiB)",
            "half done",
        ]

    def test_watch_as_json_is_an_event_a_line(self, tale: Tale, daemon: FakeDaemon) -> None:
        lines = tale("watch", "t1", "--json").out.splitlines()
        assert [json.loads(line)["kind"] for line in lines] == [
            "queued",
            "started",
            "token",
            "token",
            "done",
        ]

    def test_cancel_says_whether_there_was_something_to_cancel(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        assert tale("cancel", "t1").out == "t1 is cancelled.\n"
        daemon.tools["cancel"] = lambda arguments, say: task()
        assert tale("cancel", "t1").out == "t1 had ended already: done.\n"
        assert tale("cancel", "t1", "--json").json["state"] == "done"

    def test_pause_and_resume_say_how_the_task_stands(self, tale: Tale, daemon: FakeDaemon) -> None:
        paused = tale("pause", "t1")
        assert (paused.code, paused.out) == (0, "t1 is paused.\n")
        assert "`tale resume t1`" in paused.err
        assert tale("resume", "t1").out == "t1 goes on: queued.\n"
        assert tale("pause", "t1", "--json").json["state"] == "paused"
        assert tale("resume", "t1", "--json").json["state"] == "queued"
        assert daemon.calls_of("pause") == [{"id": "t1"}] * 2

    def test_what_has_ended_can_not_be_paused(self, tale: Tale, daemon: FakeDaemon) -> None:
        def refuse(arguments: dict[str, Any], say: object) -> dict[str, Any]:
            raise ToolError("task", "Task t1 is done, so it can't become paused.", "")

        daemon.tools["pause"] = daemon.tools["resume"] = refuse
        for command in ("pause", "resume"):
            done = tale(command, "t1")
            assert done.code == 1
            assert "t1 is done" in done.err

    def test_export_says_what_is_in_the_file(
        self, tale: Tale, daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reply = {
            "id": "t1",
            "path": "/x/t1.tale",
            "bytes": 1_300_000,
            "checkpoints": 3,
            "files": 41,
            "omissions": 0,
            "steps": 1,
        }
        daemon.tools["export"] = lambda arguments, say: reply
        monkeypatch.chdir(tmp_path)
        done = tale("export", "t1")
        assert (done.code, done.out) == (
            0,
            "Exported t1 to t1.tale: 3 checkpoints, 41 files, 1 recorded step, 1 MiB.\n",
        )
        assert done.err == "`tale import FILE` takes it over on another machine.\n"
        reply["omissions"] = 2
        done = tale("export", "t1", "-o", "sub/out.tale", "--force")
        assert "to sub/out.tale: " in done.out
        assert "2 things in its workspace stayed here" in done.err
        assert tale("export", "t1", "-o", "/x.tale", "--json").json == reply
        assert daemon.calls_of("export") == [
            {"id": "t1", "path": str(tmp_path / "t1.tale"), "replace": False},
            {"id": "t1", "path": str(tmp_path / "sub/out.tale"), "replace": True},
            {"id": "t1", "path": "/x.tale", "replace": False},
        ]

    def test_import_says_where_the_task_is_and_how_it_goes_on(
        self, tale: Tale, daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reply = {
            "task": task("t2", state="paused"),
            "origin": "t1",
            "checkpoints": 1,
            "files": 2,
            "steps": 5,
        }
        daemon.tools["import"] = lambda arguments, say: reply
        monkeypatch.chdir(tmp_path)
        done = tale("import", "t1.tale", "-w", "here")
        assert done.out == (
            "Imported as t2 (t1 is taken here), paused: 1 checkpoint, 2 files, 5 recorded steps.\n"
            "Its workspace is /work/space.\n"
        )
        assert done.err == "`tale resume t2` lets it go on where it was.\n"
        reply["task"] = task("t1")
        done = tale("import", "t1.tale")
        assert "Imported as t1, done: " in done.out
        assert done.err == "`tale show t1` shows it.\n"
        assert tale("import", "t1.tale", "--json").json == reply
        assert daemon.calls_of("import")[:2] == [
            {"path": str(tmp_path / "t1.tale"), "workspace": str(tmp_path / "here")},
            {"path": str(tmp_path / "t1.tale")},
        ]

    def test_a_file_that_is_refused_is_told_in_words(self, tale: Tale, daemon: FakeDaemon) -> None:
        def refuse(arguments: dict[str, Any], say: object) -> dict[str, Any]:
            raise ToolError(
                "export_refused", "x.tale is damaged: it is cut short.", "Export again."
            )

        daemon.tools["import"] = refuse
        done = tale("import", "x.tale")
        assert (done.code, done.out) == (2, "")
        assert done.err == "error: x.tale is damaged: it is cut short.\nhint: Export again.\n"

    def test_watch_tells_of_parts_and_of_what_is_run(self, tale: Tale, daemon: FakeDaemon) -> None:
        daemon.events["t1"] = [
            *default_events()[:-1],
            event(3, "subtask", id="a", title="Draft", state="running"),
            event(4, "acting", action="WriteFile", what="a.py"),
            event(5, "acting", action="RunCommand", what="pytest\n-q"),
            event(6, "subtask", id="a", title="Draft", state="done"),
            event(7, "paused"),
            event(8, "imported", **{"from": "t9"}, exported="2026-05-04T12:00:00+00:00", tale="1"),
            event(9, "done", answer="Hello there."),
        ]
        told = [line.split("  ", 1)[1] for line in tale("watch", "t1").err.splitlines()[2:-1]]
        assert told == [
            *["Draft: begun", "runs pytest", "Draft: done", "paused"],
            "came from elsewhere, where it was t9",
        ]

    def test_watch_tells_of_plans_and_of_each_change(self, tale: Tale, daemon: FakeDaemon) -> None:
        planning = {"id": "+plan", "kind": "plan", "state": "done"}
        planned = [planning, {"id": "a"}, {"id": "b"}]
        changed = [planning, {"id": "a"}, {"id": "b", "state": "cancelled"}, {"id": "c"}]
        daemon.events["t1"] = [
            *default_events()[:-1],
            event(3, "plan", subtasks=planned, why="in two steps", changes=["'a' waits for 'b'."]),
            event(4, "subtask", id="b", title="Tell", state="failed", holds=False, check="no"),
            event(
                *(5, "plan"),
                subtasks=changed,
                changes=[
                    "'B' has failed: pytest: ==== ERRORS ====\nNameError\n1 failed",
                    "'C' is new.",
                ],
            ),
            event(6, "done", answer="Hello there."),
        ]
        told = tale("watch", "t1").err
        assert "  planned 2 subtasks: in two steps\n  'a' waits for 'b'.\n" in told
        assert "  Tell: failed, check failed: no\n" in told
        assert "  the plan changes:\n  'B' has failed: pytest …\n  'C' is new.\n" in told


class TestSessions:
    def test_they_are_listed(self, tale: Tale, daemon: FakeDaemon) -> None:
        assert "No conversations yet" in tale("sessions").err
        one = {"id": "s1", "title": "Hi\nyou", "turns": 4, "updated": "2026-01-31T12:00:00Z"}
        daemon.tools["sessions"] = lambda arguments, say: {"sessions": [one]}
        out = tale("sessions").out
        assert "s1" in out
        assert out.endswith("Hi you\n")
        assert tale("sessions", "--json").json == {"sessions": [one]}

    def test_one_is_shown_with_who_spoke(self, tale: Tale, daemon: FakeDaemon) -> None:
        turns = [
            {"speaker": "user", "text": "Write it"},
            {"speaker": "assistant", "text": "On it.", "task": "t1"},
        ]
        daemon.tools["session"] = lambda arguments, say: {"session": {}, "turns": turns}
        assert tale("sessions", "s1").out == "you\nWrite it\n\ntale (task t1)\nOn it.\n"
        assert tale("sessions", "s1", "--json").json["turns"] == turns
        assert daemon.calls_of("session")[0] == {"id": "s1", "limit": 20}


class TestContext:
    def test_each_part_is_shown_with_its_tokens_and_what_is_left_out(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        parts = [
            {"name": "system", "tokens": 70, "cached": True, "count": 1, "text": "be kind"},
            {"name": "turns", "tokens": 1200, "cached": True, "count": 2, "text": "user: hi"},
            {"name": "request", "tokens": 1, "cached": False, "count": 1, "text": "and?"},
        ]
        reply = {
            "session": "s1",
            "model": "ux",
            "tokens": 1271,
            "budget": 6144,
            "begins": 5,
            "parts": parts,
            "left_out": {"turns": 4, "summed_up": True, "shortened": [7]},
        }
        daemon.tools["context"] = lambda arguments, say: reply
        assert tale("context", "show").out == (
            "s1 for ux: 1,271 of 6,144 tokens, 1,270 of them cached\n\n"
            "system: 70 tokens, cached\nbe kind\n\n"
            "turns (2 turns): 1,200 tokens, cached\nuser: hi\n\n"
            "request: 1 token, new\nand?\n\n"
            "Left out: 4 turns before number 5; the summary tells of them.\n"
            "Without their middle: turns 7.\n"
        )
        done = tale("context", "show", "--session", "s1", "--model", "task", "--json")
        assert done.json == reply
        assert daemon.calls_of("context") == [
            {"session": None, "model": "ux"},
            {"session": "s1", "model": "task"},
        ]


class TestModels:
    def test_they_are_shown_with_real_figures(self, tale: Tale, daemon: FakeDaemon) -> None:
        out = tale("models").out
        row = next(line for line in out.splitlines() if line.startswith("tiny-ux"))
        for figure in ("resident", "650 MiB", "812 ms", "91 ms", "38.2", "1.5 s"):
            assert figure in row
        assert "Backend: embedded (processes 4242, 4242)." in out
        assert "1.3 GiB in models; 20.0 GiB of memory available" in out
        assert tale("models", "--json").json == daemon.pool

    def test_what_is_not_measured_is_a_dash(self, tale: Tale, daemon: FakeDaemon) -> None:
        unmeasured = dict.fromkeys(
            ("memory_bytes", "ttft_cold_ms", "ttft_warm_ms", "tokens_per_second", "load_seconds")
        )
        daemon.pool["models"] = [model(**unmeasured, state="loading", detail="reading", pid=None)]
        out = tale("models").out
        assert out.splitlines()[1].split()[3:8] == ["-", "-", "-", "-", "-"]
        assert "tiny-ux: reading" in out

    def test_switching_is_compared_with_reloading(self, tale: Tale, daemon: FakeDaemon) -> None:
        daemon.pool["switching"] = [
            {"role": "ux", "same_ms": 90.0, "switched_ms": 99.0, "reload_ms": 2250.0},
            {"role": "task", "same_ms": None, "switched_ms": None, "reload_ms": None},
        ]
        row = tale("models").out.splitlines()[-1]
        assert row.split() == ["ux", "90", "ms", "99", "ms", "1.10x", "2.2", "s", "25x"]

    def test_load_and_unload_ask_the_models_server(self, tale: Tale, daemon: FakeDaemon) -> None:
        asked: list[dict[str, Any]] = []

        def take(body: dict[str, Any]) -> dict[str, Any]:
            asked.append(body)
            return {"ok": True}

        def pinned(body: dict[str, Any]) -> dict[str, Any]:
            return {"error": {"code": "core_model_pinned", "message": "It stays.", "hint": "Why."}}

        daemon.loads = {"/pool/load": take, "/pool/unload": take}
        assert tale("models", "load", "tiny").out == "tiny is loaded.\n"
        assert tale("models", "unload", "tiny").out == "tiny is unloaded.\n"
        assert tale("models", "load", "tiny", "--json").json == {"ok": True}
        assert tale("models", "unload", "tiny", "--json").json == {"ok": True}
        assert asked[0] == {"model": "tiny"}
        daemon.loads = {"/pool/unload": pinned}
        done = tale("models", "unload", "tiny-ux")
        assert done.code == 1
        assert done.err == "error: It stays.\nhint: Why.\n"

    def test_pull_knows_only_catalogued_models(self, tale: Tale) -> None:
        done = tale("models", "pull", "gpt-9")
        assert done.code == 2
        assert "smollm2-135m" in done.err


class TestRoute:
    def test_a_running_daemon_decides(self, tale: Tale, daemon: FakeDaemon) -> None:
        decision = route(RouteRequest("Write a parser in Python"))
        assert isinstance(decision, Decision)
        daemon.decision = {**asdict(decision), "reason": "the daemon says so"}
        done = tale("route", "Write", "a", "parser")
        assert daemon.routed == ["Write a parser"]
        lines = dict(line.split("  ", 1) for line in done.out.splitlines())
        assert lines["Answered by"].strip() == "task"
        assert lines["because"].strip() == "the daemon says so"
        assert lines["In chat"].strip() == "becomes a task"
        assert lines["As a task"].strip() == "it is done in one go"
        assert lines["If it fails"].strip() == "ux"
        assert lines["Not"].strip().startswith("ux: ")
        assert tale("route", "--json", "hi").json["reason"] == "the daemon says so"

    def test_without_a_daemon_the_priors_decide_and_nothing_is_started(
        self, tale: Tale, home: Path
    ) -> None:
        done = tale("route", "hello there")
        assert done.out.splitlines()[0].split() == ["Answered", "by", "ux"]
        assert "No daemon runs" in done.err
        assert not Paths.from_environment().runtime_file.exists()

    def test_a_large_request_would_be_planned_first_for_the_reason_that_the_gateway_has(
        self, tale: Tale, home: Path
    ) -> None:
        text = "Build a complete web application with user authentication, database, and API"
        reason = judge(text).reason
        assert reason.startswith("it is large, so it is planned first: ")
        [line] = [one for one in tale("route", text).out.splitlines() if "As a task" in one]
        assert line.split("  ", 1)[1].strip() == reason
        assert tale("route", "--json", text).json["task"] == {"planned": True, "reason": reason}

    def test_no_text_is_explained(self, tale: Tale, home: Path) -> None:
        done = tale("route", " ")
        assert done.code == 2
        assert "is empty" in done.err


class TestUsageOfTokens:
    REPORT = report(
        [
            Tally("tiny-ux", "ux", "talk", 30, 1, 41_000, 33_000, 2_500, 61_000, 2_500, 3_300),
            Tally("tiny-task", "task", "code", 4, 0, 6_000, 1_000, 3_000, 9_000, 3_000, 9_000),
        ],
        None,
    )

    def test_a_running_daemon_is_asked(self, tale: Tale, daemon: FakeDaemon) -> None:
        daemon.usage = asdict(self.REPORT)
        done = tale("usage", "--since", "2026-11-01T00:00+00:00")
        assert done.code == 0
        assert daemon.usage_queries == ["since=1793491200"]
        head, talk, code, total = done.out.splitlines()[:4]
        assert head.split() == ["MODEL", "KIND", "REQUESTS", "IN", "CACHED", "COMPUTED", "OUT"]
        assert talk.split() == ["tiny-ux", "talk", "30", "41,000", "33,000", "8,000", "2,500"]
        assert code.split() == ["tiny-task", "code", "4", "6,000", "1,000", "5,000", "3,000"]
        assert total.split() == ["total", "34", "47,000", "34,000", "13,000", "5,500"]
        assert "would have taken 75,500 tokens" in done.out
        assert "tale took 52,500: 30 % fewer." in done.out
        assert "1 request failed." in done.out
        assert tale("usage", "--json").json["total"]["requests"] == 34
        assert daemon.usage_queries[1] == ""

    def kept(self, paths: Paths) -> None:
        file = LedgerFile.open(paths.ledger)
        entry = Entry(
            "r1", 2e9, None, False, "tiny", "task", "code", "hard", Usage(1234, 56, 34), "", 1,
            None, 1.0, "stop",
        )  # fmt: skip
        file.append([Row.of(entry, 10, Naive(1234, 56, 66))], {})
        file.close()

    def test_without_a_daemon_the_file_is_read_and_nothing_started(
        self, tale: Tale, home: Path
    ) -> None:
        paths = Paths.from_environment()
        self.kept(paths)
        done = tale("usage")
        assert done.out.splitlines()[1].split()[:4] == ["tiny", "code", "1", "1,234"]
        assert tale("usage", "--json").json["lines"][0]["computed"] == 1200
        assert not paths.runtime_file.exists()

    def test_while_the_models_server_is_down_the_file_is_read(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        self.kept(daemon.paths)
        daemon.not_ready = 1
        assert "1,234" in tale("usage").out
        assert daemon.usage_queries == []

    def test_nothing_yet_is_said(self, tale: Tale, home: Path) -> None:
        done = tale("usage", "--since", "7d")
        assert (done.code, done.out) == (0, "")
        assert "No model was asked anything since 7d." in done.err
        assert tale("usage", "--json").json["sent_saved"] is None
        assert not home.exists()

    def test_a_damaged_ledger_is_named(self, tale: Tale, home: Path) -> None:
        home.mkdir()
        (home / "ledger.db").write_bytes(b"something else entirely" * 100)
        done = tale("usage")
        assert done.code == 1
        assert str(home / "ledger.db") in done.err

    def test_a_wrong_since_says_what_is_allowed(self, tale: Tale) -> None:
        done = tale("usage", "--since", "soon")
        assert done.code == 2
        assert "'soon'" in done.err
        assert "2026-11-01" in done.err


class TestBench:
    def test_each_role_is_measured_against_its_baselines(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        done = tale("bench", "--rounds", "2")
        assert done.code == 0
        assert "IF RELOADED" in done.out
        roles = [body["model"] for body in daemon.completions]
        assert roles == ["ux"] * 5 + ["task"] * 5 + ["ux", "task"] * 2
        prompts = [body["messages"][0]["content"] for body in daemon.completions]
        assert len(set(prompts[:2])) == 2  # cold ones are new
        assert len(set(prompts[2:5]) | {prompts[10]}) == 1  # warm ones are not

    def test_json_has_the_figures(self, tale: Tale, daemon: FakeDaemon) -> None:
        figures = tale("bench", "--rounds", "1", "--json").json["roles"]
        assert [f["role"] for f in figures] == ["ux", "task"]
        assert all(f["reload_ms"] > 1500 for f in figures)

    def test_models_that_still_load_are_not_measured(self, tale: Tale, daemon: FakeDaemon) -> None:
        daemon.pool["models"][1] = model("task", state="loading")
        done = tale("bench")
        assert done.code == 1
        assert "tiny-task" in done.err


class TestDaemonCommands:
    def test_serve_detached_finds_the_daemon_that_runs(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        assert "runs already and serves at http://127.0.0.1:" in tale("serve", "--detach").out

    def test_stop_without_a_daemon_is_no_failure(self, tale: Tale) -> None:
        done = tale("stop")
        assert (done.code, done.out) == (0, "tale is not running.\n")
        assert tale("stop", "--json").json == {"stopped": False, "pid": None}

    def test_a_service_is_scaled(self, tale: Tale, daemon: FakeDaemon) -> None:
        assert tale("scale", "execution", "4").out == "4 execution servers are ready.\n"
        asked = [(c["service"], c["count"]) for c in daemon.controls if c["op"] == "scale"]
        assert asked == [("execution", 4)]
        assert tale("scale", "execution", "1", "--json").json == {
            "service": "execution",
            "count": 1,
        }
        assert tale("scale", "execution", "many").code == 2

    def test_reload_says_what_it_changed(self, tale: Tale, daemon: FakeDaemon) -> None:
        assert tale("reload").out == "Nothing has changed.\n"
        daemon.changes = {"started": ["execution-2"], "stopped": [], "restarted": ["ux", "gateway"]}
        assert tale("reload").out == "Started execution-2; restarted ux, gateway.\n"
        assert tale("reload", "--json").json == daemon.changes

    def test_restart_of_one_server_waits_for_it(self, tale: Tale, daemon: FakeDaemon) -> None:
        assert tale("restart", "ux").out == "ux serves again.\n"
        assert [c["server"] for c in daemon.controls if c["op"] == "restart"] == ["ux"]
        assert tale("restart", "--json").json == {"restarted": "all"}

    def test_restart_of_an_unknown_server_is_refused(self, tale: Tale, daemon: FakeDaemon) -> None:
        done = tale("restart", "nobody")
        assert done.code == 1
        assert "no server 'nobody'" in done.err

    def test_restart_of_one_server_needs_a_daemon(self, tale: Tale) -> None:
        assert tale("restart", "ux").code == 3


class TestConfig:
    def test_show_is_toml_that_reads_back_the_same(self, tale: Tale, home: Path) -> None:
        home.mkdir()
        (home / "tale.toml").write_text(
            '[gateway]\nport = 9999\n[models.ux]\nname = "a\\"b"\n[routing.forbid]\n"*" = ["b"]\n'
        )
        out = tale("config", "show").out
        assert "port = 9999  # tale.toml, line 2; default: 7433" in out
        shown = tomllib.loads(out)
        assert shown["models"]["ux"]["name"] == 'a"b'
        assert shown["routing"]["forbid"] == {"*": ["b"]}
        as_json = tale("config", "show", "--json").json
        assert as_json["gateway"] == {"port": 9999}

    def test_a_malformed_file_is_named_with_its_line(self, tale: Tale, home: Path) -> None:
        home.mkdir()
        (home / "tale.toml").write_text("[gateway]\nprot = 1\n")
        done = tale("config", "show")
        assert done.code == 2
        assert f"{home / 'tale.toml'}, line 2: unknown key 'gateway.prot'" in done.err

    def test_paths_are_listed_or_given_one_by_one(self, tale: Tale, home: Path) -> None:
        assert f"logs        {home}/logs  (not there yet)\n" in tale("config", "path").out
        assert tale("config", "path", "logs").out == f"{home}/logs\n"
        assert tale("config", "path", "--json").json["data"] == str(home)
        assert tale("config", "path", "nowhere").code == 2
