"""Hands from a script: the twin of those that record, for tests of what the agent decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tale.tasks.hands import (
    Action,
    EditFile,
    FileChange,
    ListFiles,
    Outcome,
    Question,
    ReadFile,
    Reply,
    WriteFile,
)
from tale.tasks.task import TokensSpent

__all__ = ["ScriptedHands"]

Runs = Callable[[Action, Mapping[str, str]], Outcome]


def _all_well(action: Action, files: Mapping[str, str]) -> Outcome:
    del action, files
    return Outcome(ok=True, text="", exit=0)


class ScriptedHands:
    """Replies from a list, files in memory, and a function that stands in for the sandbox.

    Attributes:
        files: The workspace.
        asked: The questions so far.
        acted: The actions so far.
        notes: What the user was told.
    """

    def __init__(
        self,
        *replies: str | Reply,
        files: Mapping[str, str] | None = None,
        runs: Runs | None = None,
        endless: bool = False,
    ) -> None:
        """Make some.

        Args:
            replies: What the model says, in order.
            files: What is in the workspace before.
            runs: What comes of commands and Python; they exit with 0 where nobody says.
            endless: The last reply is given for ever.
        """
        self._replies: list[str | Reply] = list(replies)
        self._runs = runs or _all_well
        self._endless = endless
        self.files = dict(files or {})
        self.asked: list[Question] = []
        self.acted: list[Action] = []
        self.notes: list[str] = []
        self.before_ask: Callable[[int], None] = lambda number: None

    async def ask(self, question: Question) -> Reply:
        """Give the next reply; 100 tokens of prompt and 10 of answer each."""
        self.before_ask(len(self.asked))
        self.asked.append(question)
        last = self._endless and len(self._replies) == 1
        said = self._replies[0] if last else self._replies.pop(0)
        reply = Reply(said, "scripted", "task") if isinstance(said, str) else said
        return replace(reply, usage=TokensSpent(100, 10, 50))

    async def act(self, action: Action) -> Outcome:
        """Do it in memory."""
        self.acted.append(action)
        match action:
            case WriteFile(path, content) if ".." not in path:
                change = FileChange(path, len(content), replaced=path in self.files)
                self.files[path] = content
                outcome = Outcome(ok=True, text=f"{path} is written.", files=(change,))
            case EditFile(path, old, new) if self.files.get(path, "").count(old) == 1:
                self.files[path] = self.files[path].replace(old, new)
                outcome = Outcome(ok=True, text="", files=(FileChange(path, 1, replaced=True),))
            case ReadFile(path) if path in self.files:
                outcome = Outcome(ok=True, text=self.files[path])
            case ListFiles():
                outcome = Outcome(ok=True, text="\n".join(sorted(self.files)))
            case WriteFile(path) | EditFile(path) | ReadFile(path):
                outcome = Outcome(ok=False, text=f"{path} can't be had.")
            case _:
                outcome = self._runs(action, self.files)
        return outcome

    async def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)

    def of(self, kind: type[Action]) -> Sequence[Action]:
        """Give the actions of one kind."""
        return [action for action in self.acted if isinstance(action, kind)]
