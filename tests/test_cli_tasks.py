"""The commands that stand by a task: its approval, its permission, its parts and checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_daemon import FakeDaemon, Gone, ToolError, default_events, event, task
from tale.cli.leaving import read_wish
from terminal import Terminal
from test_cli import Tale, daemon, home, tale

__all__ = ["daemon", "home", "tale"]


class TestVerdict:
    def test_approve_sends_the_answer_and_says_how_to_follow(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        done = tale("approve", "t1")
        assert (done.code, done.out) == (0, "t1 goes on.\n")
        assert "`tale watch t1` follows it." in done.err
        assert tale("approve", "t1", "Port", "8080", "--json").json["state"] == "queued"
        assert daemon.calls_of("approve") == [
            {"id": "t1", "text": ""},
            {"id": "t1", "text": "Port 8080"},
        ]

    @pytest.mark.parametrize("command", ["approve", "reject"])
    def test_a_word_is_on_what_is_asked_as_it_stands(
        self, tale: Tale, daemon: FakeDaemon, command: str
    ) -> None:
        asks = {"state": "waiting", "plan": "parts: []", "digest": "d1", "asked": "t1:1:x"}
        daemon.tools["show"] = lambda arguments, say: task(**asks)
        assert tale(command, "t1", "well").code == 0
        [told] = daemon.calls_of(command)
        assert told == {"id": "t1", "text": "well", "digest": "d1", "asked": "t1:1:x"}

    def test_reject_sends_the_reason(self, tale: Tale, daemon: FakeDaemon) -> None:
        done = tale("reject", "t1", "Only the standard library")
        assert (done.code, done.out) == (0, "t1 goes on.\n")
        assert daemon.calls_of("reject") == [{"id": "t1", "text": "Only the standard library"}]
        assert daemon.calls_of("approve") == []

    @pytest.mark.parametrize("command", ["approve", "reject"])
    @pytest.mark.parametrize(
        ("error", "exit_code"),
        [
            (ToolError("task", "Task t1 is done; it asks for nothing.", "`tale show t1`"), 1),
            (ToolError("task_not_found", "There is no task 't1'.", "`tale tasks` lists them."), 2),
        ],
    )
    def test_what_the_gateway_refuses_is_told_with_its_hint(
        self, tale: Tale, daemon: FakeDaemon, command: str, error: ToolError, exit_code: int
    ) -> None:
        def refuse(arguments: dict[str, Any], say: object) -> dict[str, Any]:
            raise error

        daemon.tools[command] = refuse
        done = tale(command, "t1")
        assert (done.code, done.out) == (exit_code, "")
        assert "error: {message}\nhint: {hint}".format(**error.error) in done.err

    def test_a_word_whose_answer_was_lost_is_not_said_twice(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        def drop(arguments: dict[str, Any], say: object) -> dict[str, Any]:
            raise Gone

        daemon.tools["approve"] = drop
        done = tale("approve", "t1")
        assert (done.code, done.out) == (1, "")
        assert len(daemon.calls_of("approve")) == 1

    @pytest.mark.parametrize("command", ["approve", "reject"])
    def test_without_an_id_the_usage_is_explained(self, tale: Tale, command: str) -> None:
        assert tale(command).code == 2


class TestPermission:
    def test_it_goes_with_the_task_and_is_shown(self, tale: Tale, daemon: FakeDaemon) -> None:
        assert tale("submit", "x", "--permission", "ask", "--no-wait").code == 0
        assert daemon.calls_of("submit")[0]["permission"] == "ask"
        daemon.tools["show"] = lambda arguments, say: task(permission="ask")
        assert "may        read; it asks before anything else" in tale("show", "t1").out

    def test_without_it_the_settings_decide(self, tale: Tale, daemon: FakeDaemon) -> None:
        tale("submit", "x", "--no-wait")
        assert "permission" not in daemon.calls_of("submit")[0]
        assert "\nmay " not in tale("show", "t1").out

    def test_another_word_is_a_wrong_usage(self, tale: Tale, daemon: FakeDaemon) -> None:
        done = tale("submit", "x", "--permission", "everything")
        assert done.code == 2
        assert "'ask', 'workspace', 'full'" in done.err
        assert daemon.calls == []


class TestCtrlC:
    """While `tale submit` follows its task, on a real terminal."""

    @pytest.fixture
    def following(self, daemon: FakeDaemon, home: Path) -> Iterator[Terminal]:
        daemon.hold.clear()
        with Terminal(home, "submit", "x") as terminal:
            assert daemon.waiting.wait(30)
            terminal.type("\x03")
            terminal.until("Leave it running, pause it, or cancel it? [L/p/c] ")
            yield terminal

    @pytest.mark.parametrize("answer", ["\r", "l\r", "LEAVE\r", "\x03", "\x04"])
    def test_the_task_is_left_running_unless_something_else_is_said(
        self, daemon: FakeDaemon, following: Terminal, answer: str
    ) -> None:
        following.type(answer)
        assert following.end() == 130
        assert "The task goes on in the background." in following.text
        assert "tale watch t1" in following.text
        assert "tale cancel t1" in following.text
        assert {name for name, _ in daemon.calls} == {"submit"}

    def test_it_can_be_paused(self, daemon: FakeDaemon, following: Terminal) -> None:
        following.type("p\r")
        assert following.end() == 130
        assert "It is paused. `tale resume t1` lets it go on." in following.text
        assert daemon.calls_of("pause") == [{"id": "t1"}]

    def test_it_can_be_cancelled(self, daemon: FakeDaemon, following: Terminal) -> None:
        following.type("cancel\r")
        assert following.end() == 130
        assert "It is cancelled." in following.text
        assert daemon.calls_of("cancel") == [{"id": "t1"}]

    def test_one_that_ended_meanwhile_is_said_to_have_ended(
        self, daemon: FakeDaemon, following: Terminal
    ) -> None:
        daemon.tools["cancel"] = lambda arguments, say: task()
        following.type("c\r")
        assert following.end() == 130
        assert "It had ended: done." in following.text

    def test_what_is_no_answer_is_asked_again(
        self, daemon: FakeDaemon, following: Terminal
    ) -> None:
        following.type("what?\r")
        following.until("cancel it? [L/p/c] ", after="what?")
        following.type("\x03")
        assert following.end() == 130
        assert {name for name, _ in daemon.calls} == {"submit"}


@pytest.mark.parametrize(
    ("said", "wish"),
    [
        ("", "leave"),
        (" \n", "leave"),
        ("L", "leave"),
        ("pa", "pause"),
        ("Cancel\n", "cancel"),
        ("x", None),
        ("canceled", None),
        ("le ave", None),
    ],
)
def test_a_wish_is_told_by_its_first_letters(said: str, wish: str | None) -> None:
    assert read_wish(said) == wish


PARTS = [
    {
        "id": "a",
        "title": "Write it",
        "state": "done",
        "percent": 100,
        "elapsed": 26.4,
        "expected": 30.0,
        "holds": True,
        "check": "2 tests passed",
    },
    {"id": "b", "title": "Test", "state": "running", "percent": 5, "elapsed": 12, "expected": 34},
    {"id": "c", "title": "Tell", "state": "waiting", "percent": 0, "elapsed": 0, "expected": 22},
    {"id": "d", "title": "Sing", "state": "dropped", "percent": 0, "elapsed": 0, "expected": 22},
]


class TestWhatWasDone:
    def test_show_lists_the_parts_with_state_time_and_check(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        shown = task(state="running", progress={"state": "running", "percent": 40, "parts": PARTS})
        daemon.tools["show"] = lambda arguments, say: shown
        lines = tale("show", "t1").out.splitlines()
        at = next(number for number, line in enumerate(lines) if line.startswith("parts"))
        assert [line.rstrip() for line in lines[at : at + 4]] == [
            "parts      Write it  done     26 s                checked: 2 tests passed",
            "           Test      running  12 s of about 34 s",
            "           Tell      waiting  usually 22 s",
            "           Sing      dropped",
        ]

    @pytest.mark.parametrize(
        ("holds", "check", "told"),
        [
            (True, "2 tests passed", "checked: 2 tests passed"),
            (False, "1 of 3 tests failed", "check failed: 1 of 3 tests failed"),
            (None, "nothing could be run", "not checked: nothing could be run"),
        ],
    )
    def test_show_submit_and_watch_say_what_was_checked(
        self, tale: Tale, daemon: FakeDaemon, holds: bool | None, check: str, told: str
    ) -> None:
        daemon.tools["show"] = lambda arguments, say: task(holds=holds, check=check)
        assert f"check      {told}\n" in tale("show", "t1").out
        for command in (("submit", "x"), ("watch", "t1")):
            done = tale(*command)
            assert f"{told}\n" in done.err
            assert "check" not in done.out

    def test_talk_has_no_word_on_checks(self, tale: Tale, daemon: FakeDaemon) -> None:
        assert "check" not in tale("show", "t1").out
        assert "check" not in tale("submit", "x").err

    def test_a_part_that_is_done_says_what_was_checked(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        part = event(3, "subtask", id="a", title="A", state="done", holds=False, check="it failed")
        daemon.events["t1"] = [*default_events()[:-1], part, event(4, "done")]
        assert "A: done, check failed: it failed\n" in tale("watch", "t1").err

    def test_a_task_that_goes_on_is_not_said_to_start_twice(
        self, tale: Tale, daemon: FakeDaemon
    ) -> None:
        again = event(3, "started", role="task", reason="short", again=True)
        daemon.events["t1"] = [*default_events()[:-1], again, event(4, "done")]
        err = tale("watch", "t1").err
        assert err.count("started on the") == 1
        assert "  goes on\n" in err
