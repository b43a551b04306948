"""What the tasks of a conversation ask, and the person's verdicts: `/approve`, `/edit`, `/reject`.

Above: `chat_terminal`. Below: `task_calls`, `editing`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from tale.cli.connection import Connection
from tale.cli.editing import in_editor, send_plan
from tale.cli.render import Screen
from tale.cli.task_calls import Question, answer_task, show_task

__all__ = ["Verdict", "Verdicts"]

Verdict = Literal["approve", "edit", "reject"]

_NAMES_A_TASK: Final = re.compile(r"t-(?=\w*\d)\w+")


class Verdicts:
    """What is asked, and what the person says to it."""

    def __init__(self, connection: Connection, screen: Screen) -> None:
        self._connection = connection
        self._screen = screen
        self._asking: dict[str, Question] = {}

    def asked(self, task: str, asked: str, digest: str) -> None:
        """Take note of what a task asks."""
        self._asking[task] = Question(task, asked, digest)

    def settled(self, task: str) -> None:
        """Take note that a task asks nothing any more."""
        self._asking.pop(task, None)

    @property
    def asking(self) -> list[str]:
        """The tasks that wait for a verdict, the oldest first."""
        return list(self._asking)

    def give(self, verdict: Verdict, said: Sequence[str]) -> None:
        """Give a verdict; which task is meant needs to be said only where several wait.

        Args:
            verdict: Which one.
            said: The task, where it is said; then the answer, or why not.

        Raises:
            TaleError: It is not taken, or the daemon can't be asked.
        """
        words = list(said)
        # What is answered elsewhere meanwhile is forgotten in the thread that follows the task.
        asking = dict(self._asking)
        task = self._meant(verdict, words, list(asking))
        if task is None:
            return
        if verdict == "edit":
            self._edit(task)
            return
        answer_task(self._connection, verdict, asking[task], " ".join(words))
        done = "may go on" if verdict == "approve" else "is told no"
        self._screen.note(f"{task} {done}.")

    def _edit(self, task: str) -> None:
        """Have the plan that a task asks about changed in the person's editor."""
        found = show_task(self._connection, task)
        if found.state != "waiting" or not found.plan:
            self._screen.note(f"Task {task} asks about no plan just now.")
            return
        changed = in_editor(found.plan)
        if changed is None:
            self._screen.note("Nothing was changed; the task waits on.")
            return
        send_plan(self._connection, self._screen, found, changed)

    def _meant(self, verdict: Verdict, words: list[str], asking: list[str]) -> str | None:
        """Take the task that is meant off the words; says so where that isn't known."""
        if words and words[0] in asking:
            return words.pop(0)
        if words and _NAMES_A_TASK.fullmatch(words[0]):
            self._screen.note(f"Task {words[0]} of this conversation asks nothing just now.")
            return None
        if len(asking) == 1:
            return asking[0]
        if asking:
            self._screen.note(f"Several tasks wait; name one of them: /{verdict} {asking[0]}")
        else:
            self._screen.note("No task of this conversation waits for your word.")
        return None
