"""`tale edit`: the plan that a task asks about, in the user's editor.

Above: `asking` and `chat_terminal`, which do the same where they are. Below: `connection` (tools of
the gateway), `tasks.plan_text`, `tasks.plan` (what is wrong with it).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Final

import click
import typer

from tale.cli.completing import task_ids
from tale.cli.connection import Connection
from tale.cli.keyboard import echoed
from tale.cli.render import Screen
from tale.cli.task_calls import Question, answer_task, show_task
from tale.cli.views import Task
from tale.errors import PromptRejected, TaleError, TaskError

__all__ = ["app", "in_editor", "keep_plan", "send_plan", "text_in_editor"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_PROBLEM: Final = "# ✗ "
"""How lines begin that say what is wrong; they are taken out again."""

_LINE: Final = re.compile(r"\b([Ll]ine) (\d+)")


@app.command()
def edit(
    task: Annotated[
        str, typer.Argument(metavar="ID", help="The task's id.", autocompletion=task_ids)
    ],
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="Take the plan from a file; no editor is opened."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Change the plan that a task asks about, and let it go on.

    The plan is opened as YAML in $VISUAL or $EDITOR. Save it and leave the editor to have it worked
    on as it is then; leave without saving, or empty it, and the task waits on. What can't be worked
    on comes back with what is wrong with it.

      tale edit ID
      tale show ID --json | jq -r .plan > plan.yaml; tale edit ID --file plan.yaml
    """
    screen = Screen.detect()
    connection = Connection.open(screen)
    shown = show_task(connection, task)
    if shown.state != "waiting" or not shown.plan:
        raise TaskError(
            f"Task {shown.id} is {shown.state}; it does not ask about a plan just now.",
            hint=f"`tale show {shown.id}` shows how it stands.",
        )
    changed = in_editor(shown.plan) if file is None else _from_file(file)
    if changed is None:
        screen.note("Nothing was changed; the task waits on.")
        raise typer.Exit(0)
    found = send_plan(connection, screen, shown, changed)
    if as_json:
        screen.json(found.record.raw)
        return
    screen.print(f"{found.id} goes on, as you have it now.")
    screen.note(f"`tale watch {found.id}` follows it.")


def send_plan(connection: Connection, screen: Screen, shown: Task, changed: str) -> Task:
    """Have a task go on with a plan that was changed.

    Args:
        connection: The daemon.
        screen: Is told where the plan is kept, if it is not taken.
        shown: The task with the plan as it was before.
        changed: The plan.

    Raises:
        TaleError: It is not taken.
    """
    try:
        return answer_task(connection, "approve", Question.of(shown), changed)
    except TaleError:
        screen.note(f"What you wrote is in {keep_plan(changed)}.")
        raise


def in_editor(plan: str) -> str | None:
    """Have a plan edited until it can be worked on; None where nobody wants it changed.

    Raises:
        TaskError: There is no terminal, or the editor can't be used.
    """
    if not os.isatty(0):
        raise TaskError(
            "There is no terminal for an editor.", hint="Give the changed plan with --file FILE."
        )
    text = plan
    while True:
        given = _edited(text, ".yaml")
        edited = _without_problems(given) if given is not None else None
        if edited is None or not edited.strip() or edited.strip() == plan.strip():
            return None
        problems = _problems(edited)
        if not problems:
            return edited
        text = "".join(f"{_PROBLEM}{_moved(line, len(problems))}\n" for line in problems) + edited


def text_in_editor(begun: str = "") -> str:
    """Have a text written; empty where nobody saved one.

    Raises:
        TaskError: The editor can't be used.
    """
    return (_edited(begun, ".md") or "").strip()


def _edited(text: str, extension: str) -> str | None:
    """Open the editor; None where it was left without saving."""
    try:
        with echoed():
            return click.edit(text, extension=extension)
    except click.ClickException as error:
        raise TaskError(
            error.format_message(), hint="$VISUAL or $EDITOR names the editor."
        ) from error


def _from_file(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptRejected(f"{file} can't be read: {error}.") from error
    if problems := _problems(text):
        raise PromptRejected("\n".join((f"{file} can't be worked on:", *problems)))
    return text


def _problems(text: str) -> list[str]:
    """Say what is wrong with a plan, a line for each fault."""
    # A tenth of a second that only a plan costs.
    from tale.tasks.plan import faults  # noqa: PLC0415
    from tale.tasks.plan_text import read_plan_text  # noqa: PLC0415

    try:
        return list(faults(read_plan_text(text)))
    except PromptRejected as error:
        return error.message.splitlines()


def _moved(problem: str, lines: int) -> str:
    """Name the lines as they are once the problems stand above."""
    return _LINE.sub(lambda match: f"{match[1]} {int(match[2]) + lines}", problem)


def _without_problems(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(_PROBLEM))


def keep_plan(text: str) -> Path:
    """Keep a plan that somebody wrote where they find it again."""
    import tempfile  # noqa: PLC0415 - seldom needed

    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="tale-plan-", suffix=".yaml", delete=False
    ) as file:
        file.write(text)
    return Path(file.name)
