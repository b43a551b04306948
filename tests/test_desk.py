"""What a step believes of its files, held against a folder in which they are really changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tale.tasks.desk import Desk
from tale.tasks.fences import NamedFile
from tale.tasks.hands import Action, EditFile, Outcome, Question, Reply
from tale.tasks.sandbox_bare import Bare
from tale.tasks.tools import Tooling, perform
from tale.tasks.workspace import Workspace

pytestmark = pytest.mark.anyio


class FolderHands:
    """Hands that act in a folder."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(folder)
        self.notes: list[str] = []

    async def ask(self, question: Question) -> Reply:
        raise NotImplementedError

    async def act(self, action: Action) -> Outcome:
        return await perform(action, self.workspace, Tooling(Bare()))

    async def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def hands(tmp_path: Path) -> FolderHands:
    return FolderHands(tmp_path)


async def test_an_edit_that_shows_already_is_not_believed_to_be_made_again(
    hands: FolderHands,
) -> None:
    desk, file = Desk(hands, hands.workspace), hands.workspace.root / "a.py"
    await desk.write([NamedFile("a.py", "x = 1\nz = 3\n")])
    for _ in range(2):
        assert (await desk.act(EditFile("a.py", "x = 1", "x = 1\ny = 2"))).ok
    assert desk.files == {"a.py": file.read_text()} == {"a.py": "x = 1\ny = 2\nz = 3\n"}
    assert await desk.write([NamedFile("a.py", "x = 5\n")]) == ()
    assert file.read_text() == "x = 5\n"
    assert hands.notes == []


@pytest.mark.parametrize("path", ["./a.py", "{root}/a.py"])
async def test_a_file_is_the_same_whatever_a_model_calls_it(hands: FolderHands, path: str) -> None:
    desk, file = Desk(hands, hands.workspace), hands.workspace.root / "a.py"
    called = path.format(root=hands.workspace.root)
    file.write_text("x = 1\n")
    desk.saw(called, "x = 1\n")
    for number in (2, 3):
        assert await desk.write([NamedFile(called, f"x = {number}\n")]) == ()
        assert desk.files == {"a.py": file.read_text()} == {"a.py": f"x = {number}\n"}
    file.write_text("x = 'the user wrote this'\n")
    [told] = await desk.write([NamedFile(called, "x = 4\n")])
    assert "the user wrote this" in told
    assert "the user wrote this" in file.read_text()
