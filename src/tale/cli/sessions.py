"""`tale sessions`: conversations, and the turns of one.

Below: `connection` (tools of the ux server).
"""

from __future__ import annotations

from typing import Annotated

import typer

from tale.cli.answer import answer_lines
from tale.cli.connection import Connection
from tale.cli.record import Record
from tale.cli.render import Column, Screen, clean, one_line
from tale.cli.task_lines import ago
from tale.cli.views import read_time

__all__ = ["app", "session_table", "turn_lines"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def sessions(
    session: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Conversation to show; all if missing."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1000, help="Most conversations, or turns.")
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List conversations, the last used first, or show the last turns of one."""
    screen = Screen.detect()
    connection = Connection.open(screen, service="ux")
    if session is None:
        if as_json:
            asked = {"limit": limit}
            screen.json(connection.call("ux", "sessions", asked, idempotent=True).raw)
        else:
            session_table(connection, screen, limit)
        return
    reply = connection.call("ux", "session", {"id": session, "limit": limit}, idempotent=True)
    if as_json:
        screen.json(reply.raw)
        return
    for line in turn_lines(reply, screen):
        screen.print(line)


def session_table(connection: Connection, screen: Screen, limit: int) -> None:
    """Write the last used conversations."""
    reply = connection.call("ux", "sessions", {"limit": limit}, idempotent=True)
    found = reply.records("sessions")
    if not found:
        screen.note("No conversations yet. `tale chat` begins one.")
        return
    screen.table(
        [
            Column("ID"),
            Column("TURNS", "right"),
            Column("LAST USED", "right"),
            Column("BEGINS", flexible=True),
        ],
        [
            [
                record.text("id"),
                str(record.integer("turns")),
                ago(read_time(record, "updated")),
                one_line(record.text("title")),
            ]
            for record in found
        ],
    )


def turn_lines(reply: Record, screen: Screen) -> list[str]:
    """Write the turns of a conversation, each with who spoke."""
    lines: list[str] = []
    for turn in reply.records("turns"):
        mine = turn.text("speaker") == "user"
        speaker = "you" if mine else "tale"
        task = f" (task {turn.text('task')})" if turn.text("task") else ""
        cut = " (interrupted)" if turn.flag("interrupted") else ""
        head = screen.style(f"{speaker}{task}{cut}", "bold", "cyan" if mine else "green")
        text = turn.text("text")
        said = [clean(text).strip("\n")] if mine else answer_lines(text, screen)
        lines += [head, *said, ""]
    return lines[:-1]
