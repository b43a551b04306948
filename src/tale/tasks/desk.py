"""A step's files: what it has written, and whether somebody else has changed them since.

The user may edit the workspace while a step works. What they changed is kept: a file that is no
longer as the step left it is not written over, and the model is told how it is now. Above:
`tasks.agent`. Below: hands, which write and read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tale.prompts import EDITED
from tale.tasks.edits import Done, Edited, NotOne, edit
from tale.tasks.fences import NamedFile
from tale.tasks.hands import EditFile, Hands, Outcome, ReadFile, WriteFile
from tale.tasks.workspace import Workspace

__all__ = ["Desk", "transcript_path"]


_COMPARED: Final = 32_000
"""Characters up to which a file is surely read whole."""


@dataclass(frozen=True, slots=True)
class _Changed:
    """What a file says that somebody else has changed."""

    text: str


class Desk:
    """The files of one step."""

    def __init__(self, hands: Hands, workspace: Workspace) -> None:
        """Make an empty one.

        Args:
            hands: Who writes and reads.
            workspace: Tells which paths are of the same file.
        """
        self._hands = hands
        self._workspace = workspace
        self._as_left: dict[str, str] = {}
        """What each file says as far as the step knows, by path."""
        self._paths: dict[str, None] = {}
        self._edited: set[str] = set()
        """Files that the user has changed while the step had them."""

    @property
    def files(self) -> Mapping[str, str]:
        """The files it knows, with their content."""
        return dict(self._as_left)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files it wrote, the last one last."""
        return tuple(self._paths)

    async def write(self, files: Sequence[NamedFile]) -> tuple[str, ...]:
        """Write the files that may be; gives what the model must be told of the others."""
        faults: list[str] = []
        for file in files:
            outcome = await self.put(file)
            if not outcome.ok:
                faults.append(outcome.text)
        return tuple(faults)

    async def put(self, file: NamedFile) -> Outcome:
        """Write a file, unless it says so already or the user has changed it."""
        if self._as_left.get(self._workspace.called(file.path)) == file.content:
            return Outcome(True, f"{file.path} says so already.")
        if changed := await self._changed(file.path):
            return Outcome(False, EDITED.format(path=file.path, text=changed.text.strip("\n")))
        return await self.act(WriteFile(file.path, file.content))

    async def restore(self, files: Mapping[str, str]) -> None:
        """Put files back as they were, but for those that the user has changed meanwhile."""
        await self.write(
            [NamedFile(*file) for file in files.items() if file[0] not in self._edited]
        )

    async def act(self, action: WriteFile | EditFile) -> Outcome:
        """Write or edit a file, and note what the user should know of it."""
        outcome = await self._hands.act(action)
        if not outcome.ok:
            if isinstance(action, WriteFile):
                await self._hands.note(outcome.text)
            return outcome
        path = outcome.files[0].path if outcome.files else self._workspace.called(action.path)
        if isinstance(action, EditFile):
            match edit(self._as_left.get(path, ""), action.old, action.new):
                case Edited(text):
                    self._as_left[path] = text
                case Done():
                    pass
                case NotOne():
                    self._as_left.pop(path, None)
        else:
            new = path not in self._paths and path not in self._as_left
            if new and any(each.replaced for each in outcome.files):
                await self._hands.note(f"{path} was there already; it was replaced.")
            self._as_left[path] = action.content
        self._paths.pop(path, None)
        self._paths[path] = None
        return outcome

    def saw(self, path: str, text: str) -> None:
        """Take note of what a file says that the model has been shown."""
        self._as_left[self._workspace.called(path)] = text

    async def _changed(self, path: str) -> _Changed | None:
        """Look whether a file that the step knows was changed by somebody else."""
        path = self._workspace.called(path)
        if (known := self._as_left.get(path)) is None:
            return None
        outcome = await self._hands.act(ReadFile(path))
        # What is cut for its length, or gone, is no reason to keep the step from its work.
        cut = outcome.note or len(known) > _COMPARED
        if not outcome.ok or cut or outcome.text.strip() == known.strip():
            return None
        await self._hands.note(f"{path} was changed meanwhile; it is kept as it is now.")
        self._as_left[path] = outcome.text
        self._edited.add(path)
        return _Changed(outcome.text)


def transcript_path(task: str) -> str:
    """Give the place, in the workspace, of the transcript of a step that failed."""
    return f".tale/{task}.md"
