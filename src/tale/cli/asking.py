"""What a followed task asks, asked of the person right where they follow it.

Enter, Ctrl-C and Ctrl-D leave it waiting: nothing is agreed to by accident, nor by what was typed
before the question was there. Their word names the question that they saw; where another was
quicker the gateway refuses it, and following goes on. Above: `follow`. Below: `editing`,
`keyboard`, `task_lines`.
"""

from __future__ import annotations

import sys
from typing import Final, Literal

from tale.cli.connection import Connection
from tale.cli.editing import in_editor, send_plan
from tale.cli.keyboard import forget_typed, read_line
from tale.cli.render import Screen, clean
from tale.cli.task_calls import Question, Word, answer_task, show_task
from tale.cli.task_lines import how_to_answer, rests_on
from tale.cli.views import Event, Planning, Task
from tale.errors import TaleError
from tale.tasks.plan_drawing import plan_block

__all__ = ["Asking", "Verdict", "read_verdict"]

Verdict = Literal["approve", "reject", "edit", "leave"]

_WORDS: Final[tuple[tuple[str, Verdict], ...]] = (
    ("approve", "approve"),
    ("yes", "approve"),
    ("reject", "reject"),
    ("no", "reject"),
    ("edit", "edit"),
    ("leave", "leave"),
)
_ASK: Final = "Approve it, reject it, or leave it waiting? [a/r/L] "
_ASK_PLAN: Final = "Approve it, reject it, edit it, or leave it waiting? [a/r/e/L] "
_ASK_WORDS: Final = "Your answer; Enter leaves it waiting: "
_WHY: Final = "Why not? It may stay empty: "
_WHY_PLAN: Final = "Why not? It is planned anew with that in mind; Enter goes back: "
_WIDEST: Final = 120
"""Columns of a plan: beyond, what a part takes is too far from its name."""


def read_verdict(said: str, *, plan: bool) -> Verdict | None:
    """Take an answer: the first letters of one word, in either case, or nothing, which leaves it.

    Args:
        said: The line.
        plan: Whether it is about a plan, which alone can be edited.

    Returns:
        None where it is no answer to that question.
    """
    word = said.strip().lower() or "leave"
    for name, verdict in _WORDS:
        if name.startswith(word) and (plan or verdict != "edit"):
            return verdict
    return None


class Asking:
    """Asks the person at this terminal, if one is there."""

    def __init__(self, connection: Connection, screen: Screen) -> None:
        """Look who is there; nothing is asked yet."""
        self._connection = connection
        self._screen = screen
        self.possible = screen.err_is_terminal and sys.stdin.isatty()

    def about(self, event: Event) -> bool:
        """Put a task's question and tell the task the answer, if there is one.

        Args:
            event: The event `approval` with the question.

        Returns:
            Whether it was put; not where it has been answered already.
        """
        asked = event.data.text("id")
        found = show_task(self._connection, event.task)
        if not _is_open(found, asked):
            return False
        self._show(event)
        try:
            self._put(found, asked, event.data.text("action"))
        except (KeyboardInterrupt, EOFError):
            self._screen.note("")
            self._leave(found)
        return True

    def _show(self, event: Event) -> None:
        data = event.data
        self._screen.note(f"task {event.task} asks: {clean(data.text('text'))}", "bold")
        detail = data.text("detail")
        if detail and data.text("digest"):
            facts = Planning.read(data)
            drawn = plan_block(detail, facts.seconds, columns=min(self._screen.width, _WIDEST))
            detail = "\n".join((drawn, *rests_on(facts)))
        if detail:
            self._screen.err.write(f"{clean(detail)}\n")

    def _put(self, task: Task, asked: str, action: str) -> None:
        words = action == "AskUser"
        # An editor wants the whole terminal.
        plan = bool(task.plan) and self._screen.out_is_terminal
        question = _ASK_WORDS if words else _ASK_PLAN if plan else _ASK
        while True:
            said = self._read(question, task.id, asked)
            if said is None:
                self._screen.note("It was answered elsewhere.")
                return
            verdict = ("approve" if said else "leave") if words else read_verdict(said, plan=plan)
            if verdict == "approve":
                self._send("approve", task, said if words else "")
                return
            if verdict == "leave":
                self._leave(task)
                return
            if verdict == "reject":
                why = self._read(_WHY_PLAN if task.plan else _WHY, task.id, asked)
                # A plan that is rejected without a reason ends its task.
                if why or (why is not None and not task.plan):
                    self._send("reject", task, why)
                    return
            if verdict == "edit" and self._edit(task):
                return

    def _read(self, question: str, task: str, asked: str) -> str | None:
        """Give the line that is typed; None once the question is open no more.

        Raises:
            EOFError: Ctrl-D.
        """
        forget_typed()
        self._screen.err.write(self._screen.style_err(question, "bold"))
        self._screen.err.flush()
        said = read_line(lambda: not self._is_open(task, asked))
        if said is None:
            self._screen.note("")
            return None
        if not said:
            raise EOFError
        return said.strip()

    def _is_open(self, task: str, asked: str) -> bool:
        try:
            return _is_open(show_task(self._connection, task), asked)
        except TaleError:  # whoever follows the task tells what is the matter
            return True

    def _edit(self, task: Task) -> bool:
        """Have the plan edited and sent; tells whether it was."""
        try:
            changed = in_editor(task.plan)
            if changed is None:
                self._screen.note("Nothing was changed.")
                return False
            send_plan(self._connection, self._screen, task, changed)
        except TaleError as error:
            self._screen.error(error.message, error.hint)
        return True

    def _send(self, word: Word, task: Task, text: str) -> None:
        try:
            answer_task(self._connection, word, Question.of(task), text)
        except TaleError as error:
            self._screen.error(error.message, error.hint)

    def _leave(self, task: Task) -> None:
        self._screen.note(f"It waits on. {how_to_answer(task.id, plan=bool(task.plan))}")


def _is_open(task: Task, asked: str) -> bool:
    return task.state == "waiting" and task.asked == asked
