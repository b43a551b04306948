"""The last part of a plan looks at what the parts have made together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from scripted_hands import ScriptedHands
from tale.tasks.hands import Action, ListFiles, Outcome, ReadFile, RunCommand, RunPython
from tale.tasks.sandbox_bare import Bare
from tale.tasks.task import Step, Subtask
from tale.tasks.tools import Tooling, perform
from tale.tasks.whole import check_whole
from tale.tasks.workspace import Workspace

pytestmark = pytest.mark.anyio

REQUEST = "Build a shop"
PLAN = (
    Subtask("a", "Model", "…", (), "done", "Made.", ("a.py",), check="python -m pytest -q"),
    Subtask("b", "Texts", "…", (), "done", "Made.", ("b.md",), writes=("b.md",), check="test -s b"),
    Subtask("c", "Dropped", "…", (), "cancelled", writes=("c.md",), check="false"),
    Subtask("+whole", "Check the whole", "…", ("a", "b"), "running"),
)
FILES = {"a.py": "x = 1\n", "b.md": "Hello\n"}


def step() -> Step:
    return Step("t-1", "…", "/w", "task", "work", subtask="+whole")


async def test_all_checks_are_run_again_and_the_user_is_told() -> None:
    hands = ScriptedHands("A shop: run `python a.py`.\n", files=FILES)
    result = await check_whole(step(), hands, REQUEST, PLAN)
    run = [each.line for each in hands.acted if isinstance(each, RunCommand)]
    assert run == ["python -m pytest -q", "test -s b"]
    assert any(isinstance(each, RunPython) for each in hands.acted), "the code is loaded together"
    assert all(each.repeatable for each in hands.acted if isinstance(each, RunCommand | RunPython))
    assert (result.holds, result.answer, result.faults) == (True, "A shop: run `python a.py`.", ())
    assert "`test -s b` passed" in result.check


async def test_the_examples_of_the_request_are_tried_on_the_whole() -> None:
    hands = ScriptedHands("Made.", files={"a.py": "def f(x):\n    return 2 * x\n"})
    await check_whole(step(), hands, "Build a library, where f(2) == 4", PLAN[:1])
    [tried] = [each for each in hands.acted if isinstance(each, RunPython)]
    assert "f(2)" in tried.code


async def test_what_a_later_part_broke_is_found_and_told_to_the_model() -> None:
    def runs(action: Action, files: Mapping[str, str]) -> Outcome:
        del files
        broken = isinstance(action, RunCommand) and "pytest" in action.line
        return Outcome(ok=not broken, text="assert 1 == 2" if broken else "", exit=int(broken))

    hands = ScriptedHands("It is there, but a test fails.", files=FILES, runs=runs)
    result = await check_whole(step(), hands, REQUEST, PLAN)
    assert result.holds is False
    assert result.check == "`python -m pytest -q` failed"
    [fault] = result.faults
    assert "assert 1 == 2" in fault
    assert "`python -m pytest -q` failed" in hands.asked[0].messages[-1].content


async def test_a_file_that_was_promised_must_be_there() -> None:
    hands = ScriptedHands("Made.", files={"a.py": FILES["a.py"]})
    plan = (PLAN[0], *(Subtask("b", "Texts", "…", state="done", writes=("b.md", "a.py")),))
    result = await check_whole(step(), hands, REQUEST, plan)
    assert result.holds is False
    assert result.check.startswith("b.md is missing")
    assert result.faults == ("b.md was to be written, and is not there.",)


class RealFiles(ScriptedHands):
    """Hands that read and list a real workspace."""

    def __init__(self, workspace: Path, *replies: str) -> None:
        super().__init__(*replies)
        self._workspace = Workspace(workspace)

    async def act(self, action: Action) -> Outcome:
        if isinstance(action, ReadFile | ListFiles):
            self.acted.append(action)
            return await perform(action, self._workspace, Tooling(Bare()))
        return await super().act(action)


@pytest.mark.parametrize("path", ["chart.png", "out/my chart.png"])
async def test_a_promised_file_that_is_no_text_is_there(tmp_path: Path, path: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    plan = (Subtask("a", "Chart", "…", state="done", writes=(path,), check="true"),)
    result = await check_whole(step(), RealFiles(tmp_path, "Made."), "Draw a chart", plan)
    assert (result.holds, result.faults) == (True, ())
    file.rename(file.with_name("x" + file.name))
    (file.parent / f"{file.name}s").mkdir()
    result = await check_whole(step(), RealFiles(tmp_path, "Made."), "Draw a chart", plan)
    assert result.faults == (f"{path} was to be written, and is not there.",)


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (Outcome(ok=False, text="no sandbox"), "nothing could be run"),
        (Outcome(ok=False, text="no", forbidden=True), "you did not allow it"),
    ],
)
async def test_where_nothing_may_run_it_says_why(outcome: Outcome, why: str) -> None:
    hands = ScriptedHands("Made.", files=FILES, runs=lambda _, __: outcome)
    result = await check_whole(step(), hands, REQUEST, PLAN)
    assert (result.holds, result.check) == (None, why)


async def test_a_first_check_that_is_stopped_fails_and_the_others_are_run() -> None:
    def runs(action: Action, files: Mapping[str, str]) -> Outcome:
        del files
        if isinstance(action, RunCommand) and action.line == "grep -q x a.md":
            return Outcome(ok=False, text="It was stopped: it took more than 60 s.")
        return Outcome(ok=True, text="", exit=0)

    plan = (
        Subtask("a", "A", "…", state="done", files=("a.md",), check="grep -q x a.md"),
        Subtask("b", "B", "…", state="done", files=("b.md",), check="grep -q y b.md"),
    )
    hands = ScriptedHands("Made.", files={"a.md": "x", "b.md": "y"}, runs=runs)
    result = await check_whole(step(), hands, REQUEST, plan)
    assert (result.holds, result.check) == (False, "`grep -q x a.md` failed")
    assert "it took more than 60 s" in result.faults[0]
    assert hands.of(RunCommand)[-1] == RunCommand(
        "grep -q y b.md", repeatable=True, about="checks: B"
    )


async def test_texts_alone_are_not_checked() -> None:
    plan = (Subtask("b", "Texts", "…", state="done", files=("b.md",)),)
    result = await check_whole(step(), ScriptedHands("Made.", files=FILES), REQUEST, plan)
    assert (result.holds, result.check) == (None, "there is nothing in it to run")
