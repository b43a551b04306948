"""`tale chat`: a conversation on a terminal, or line by line through a pipe.

Below: `conversation`; `chat_terminal` is imported where a person types.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from tale.cli.answer import AnswerWriter
from tale.cli.chat_commands import typed
from tale.cli.connection import Connection
from tale.cli.conversation import Conversation, HandedOver, Heard, Outcome
from tale.cli.prompt_text import decode
from tale.cli.render import Screen, clean
from tale.cli.task_lines import check_line, event_line, file_lines, summary_line
from tale.cli.views import Event

__all__ = ["app", "piped_chat"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_TOLD = {"note", "approval"}
"""What keeps a task from going on; nobody sees the rest, and its end is told at the end."""


@app.command()
def chat(
    session: Annotated[
        str | None, typer.Option("--session", "-s", metavar="ID", help="Conversation to continue.")
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", file_okay=False, help="Folder for files of its tasks."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Keep nothing of it; work is still a task.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print an object a line: each reply, then each task.")
    ] = False,
) -> None:
    """Talk; a turn that asks for work becomes a task, and the conversation goes on meanwhile.

    In a pipe each line is a turn, and the end waits for the tasks.
    """
    if private and session is not None:
        raise typer.BadParameter("a private conversation can't be continued: nothing is kept.")
    screen = Screen.detect()
    connection = Connection.open(screen, service="ux")
    conversation = Conversation(connection, session, workspace, private=private)
    if screen.out_is_terminal and sys.stdin.isatty() and not as_json:
        from tale.cli.chat_terminal import terminal_chat  # noqa: PLC0415 - 0.4 s, for people only

        terminal_chat(connection, screen, conversation)
        return
    failed = piped_chat(connection, screen, conversation, sys.stdin.buffer, as_json=as_json)
    raise typer.Exit(1 if failed else 0)


def piped_chat(
    connection: Connection,
    screen: Screen,
    conversation: Conversation,
    stdin: BinaryIO,
    *,
    as_json: bool,
) -> int:
    """Answer each line, then wait for the tasks; returns how many of them failed."""
    ended: dict[str, Outcome] = {}

    def tell(event: Event) -> None:
        if event.kind in _TOLD:
            screen.note(f"task {event.task}: {clean(event_line(event))}")

    def keep(outcome: Outcome) -> None:
        ended[outcome.task] = outcome

    handed = HandedOver(connection, tell, keep)
    heard = Heard(handed.follow, handed.follow_kept, lambda text: screen.note(clean(text)))
    for number, raw in enumerate(stdin, start=1):
        if not raw.strip():
            continue
        text = decode(raw.rstrip(b"\r\n"), f"Line {number}")
        if (command := typed(text)) and command.command:
            elsewhere = command.command.elsewhere
            instead = f" `{elsewhere}` does that." if elsewhere else ""
            screen.note(f"Line {number} is not said: a pipe has no commands.{instead}")
            continue
        writer = AnswerWriter(screen)
        on_token = _ignore if as_json else writer.token
        reply = conversation.say(text, replace(heard, on_token=on_token))
        if as_json:
            screen.write(json.dumps(reply.record.raw, ensure_ascii=False) + "\n")
        else:
            writer.finish(reply.answer)
    handed.wait()
    return sum(not _write_outcome(screen, ended[task], as_json=as_json) for task in handed.followed)


def _ignore(text: str) -> None:
    del text


def _write_outcome(screen: Screen, outcome: Outcome, *, as_json: bool) -> bool:
    """Write how a task ended; returns whether it went well."""
    task = outcome.result
    if task is None:
        reason = outcome.error
        screen.error(f"task {outcome.task}: {reason.message if reason else 'lost'}")
        return False
    if as_json:
        screen.write(json.dumps(task.record.raw, ensure_ascii=False) + "\n")
        return task.state == "done"
    if task.state == "done":
        AnswerWriter(screen).finish(task.answer or "")
        for line in filter(None, [*file_lines(task), check_line(task)]):
            screen.note(line)
    else:
        screen.error(
            f"task {task.id} {task.state}: {task.error or ''}".rstrip(": "), task.hint or ""
        )
    screen.note(summary_line(task))
    return task.state == "done"
