"""`tale checkpoints`, `restore`, `fork`: the saved states of a task's files.

Below: `connection` (tools of the gateway), `render`.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import typer

from tale.cli.checkpoint_view import Checkpoint
from tale.cli.completing import task_ids
from tale.cli.connection import Connection
from tale.cli.prompt_text import from_arguments
from tale.cli.record import JsonObject, Record
from tale.cli.render import Column, Screen, clean, human_bytes, one_line, plural
from tale.cli.task_lines import ago
from tale.cli.views import Task

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_NAMED = 5
"""Paths that are named of those that were left out or kept."""

_Id = Annotated[str, typer.Argument(metavar="ID", help="The task's id.", autocompletion=task_ids)]
_Number = Annotated[
    int, typer.Argument(metavar="N", min=1, help="The checkpoint, as `tale checkpoints` lists it.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def checkpoints(
    task: _Id,
    pin: Annotated[
        int | None, typer.Option("--pin", metavar="N", min=1, help="Keep checkpoint N for good.")
    ] = None,
    unpin: Annotated[
        int | None,
        typer.Option("--unpin", metavar="N", min=1, help="Let it be thinned out again."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """List the checkpoints of a task: states of its files, saved while it works.

    The newest are kept, then the last of each hour and of each day, and those that are pinned.

      tale checkpoints ID
      tale restore ID 3
    """
    screen = Screen.detect()
    if pin is not None and unpin is not None:
        raise typer.BadParameter("Pin one or unpin one, not both.", param_hint="--pin")
    if (number := pin or unpin) is not None:
        tool = "pin" if pin is not None else "unpin"
        arguments: JsonObject = {"id": task, "number": number}
        reply = Connection.open(screen).call("gateway", tool, arguments, idempotent=True)
        said = "is kept until you unpin it" if pin else "is thinned out as the others are"
        if as_json:
            screen.json(reply.raw)
        else:
            screen.print(f"Checkpoint {number} of {task} {said}.")
        return
    reply = Connection.open(screen).call("gateway", "checkpoints", {"id": task}, idempotent=True)
    if as_json:
        screen.json(reply.raw)
        return
    found = [Checkpoint.read(record) for record in reply.records("checkpoints")]
    if not found:
        screen.note(f"{task} has no checkpoints; the first is taken before it changes a file.")
        return
    screen.table(
        [
            Column("N", "right"),
            Column("TAKEN", "right"),
            Column("FILES", "right"),
            Column("CHANGED", "right"),
            Column("SIZE", "right"),
            Column("LEFT OUT", "right"),
            Column("PINNED"),
            Column("WHY", flexible=True),
        ],
        [_row(one, screen) for one in found],
    )
    newest = found[-1]
    if newest.left_out:
        named = _named(newest.left_out, newest.omissions)
        screen.note(f"Not in checkpoint {newest.number}: {named}.")
    screen.note(f"`tale restore {task} N` brings one back.")


def _row(one: Checkpoint, screen: Screen) -> list[str]:
    return [
        str(one.number),
        ago(one.at),
        str(one.files),
        str(one.changes) if one.changes else "",
        human_bytes(one.size),
        str(one.omissions) if one.omissions else "",
        screen.style("pinned", "cyan") if one.pinned else "",
        one_line(one.why),
    ]


@app.command()
def restore(task: _Id, number: _Number, as_json: _Json = False) -> None:
    """Bring a task's files back to a checkpoint. What they are now is saved first.

    Files that no checkpoint holds (ignored, too large) stay as they are. A task that runs has to be
    paused before. One that has not ended begins anew with these files once it is resumed; parts of
    a plan whose work the checkpoint holds stay done.

      tale pause ID; tale restore ID 3; tale resume ID
    """
    screen = Screen.detect()
    arguments: JsonObject = {"id": task, "number": number}
    reply = Connection.open(screen).call("gateway", "restore", arguments, idempotent=True)
    if as_json:
        screen.json(reply.raw)
        return
    found = Task.read(reply.record("task"))
    written, removed = reply.integer("written"), reply.integer("removed")
    did = [plural(written, "file") + " written"] if written else []
    did += [plural(removed, "file") + " removed"] if removed else []
    what = ", ".join(did) or "nothing differed"
    screen.print(f"{clean(found.workspace)} is as it was at checkpoint {number}: {what}.")
    if kept := reply.records("kept"):
        screen.note(f"Left as it is: {_named(kept, len(kept))}.", "yellow")
    saved = reply.integer("saved")
    if saved and did:
        screen.print(f"What it held before is checkpoint {saved}: `tale restore {task} {saved}`.")
    if reply.flag("anew"):
        again = reply.texts("again")
        parts = f" Of its parts, {', '.join(map(one_line, again))} will be done again."
        screen.note(
            f"{task} is {found.state}; after `tale resume {task}` it begins anew with these files."
            + (parts if again else "")
        )


@app.command()
def fork(
    task: _Id,
    number: _Number,
    *,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            file_okay=False,
            help="New or empty folder for the files; one is made if missing.",
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="TEXT", help="What to do instead; - reads standard input."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Begin a new task with the files of a checkpoint; the other task stays as it is.

    It is asked for the same, from its beginning, or for TEXT. Prints the new task's id.

      tale fork ID 3 --text "Do it with sqlite3 instead"
    """
    screen = Screen.detect()
    arguments: JsonObject = {
        "id": task,
        "number": number,
        "key": uuid.uuid4().hex,  # so that a fork whose answer was lost can be repeated
    }
    if workspace is not None:
        arguments["workspace"] = str(workspace.expanduser().absolute())
    if text is not None:
        arguments["text"] = from_arguments([text])
    reply = Connection.open(screen).call("gateway", "fork", arguments, idempotent=True)
    found = Task.read(reply)
    if as_json:
        screen.json(found.record.raw)
        return
    screen.print(found.id)
    screen.note(f"It works in {clean(found.workspace)}. `tale watch {found.id}` follows it.")


def _named(found: tuple[Record, ...], count: int) -> str:
    """Name the first few of what was left out, with why, and count the rest."""
    said = [f"{clean(one.text('path'))} ({clean(one.text('why'))})" for one in found[:_NAMED]]
    more = [f"{count - len(said)} more"] if count > len(said) else []
    return ", ".join([*said, *more])
