"""`tale tasks`, `show`, `watch`, `cancel`, `pause`, `resume`: what the gateway knows of tasks.

Below: `connection` (tools of the gateway), `follow`, `task_lines`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from tale.cli.completing import task_ids
from tale.cli.connection import Connection
from tale.cli.follow import background_hint, follow_events, tell_end
from tale.cli.record import JsonObject
from tale.cli.render import Column, Screen, human_seconds, one_line
from tale.cli.task_calls import show_task
from tale.cli.task_lines import STATE_STYLES, ago, task_block
from tale.cli.views import Task

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The task's id.", autocompletion=task_ids)]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class _State(StrEnum):
    queued = "queued"
    running = "running"
    waiting = "waiting"
    paused = "paused"
    done = "done"
    failed = "failed"
    cancelled = "cancelled"


@app.command()
def tasks(
    state: Annotated[_State | None, typer.Option("--state", help="Only in this state.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most.")] = 20,
    as_json: _Json = False,
) -> None:
    """List tasks, newest first."""
    screen = Screen.detect()
    arguments: JsonObject = {"limit": limit}
    if state is not None:
        arguments["state"] = state.value
    reply = Connection.open(screen).call("gateway", "list", arguments, idempotent=True)
    if as_json:
        screen.json(reply.raw)
        return
    found = [Task.read(record) for record in reply.records("tasks")]
    if not found:
        which = f"No {state.value} tasks." if state else "No tasks yet."
        screen.note(f'{which} `tale submit "…"` makes one.')
        return
    screen.table(
        [
            Column("ID"),
            Column("STATE"),
            Column("CREATED", "right"),
            Column("TOOK", "right"),
            Column("FILES", "right"),
            Column("TEXT", flexible=True),
        ],
        [_row(task, screen) for task in found],
    )


def _row(task: Task, screen: Screen) -> list[str]:
    return [
        task.id,
        screen.style(task.state, STATE_STYLES.get(task.state, "bold")),
        ago(task.created),
        human_seconds(task.seconds) if task.seconds is not None else "",
        str(len(task.files)) if task.files else "",
        one_line(task.text),
    ]


@app.command()
def show(
    task: _Id,
    reasoning: Annotated[
        bool,
        typer.Option("--reasoning", help="Also what the model thought as it planned; JSON has it."),
    ] = False,
    as_json: _Json = False,
) -> None:
    """Show one task: state, parts, what its plan rests on and how it was changed, answer, files."""
    screen = Screen.detect()
    found = show_task(Connection.open(screen), task, reasoning=reasoning or as_json)
    if as_json:
        screen.json(found.record.raw)
        return
    for line in task_block(found, screen):
        screen.print(line)


@app.command()
def watch(
    task: _Id,
    after: Annotated[
        int, typer.Option("--after", min=0, help="Leave out events up to this number.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as JSON.")] = False,
) -> None:
    """Follow a task until it ends; what happened before is told first.

    On a terminal its progress is drawn in place, and what it asks you can answer there. The range
    after the time that is left is where the end will probably be; it is wide until like tasks have
    been done.
    """
    screen = Screen.detect()
    connection = Connection.open(screen)
    try:
        ended = follow_events(connection, screen, task, as_json=as_json, after=after)
    except KeyboardInterrupt:
        screen.note("")
        background_hint(screen, task)
        raise typer.Exit(130) from None
    raise typer.Exit(tell_end(screen, ended))


@app.command()
def cancel(task: _Id, as_json: _Json = False) -> None:
    """Cancel a task that has not ended. Files it wrote stay."""
    screen = Screen.detect()
    reply = Connection.open(screen).call("gateway", "cancel", {"id": task}, idempotent=True)
    found = Task.read(reply)
    if as_json:
        screen.json(found.record.raw)
    elif found.state == "cancelled":
        screen.print(f"{found.id} is cancelled.")
    else:
        screen.print(f"{found.id} had ended already: {found.state}.")


@app.command()
def pause(task: _Id, as_json: _Json = False) -> None:
    """Let a task rest until you resume it. What it has done stays done."""
    screen = Screen.detect()
    reply = Connection.open(screen).call("gateway", "pause", {"id": task}, idempotent=True)
    found = Task.read(reply)
    if as_json:
        screen.json(found.record.raw)
    else:
        screen.print(f"{found.id} is paused.")
        screen.note(f"`tale resume {found.id}` lets it go on.")


@app.command()
def resume(task: _Id, as_json: _Json = False) -> None:
    """Let a paused task go on where it was."""
    screen = Screen.detect()
    reply = Connection.open(screen).call("gateway", "resume", {"id": task}, idempotent=True)
    found = Task.read(reply)
    if as_json:
        screen.json(found.record.raw)
    else:
        screen.print(f"{found.id} goes on: {found.state}.")
