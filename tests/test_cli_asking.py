"""What a followed task asks is asked at the terminal, and answered there or left waiting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_daemon import FakeDaemon, Json, ToolError, event, task
from tale.cli.asking import read_verdict
from tale.tasks.plan_digest import digest_of
from tale.tasks.plan_text import read_plan_text, write_plan_text
from tale.tasks.task import Subtask
from terminal import Terminal
from test_cli import Tale, daemon, home, tale

__all__ = ["daemon", "home", "tale"]

PLAN = write_plan_text([Subtask("a", "Model", "Write a.py"), Subtask("b", "Pages", "…", ("a",))])
ASKED = {"id": "q1", "text": "May it work on this plan?", "action": "ApprovePlan"}
SEEN = {"digest": digest_of(PLAN), "asked": "q1"}
QUESTION = "leave it waiting? [a/r/e/L] "


def asks(daemon: FakeDaemon, **asked: Any) -> None:
    """Have the task wait for its user's word, until it is there."""
    about = {**ASKED, "detail": PLAN, "digest": SEEN["digest"], **asked}
    daemon.events["t1"] = [
        event(1, "queued"),
        event(2, "started", role="task"),
        event(3, "approval", **about),
        event(4, "done", answer="Hello there."),
    ]
    plan = about["detail"] if about["digest"] else ""
    waits = task(state="waiting", plan=plan, digest=about["digest"], asked="q1")
    daemon.tools["show"] = lambda arguments, say: waits
    daemon.hold.clear()

    def take(arguments: Json, say: Any) -> Json:
        goes_on(daemon)
        return task(state="queued")

    daemon.tools["approve"] = daemon.tools["reject"] = take


def goes_on(daemon: FakeDaemon) -> None:
    daemon.tools["show"] = lambda arguments, say: task()
    daemon.hold.set()


@pytest.mark.parametrize("command", [("submit", "x"), ("watch", "t1")])
def test_a_plan_is_shown_with_what_it_takes_and_approved(
    daemon: FakeDaemon, home: Path, command: tuple[str, str]
) -> None:
    asks(daemon)
    with Terminal(home, *command) as terminal:
        shown = terminal.until(QUESTION)
        terminal.type("a\r")
        assert terminal.end() == 0
    assert "task t1 asks: May it work on this plan?" in shown
    assert "a  Model" in shown
    assert "b  Pages (after a)" in shown
    assert " s\r\n" in shown.partition("a  Model")[2]  # how long a part takes
    assert "tale approve" not in shown
    assert daemon.calls_of("approve") == [{"id": "t1", "text": "", **SEEN}]
    assert "Hello there." in terminal.text
    assert [after for _, after in daemon.event_queries] == [0, 3]


@pytest.mark.parametrize("answer", ["\r", "l\r", "Leave\r", "\x03", "\x04"])
def test_it_is_left_waiting_unless_something_else_is_said(
    daemon: FakeDaemon, home: Path, answer: str
) -> None:
    asks(daemon)
    with Terminal(home, "submit", "x") as terminal:
        terminal.until(QUESTION)
        terminal.type(answer)
        terminal.until("It waits on. `tale approve t1`, `tale edit t1`, or `tale reject t1")
        goes_on(daemon)
        assert terminal.end() == 0
    assert {name for name, _ in daemon.calls} == {"submit", "show"}
    assert "Hello there." in terminal.text


def test_a_plan_is_rejected_with_a_reason_only(daemon: FakeDaemon, home: Path) -> None:
    asks(daemon)
    with Terminal(home, "submit", "x") as terminal:
        terminal.until(QUESTION)
        terminal.type("no\r")
        terminal.until("Enter goes back: ")
        terminal.type("\r")
        terminal.until(QUESTION, after="goes back: ")
        terminal.type("r\r")
        terminal.until("Enter goes back: ", after=QUESTION)
        terminal.type("Too big\r")
        assert terminal.end() == 0
    assert daemon.calls_of("reject") == [{"id": "t1", "text": "Too big", **SEEN}]
    assert daemon.calls_of("approve") == []


def test_a_plan_is_edited(daemon: FakeDaemon, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asks(daemon)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "sed -i s/Pages/Views/")
    with Terminal(home, "submit", "x") as terminal:
        terminal.until(QUESTION)
        terminal.type("e\r")
        assert terminal.end() == 0
    [told] = daemon.calls_of("approve")
    assert [one.title for one in read_plan_text(told["text"])] == ["Model", "Views"]
    assert {key: told[key] for key in SEEN} == SEEN


def test_who_changes_nothing_in_the_editor_is_asked_again(
    daemon: FakeDaemon, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks(daemon)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "true")
    with Terminal(home, "submit", "x") as terminal:
        terminal.until(QUESTION)
        terminal.type("edit\r")
        terminal.until("Nothing was changed.")
        terminal.until(QUESTION, after="Nothing was changed.")
        terminal.type("y\r")
        assert terminal.end() == 0
    assert daemon.calls_of("approve") == [{"id": "t1", "text": "", **SEEN}]


def test_another_who_was_quicker_is_told_and_following_goes_on(
    daemon: FakeDaemon, home: Path
) -> None:
    asks(daemon)

    def late(arguments: Json, say: Any) -> Json:
        goes_on(daemon)
        raise ToolError("task", "What you saw has been answered already.", "`tale show ID`")

    daemon.tools["approve"] = late
    with Terminal(home, "submit", "x") as terminal:
        terminal.until(QUESTION)
        terminal.type("a\r")
        assert terminal.end() == 0
    assert "What you saw has been answered already." in terminal.text
    assert "Hello there." in terminal.text


def test_a_question_that_is_answered_elsewhere_is_taken_back(
    daemon: FakeDaemon, home: Path
) -> None:
    asks(daemon)
    with Terminal(home, "submit", "x") as terminal:
        terminal.until(QUESTION)
        goes_on(daemon)
        assert terminal.end() == 0
    assert "It was answered elsewhere." in terminal.text
    assert daemon.calls_of("approve") == []


def test_what_was_answered_before_is_told_and_not_asked(daemon: FakeDaemon, home: Path) -> None:
    asks(daemon)
    daemon.events["t1"].insert(3, event(4, "approved", id="q1"))
    daemon.events["t1"][-1]["seq"] = 5
    goes_on(daemon)
    with Terminal(home, "watch", "t1") as terminal:
        assert terminal.end() == 0
    assert "waits for your word: May it work on this plan?" in terminal.text
    assert "you said yes" in terminal.text
    assert "[a/r" not in terminal.text


@pytest.mark.parametrize(
    ("typed", "tool", "text"), [(["r\r", "\r"], "reject", ""), (["yes\r"], "approve", "")]
)
def test_what_a_task_may_not_do_by_itself_is_asked_too(
    daemon: FakeDaemon, home: Path, typed: list[str], tool: str, text: str
) -> None:
    asks(daemon, text="May it run 'make'?", action="RunCommand", detail="make all", digest="")
    with Terminal(home, "submit", "x") as terminal:
        terminal.until("make all")
        terminal.until("leave it waiting? [a/r/L] ")
        for line in typed:
            terminal.type(line)
            if line == "r\r":
                terminal.until("It may stay empty: ")
        assert terminal.end() == 0
    assert daemon.calls_of(tool) == [{"id": "t1", "text": text, "asked": "q1"}]


def test_a_question_is_answered_in_words(daemon: FakeDaemon, home: Path) -> None:
    asks(daemon, text="Which port?", action="AskUser", detail="", digest="")
    with Terminal(home, "submit", "x") as terminal:
        terminal.until("Your answer; Enter leaves it waiting: ")
        terminal.type("no, 8080\r")
        assert terminal.end() == 0
    [told] = daemon.calls_of("approve")
    assert told["text"] == "no, 8080"


def test_without_a_terminal_it_is_told_how_to_answer(daemon: FakeDaemon, tale: Tale) -> None:
    asks(daemon)
    goes_on(daemon)
    done = tale("watch", "t1")
    assert "waits for your word: May it work on this plan?" in done.err
    assert "`tale approve t1`, `tale edit t1`" in done.err
    assert "[a/r" not in done.err


@pytest.mark.parametrize(
    ("said", "plan", "verdict"),
    [
        ("", True, "leave"),
        ("\n", False, "leave"),
        ("A", True, "approve"),
        ("yes", True, "approve"),
        ("n", False, "reject"),
        ("rej", True, "reject"),
        ("e", True, "edit"),
        ("e", False, None),
        ("a b", True, None),
        ("approved", True, None),
        ("\x1b[A", True, None),
    ],
)
def test_a_verdict_is_told_by_its_first_letters(said: str, plan: bool, verdict: str | None) -> None:
    assert read_verdict(said, plan=plan) == verdict


@given(st.text(max_size=12), st.booleans())
def test_nothing_but_a_yes_is_one(said: str, plan: bool) -> None:
    word = said.strip().lower()
    agrees = bool(word) and ("approve".startswith(word) or "yes".startswith(word))
    assert (read_verdict(said, plan=plan) == "approve") == agrees
