"""`tale approve` and `reject`: the user's word to a task that waits for it.

Below: `task_calls`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tale.cli.completing import task_ids
from tale.cli.connection import Connection
from tale.cli.render import Screen
from tale.cli.task_calls import Question, Word, answer_task, show_task

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The task's id.", autocompletion=task_ids)]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def approve(
    task: _Id,
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="The answer, or what the task is to mind."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Let a task do what it asks for, or answer its question.

    `tale show ID` shows what a waiting task asks.

      tale approve ID
      tale approve ID "Port 8080"
    """
    _tell("approve", task, text, as_json=as_json)


@app.command()
def reject(
    task: _Id,
    reason: Annotated[
        list[str] | None,
        typer.Argument(metavar="REASON", help="Why not, so that the task can go another way."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Don't let a task do what it asks for. It goes on and looks for another way.

    tale reject ID "Only use the standard library"
    """
    _tell("reject", task, reason, as_json=as_json)


def _tell(word: Word, task: str, words: list[str] | None, *, as_json: bool) -> None:
    screen = Screen.detect()
    connection = Connection.open(screen)
    # The word is on what it asks now, and on nothing that it may ask a moment later.
    asked = Question.of(show_task(connection, task))
    found = answer_task(connection, word, asked, " ".join(words or []))
    if as_json:
        screen.json(found.record.raw)
        return
    screen.print(f"{found.id} goes on.")
    screen.note(f"`tale watch {found.id}` follows it.")
