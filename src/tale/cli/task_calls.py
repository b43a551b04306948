"""How a task stands, and the user's word to it: asked and told of the gateway.

Above: all that follows or answers tasks. Below: `connection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tale.cli.connection import Connection
from tale.cli.record import JsonObject
from tale.cli.views import Task

__all__ = ["Question", "Word", "answer_task", "show_task"]

Word = Literal["approve", "reject"]


@dataclass(frozen=True, slots=True)
class Question:
    """What a task asked when it was shown: the answer to it lands on nothing else.

    Attributes:
        task: The task.
        asked: The question's id.
        digest: The plan that it is about, if it is about one.
    """

    task: str
    asked: str = ""
    digest: str = ""

    @classmethod
    def of(cls, task: Task) -> Question:
        """Take it from a task as it was shown."""
        return cls(task.id, task.asked, task.digest)


def show_task(connection: Connection, task: str, *, reasoning: bool = False) -> Task:
    """Ask how a task stands, and with `reasoning` what the model thought of its plan."""
    asked: JsonObject = {"id": task, "reasoning": True} if reasoning else {"id": task}
    return Task.read(connection.call("gateway", "show", asked, idempotent=True))


def answer_task(connection: Connection, word: Word, question: Question, text: str) -> Task:
    """Tell a task the user's word: yes, no, or the answer.

    Args:
        connection: The daemon.
        word: Whether it may.
        question: What is answered.
        text: The answer, a changed plan, or why not.

    Raises:
        TaskError: It asks something else by now, or nothing.
    """
    named = {"digest": question.digest, "asked": question.asked}
    told: JsonObject = {"id": question.task, "text": text}
    told |= {key: name for key, name in named.items() if name}
    # A second time it might be the word on another question.
    return Task.read(connection.call("gateway", word, told, idempotent=False))
