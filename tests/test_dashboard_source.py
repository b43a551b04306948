"""Where the dashboard's facts come from, over whatever breaks, and what it asks of others."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dashboard_world import NOW, busy, overview, running
from fake_daemon import FakeDaemon, Json, Say, ToolError, server, task
from tale.cli.record import Record
from tale.cli.views import Task
from tale.dashboard.actions import DaemonActions
from tale.dashboard.ground import light_from_answer, light_from_environment
from tale.dashboard.logs import LogFiles
from tale.dashboard.source import Away, DaemonSource, Live, Stopped, Update
from tale.errors import TaleError
from tale.wire.overview_change import change_between


@contextmanager
def listening(fake: FakeDaemon) -> Generator[Iterator[Update]]:
    stop = threading.Event()
    with closing(DaemonSource(fake.paths, look_seconds=0.01).updates(stop)) as updates:
        yield updates
        stop.set()


class TestSource:
    def test_changes_are_put_into_the_overview_before(self, tmp_path: Path) -> None:
        fake = FakeDaemon(tmp_path)
        later = overview(tasks=(running(),), at=NOW)
        fake.frames = [
            ("overview", overview().model_dump_json()),
            ("task", '{"kind": "queued"}'),
            ("changed", change_between(overview(), later).model_dump_json()),
        ]
        with fake.running(), listening(fake) as updates:
            assert next(updates) == Live(overview())
            assert next(updates) == Live(later)

    def test_a_stream_that_breaks_off_is_taken_up_again_with_a_whole_overview(
        self, tmp_path: Path
    ) -> None:
        fake = FakeDaemon(tmp_path)
        fake.frames = [("overview", busy().model_dump_json())]
        with fake.running(), listening(fake) as updates:
            assert [type(next(updates)) for _ in range(5)] == [Live, Away, Live, Away, Live]

    def test_a_gateway_that_is_not_ready_is_not_asked_and_the_supervisor_is(
        self, tmp_path: Path
    ) -> None:
        fake = FakeDaemon(tmp_path)
        fake.servers = [server("models"), server("gateway", state="backoff", pid=0, restarts=3)]
        fake.frames = [("overview", busy().model_dump_json())]
        with fake.running(), listening(fake) as updates:
            away = next(updates)
            assert isinstance(away, Away)
            assert [(one.name, one.state, one.restarts) for one in away.servers] == [
                ("models", "ready", 0),
                ("gateway", "backoff", 3),
            ]
            assert away.servers[1].rss is not None
            fake.servers = [server("models"), server("gateway")]
            while isinstance(found := next(updates), Away):
                pass
            assert found == Live(busy())

    def test_a_daemon_that_is_gone_and_back_is_found_again(self, tmp_path: Path) -> None:
        fake = FakeDaemon(tmp_path)
        fake.frames = [("overview", busy().model_dump_json())]
        fake.hold.clear()
        with listening(fake) as updates:
            assert next(updates) == Stopped()
            with fake.running():
                assert next(updates) == Live(busy())
            while not isinstance(next(updates), Stopped):
                pass
            fake.hold.clear()
            with fake.running():
                assert next(updates) == Live(busy())

    def test_a_daemon_of_another_version_is_not_understood_and_that_is_said(
        self, tmp_path: Path
    ) -> None:
        fake = FakeDaemon(tmp_path)
        fake.version = "0.0.0"
        with fake.running(), listening(fake) as updates:
            away = next(updates)
        assert isinstance(away, Away)
        assert "The running daemon is tale 0.0.0" in away.why

    def test_what_can_not_be_read_is_said(self, tmp_path: Path) -> None:
        fake = FakeDaemon(tmp_path)
        fake.frames = [("overview", '{"at": "soon"}')]
        with fake.running(), listening(fake) as updates:
            away = next(updates)
        assert isinstance(away, Away)
        assert "can't be read" in away.why


class TestActions:
    @pytest.fixture
    def fake(self, tmp_path: Path) -> Iterator[FakeDaemon]:
        with FakeDaemon(tmp_path).running() as fake:
            yield fake

    def test_a_word_names_the_question_that_was_seen(self, fake: FakeDaemon) -> None:
        asked = Task.read(Record(task(digest="d1", asked="q1", plan="- a", state="waiting")))
        actions = DaemonActions(fake.paths)
        assert actions.approve(asked, "") == "Approved; it goes on."
        assert actions.reject(asked, "no") == "Rejected; it looks for another way."
        words = {"id": "t1", "digest": "d1", "asked": "q1"}
        assert fake.calls == [
            ("approve", {**words, "text": ""}),
            ("reject", {**words, "text": "no"}),
        ]

    def test_what_was_done_is_said(self, fake: FakeDaemon) -> None:
        actions = DaemonActions(fake.paths)
        assert actions.pause("t1") == "It rests until you resume it."
        assert actions.resume("t1") == "It goes on."
        assert actions.cancel("t1") == "It is cancelled."
        assert actions.restart("gateway") == "gateway serves again."
        assert fake.controls[-1]["server"] == "gateway"

    def test_a_task_that_had_ended_meanwhile_is_no_success(self, fake: FakeDaemon) -> None:
        fake.tools["pause"] = lambda arguments, say: task(arguments["id"], state="done")
        assert DaemonActions(fake.paths).pause("t1") == "It had ended already: done."

    def test_a_task_that_runs_is_paused_before_its_files_are_restored(
        self, fake: FakeDaemon
    ) -> None:
        def restore(arguments: Json, say: Say) -> Json:
            del say
            kept = [{"path": "big.bin", "why": "too large"}]
            reply = {"written": 2, "removed": 1, "saved": 7, "kept": kept, "anew": True}
            return {"task": task(arguments["id"], state="paused"), **reply}

        fake.tools["restore"] = restore
        said = DaemonActions(fake.paths).restore("t1", 3, pause=True)
        assert [name for name, _ in fake.calls] == ["pause", "restore"]
        assert said == (
            "Its files are those of checkpoint 3: 2 files written, 1 file removed. "
            "What they were before is checkpoint 7. Left as they are: big.bin. "
            "It begins anew with them once you resume it."
        )

    def test_checkpoints_are_read_as_the_gateway_tells_them(self, fake: FakeDaemon) -> None:
        one = {"number": 1, "at": NOW.isoformat(), "why": "begun", "files": 2, "size": 10}
        fake.tools["checkpoints"] = lambda arguments, say: {"checkpoints": [one]}
        [found] = DaemonActions(fake.paths).checkpoints("t1")
        assert (found.number, found.at, found.why, found.pinned) == (1, NOW, "begun", False)

    def test_an_error_of_a_tool_is_raised(self, fake: FakeDaemon) -> None:
        def refuse(arguments: Json, say: Say) -> Json:
            raise ToolError("task_not_found", "No task 't9'.", "tale tasks")

        fake.tools["show"] = refuse
        with pytest.raises(TaleError, match="No task 't9'"):
            DaemonActions(fake.paths).show("t9")


class TestLogs:
    def test_lines_of_all_servers_stand_in_the_order_of_their_stamps(self, tmp_path: Path) -> None:
        paths = FakeDaemon(tmp_path).paths
        paths.logs.mkdir()
        logs = LogFiles(paths)
        assert logs.latest() == ()
        paths.log_of("gateway").write_text(
            "2026-01-31T12:00:02Z INFO b\n2026-01-31T12:00:04Z INFO d\n  traceback\n"
        )
        paths.log_of("ux").write_text("2026-01-31T12:00:01Z INFO a\n2026-01-31T12:00:03Z INFO c\n")
        said = [entry.text.split()[-1] for entry in logs.latest()]
        assert said == ["a", "b", "c", "d", "traceback"]

    def test_where_nothing_came_it_is_the_same_tuple(self, tmp_path: Path) -> None:
        paths = FakeDaemon(tmp_path).paths
        paths.logs.mkdir()
        paths.log_of("gateway").write_text("2026-01-31T12:00:02Z INFO b\n")
        logs = LogFiles(paths)
        assert logs.latest() is logs.latest()


class TestGround:
    @pytest.mark.parametrize(
        ("answer", "light"),
        [
            (b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?65;1c", True),
            (b"\x1b]11;rgb:1e1e/1e1e/2e2e\x07\x1b[?1;2c", False),
            (b"\x1b]11;rgba:fd/f6/e3/ff\x1b\\", True),
            (b"\x1b[?1;2c", None),
            (b"", None),
        ],
    )
    def test_a_terminal_says_what_its_ground_is(self, answer: bytes, light: bool | None) -> None:
        assert light_from_answer(answer) is light

    def test_the_environment_is_asked_where_it_does_not(self) -> None:
        assert light_from_environment({"COLORFGBG": "0;15"})
        assert not light_from_environment({"COLORFGBG": "15;0"})
        assert not light_from_environment({})
