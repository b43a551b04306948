"""`tale submit`: hand over a piece of work and print its result.

Below: `follow`. The answer alone goes to standard output, so that it can be piped on.
"""

from __future__ import annotations

import uuid
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tale.cli.connection import Connection
from tale.cli.follow import follow_answer, tell_end
from tale.cli.leaving import leave
from tale.cli.plan_file import read_plan
from tale.cli.prompt_text import from_arguments
from tale.cli.record import JsonObject
from tale.cli.render import Screen
from tale.cli.views import Task

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class _Permission(StrEnum):
    ask = "ask"
    workspace = "workspace"
    full = "full"


class _Approve(StrEnum):
    auto = "auto"
    always = "always"
    never = "never"


@app.command()
def submit(
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="What to do; - reads standard input."),
    ] = None,
    *,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace", "-w", file_okay=False, help="Folder for files; a new one if missing."
        ),
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Print the task's id and return at once.")
    ] = False,
    priority: Annotated[
        int, typer.Option("--priority", "-p", min=-100, max=100, help="Higher is sooner.")
    ] = 0,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="YAML or JSON with the parts of the work."),
    ] = None,
    permission: Annotated[
        _Permission | None,
        typer.Option(
            "--permission", help="What it may do without asking; as the settings say if missing."
        ),
    ] = None,
    approve: Annotated[
        _Approve | None,
        typer.Option(
            "--approve", help="Whether its plan waits for your yes; as the settings say if missing."
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Remember nothing of it beside the task itself.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the task as JSON.")] = False,
) -> None:
    """Hand over a piece of work and print its result.

    Ctrl-C asks whether the task is to go on, to rest or to end; a second one leaves it running. It
    survives a crash of anything.

      tale submit "Write a Python function that parses ISO dates, with tests"
      git diff | tale submit "Review this change" -

    A large request is planned first: split into parts that are done one after the other or, where
    they need nothing of each other, at the same time. A plan that is large or costly waits for
    your yes (--approve always or never changes that). At a terminal you are asked right here, and
    Enter leaves it waiting. `tale show ID` shows it, `tale approve`, `tale edit` and `tale reject`
    answer.

      tale submit "Build a web application with login, database and API" --approve always

    Or give the plan yourself: a list of parts, each with an id, a text, perhaps a title, and
    depends_on, the ids of those that come before it.

      tale submit "A site about tea" --plan site.yaml

    With the permission `ask` it only reads by itself, and asks before each change and program.
    With `workspace` it does what it likes in its folder and the sandbox. With `full` it asks for
    nothing. You are asked as about a plan.

    What came of it is remembered, and may go into later plans; with --private it is not, and
    nothing that is remembered goes into its plan.
    """
    screen = Screen.detect()
    arguments: JsonObject = {
        "text": from_arguments(text or []),
        "priority": priority,
        "key": uuid.uuid4().hex,  # so that a submission whose answer was lost can be repeated
    }
    if workspace is not None:
        arguments["workspace"] = str(workspace.expanduser().absolute())
    if permission is not None:
        arguments["permission"] = permission.value
    if approve is not None:
        arguments["approve"] = approve.value
    if private:
        arguments["private"] = True
    if plan is not None:
        arguments["subtasks"] = read_plan(plan)
    connection = Connection.open(screen)
    task = Task.read(connection.call("gateway", "submit", arguments, idempotent=True))
    if no_wait:
        screen.json(task.record.raw) if as_json else screen.print(task.id)
        if screen.err_is_terminal:
            screen.note(f"`tale watch {task.id}` follows it.")
        return
    try:
        ended = follow_answer(connection, screen, task.id, quiet=as_json)
    except KeyboardInterrupt:
        leave(connection, screen, task.id)
        raise typer.Exit(130) from None
    if as_json:
        screen.json(ended.record.raw)
    raise typer.Exit(tell_end(screen, ended))
