"""`tale export`, `import`: a task leaves in one file, and goes on elsewhere.

The gateway reads and writes the file. Below: `connection` (tools of the gateway).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tale.cli.completing import task_ids
from tale.cli.connection import Connection
from tale.cli.record import JsonObject
from tale.cli.render import Screen, human_bytes, plural
from tale.cli.views import Task

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("export")
def export(
    task: Annotated[
        str, typer.Argument(metavar="ID", help="The task's id.", autocompletion=task_ids)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file; ID.tale if missing."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace a file that is there.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Write a task to a file, to go on with it elsewhere.

    The task rests or has ended. The file holds all that is known of it: its text, what happened,
    what models have answered, and the files of its workspace with their checkpoints. The task
    itself stays as it is. Let only one of the two go on, or both will do the rest of the work.

      tale pause ID
      tale export ID -o task.tale
    """
    screen = Screen.detect()
    arguments: JsonObject = {
        "id": task,
        "path": str((output or Path(f"{task}.tale")).expanduser().absolute()),
        "replace": force,
    }
    reply = Connection.open(screen).call("gateway", "export", arguments)
    if as_json:
        screen.json(reply.raw)
        return
    held = ", ".join(
        (
            plural(reply.integer("checkpoints"), "checkpoint"),
            plural(reply.integer("files"), "file"),
            plural(reply.integer("steps"), "recorded step"),
            human_bytes(reply.integer("bytes")),
        )
    )
    screen.print(f"Exported {task} to {output or Path(f'{task}.tale')}: {held}.")
    if omissions := reply.integer("omissions"):
        left = "1 thing" if omissions == 1 else f"{omissions:,} things"
        screen.note(f"{left} in its workspace stayed here: ignored by .gitignore, or too large.")
    screen.note("`tale import FILE` takes it over on another machine.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `tale export` wrote.")],
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace", "-w", file_okay=False, help="New or empty folder; one of its own else."
        ),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Take over a task from a file that `tale export` wrote.

    The file is checked before anything of it is used. A task that had not ended is paused here, and
    goes on with `tale resume` at the step at which it was exported. Its id stays the same where it
    is free; importing a file again makes another task.

      tale import task.tale
      tale resume ID
    """
    screen = Screen.detect()
    arguments: JsonObject = {"path": str(file.expanduser().absolute())}
    if workspace is not None:
        arguments["workspace"] = str(workspace.expanduser().absolute())
    reply = Connection.open(screen).call("gateway", "import", arguments)
    if as_json:
        screen.json(reply.raw)
        return
    task, origin = Task.read(reply.record("task")), reply.text("origin")
    held = ", ".join(
        (
            plural(reply.integer("checkpoints"), "checkpoint"),
            plural(reply.integer("files"), "file"),
            plural(reply.integer("steps"), "recorded step"),
        )
    )
    other = "" if task.id == origin else f" ({origin} is taken here)"
    screen.print(f"Imported as {task.id}{other}, {task.state}: {held}.")
    screen.print(f"Its workspace is {task.workspace}.")
    if task.state == "paused":
        screen.note(f"`tale resume {task.id}` lets it go on where it was.")
    else:
        screen.note(f"`tale show {task.id}` shows it.")
