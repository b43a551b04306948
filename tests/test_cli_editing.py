"""`tale edit`: a plan in the user's editor."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tale.cli import editing
from tale.cli.record import Record
from tale.cli.views import Task
from tale.errors import TaskError
from tale.tasks.plan_digest import digest_of
from tale.tasks.plan_text import read_plan_text, write_plan_text
from tale.tasks.task import Subtask

PLAN = write_plan_text([Subtask("a", "Model", "Write a.py"), Subtask("b", "Pages", "…", ("a",))])
WAITING = {"id": "t-1", "state": "waiting", "plan": PLAN, "digest": digest_of(PLAN)}


class Gateway:
    """Stands in for the connection."""

    def __init__(self, task: Mapping[str, object]) -> None:
        self.task = dict(task)
        self.told: list[Mapping[str, object]] = []
        self.refuses: TaskError | None = None
        self.at_terminal = True

    def call(
        self, service: str, tool: str, arguments: Mapping[str, object], *, idempotent: bool
    ) -> Record:
        assert (service, tool, idempotent) == ("gateway", "approve", False)
        if self.refuses:
            raise self.refuses
        self.told.append(arguments)
        return Record({"id": "t-1", "state": "queued"})


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    made = Gateway(WAITING)

    def show(connection: object, task: str) -> Task:
        return Task.read(Record({**made.task, "id": task}))

    monkeypatch.setattr(editing, "show_task", show)

    def is_terminal(number: int) -> bool:
        return number == 0 and made.at_terminal

    def connect(screen: object) -> Gateway:
        return made

    monkeypatch.setattr(editing.Connection, "open", connect)
    monkeypatch.setattr(os, "isatty", is_terminal)
    return made


def editor(monkeypatch: pytest.MonkeyPatch, *edits: Callable[[str], str | None]) -> list[str]:
    """Have an editor make these edits, one each time it is opened; gives what it was shown."""
    seen: list[str] = []
    todo = list(edits)

    def edit(text: str, extension: str) -> str | None:
        assert extension == ".yaml"
        seen.append(text)
        return todo.pop(0)(text)

    monkeypatch.setattr(editing.click, "edit", edit)
    return seen


def run(*arguments: str) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(editing.app, list(arguments))
    return result.exit_code, result.output, result.exception


def test_an_edited_plan_is_agreed_to_as_it_is(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(monkeypatch, lambda text: text.replace("Pages", "Views"))
    code, said, _ = run("t-1")
    [told] = gateway.told
    assert code == 0
    assert "t-1 goes on" in said
    assert told["digest"] == digest_of(PLAN)
    assert [one.title for one in read_plan_text(str(told["text"]))] == ["Model", "Views"]


@pytest.mark.parametrize("left", [None, PLAN, " \n"])
def test_who_changes_nothing_leaves_the_task_waiting(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, left: str | None
) -> None:
    editor(monkeypatch, lambda text: left)
    code, said, _ = run("t-1")
    assert (code, gateway.told) == (0, [])
    assert "the task waits on" in said


def test_a_faulty_plan_comes_back_with_its_faults_until_it_is_mended(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    circle = PLAN.replace("depends_on: []", "depends_on: [b]")
    seen = editor(
        monkeypatch,
        lambda text: circle,
        lambda text: text.replace("depends_on: [b]", "depends_on: []").replace("Model", "Store"),
    )
    code, _, _ = run("t-1")
    assert code == 0
    assert seen[1].startswith("# ✗ Subtasks wait for each other")
    [told] = gateway.told
    assert "✗" not in str(told["text"])
    assert "Store" in str(told["text"])


def test_the_line_of_a_fault_is_that_of_the_file_in_which_it_is_shown(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = PLAN.replace("title: Pages", "colour: Pages")
    seen = editor(monkeypatch, lambda text: wrong, lambda text: None)
    run("t-1")
    [fault, *lines] = seen[1].splitlines()
    number = next(n for n, line in enumerate([fault, *lines], 1) if "colour: Pages" in line)
    assert f"ine {number}" in fault
    assert gateway.told == []


def test_a_plan_may_come_from_a_file(gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(PLAN.replace("Pages", "Views"))
    assert run("t-1", "--file", str(file))[0] == 0
    assert "Views" in str(gateway.told[0]["text"])
    file.write_text("nonsense: [")
    code, _, error = run("t-1", "--file", str(file))
    assert code != 0
    assert str(file) in str(error)


def test_what_was_written_is_not_lost_where_it_comes_too_late(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.refuses = TaskError("The plan has changed since you saw it.")
    editor(monkeypatch, lambda text: text.replace("Pages", "Views"))
    _, said, error = run("t-1")
    assert error is gateway.refuses
    kept = Path(said.split("What you wrote is in ")[1].split()[0].rstrip("."))
    assert "Views" in kept.read_text()
    kept.unlink()


@pytest.mark.parametrize(
    "task", [{**WAITING, "state": "running"}, {"state": "waiting", "digest": "", "plan": ""}]
)
def test_a_task_that_asks_about_no_plan_has_none_to_edit(
    gateway: Gateway, task: Mapping[str, object]
) -> None:
    gateway.task = dict(task)
    code, _, error = run("t-1")
    assert code != 0
    assert "does not ask about a plan" in str(error)


def test_without_a_terminal_it_says_how_else(gateway: Gateway) -> None:
    gateway.at_terminal = False
    _, _, error = run("t-1")
    assert isinstance(error, TaskError)
    assert "--file" in error.hint
