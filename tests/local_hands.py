"""Hands of one process: they ask models and write into the workspace, record and run nothing."""

from __future__ import annotations

from pathlib import Path

from anyio import to_thread

from tale.models.caller import ModelCaller
from tale.tasks.agent import work
from tale.tasks.asking import ask
from tale.tasks.hands import (
    Action,
    FileChange,
    ListFiles,
    Outcome,
    Question,
    ReadFile,
    Reply,
    WriteFile,
)
from tale.tasks.task import Began, FileWritten, Noted, Report, Step, StepResult
from tale.tasks.workspace import Refused, Workspace

__all__ = ["LocalHands", "run_step"]


async def run_step(step: Step, models: ModelCaller, report: Report) -> StepResult:
    """Do a step.

    Args:
        step: What to do, and where.
        models: Whom to ask.
        report: Hears that it began, then tokens, files and notes as they come.

    Raises:
        TaleError: The model could not answer, or the workspace can't be written.
    """
    await report(Began())
    return await work(step, LocalHands(step, models, report))


class LocalHands:
    """Hands of one step, without a record."""

    def __init__(self, step: Step, models: ModelCaller, report: Report) -> None:
        self._step = step
        self._models = models
        self._report = report
        self._workspace = Workspace(Path(step.workspace))

    async def ask(self, question: Question) -> Reply:
        """Ask the models server."""
        return await ask(self._step, question, self._models, self._report)

    async def act(self, action: Action) -> Outcome:
        """Write, read or list files; everything else is refused."""
        match action:
            case WriteFile(path, content):
                return await self._write(path, content)
            case ReadFile(path):
                return await to_thread.run_sync(self._read, path)
            case ListFiles("."):
                return Outcome(ok=True, text=await to_thread.run_sync(self._list))
            case _:
                return Outcome(ok=False, text="Commands are not run here.")

    async def note(self, text: str) -> None:
        """Tell the user."""
        await self._report(Noted(text))

    async def _write(self, path: str, content: str) -> Outcome:
        done = await to_thread.run_sync(self._workspace.write, path, content)
        if isinstance(done, Refused):
            return Outcome(ok=False, text=f"{done.path} was not written: {done.why}.")
        await self._report(FileWritten(done.path, done.bytes))
        change = FileChange(done.path, done.bytes, done.replaced)
        return Outcome(ok=True, text=f"{done.path} is written.", files=(change,))

    def _read(self, path: str) -> Outcome:
        root = self._workspace.root.resolve()
        file = (root / path).resolve()
        if not file.is_relative_to(root):
            return Outcome(ok=False, text=f"{path} is outside of the workspace.")
        try:
            return Outcome(ok=True, text=file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            return Outcome(ok=False, text=f"{path} can't be read: {error}.")

    def _list(self) -> str:
        root = self._workspace.root
        names = sorted(file.name for file in root.iterdir()) if root.is_dir() else []
        return "\n".join(name for name in names if not name.startswith("."))
