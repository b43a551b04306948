"""The page of all commands, from the objects by which the command line itself parses them.

Above: `pages`, `man`. Below: `tale.cli.app`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final, cast

import typer
from typer._click.core import Context

from documentation.markdown import code, console, table
from tale.cli.app import COMMANDS, app
from tale.cli.main import INTERRUPTED

__all__ = ["EXITS", "commands_page", "leaves", "panels", "root"]

EXITS: Final = (
    (0, "done"),
    (1, "failed; standard error says why"),
    (2, "the command, the settings or something that they name can't be used"),
    (3, "the daemon can't be reached, or is of another version, or refuses the token"),
    (INTERRUPTED, "interrupted"),
)
"""What a command's exit code means, as `tale.errors` and `tale.cli.main` give it."""
_INTRODUCTION = """\
# Commands

Every command with its arguments and options, as `tale COMMAND --help` tells them.

Commands that print data have `--json`. Data goes to standard output, everything else to standard
error, so a pipe gets only the data.

A command ends with one of these exit codes; which error ends with which is listed under
[errors](errors.md).
"""


def root() -> Any:
    """Give the command line's outermost command."""
    return cast("Any", typer.main.get_command(app))


def leaves() -> Iterator[tuple[str, Any]]:
    """Give every command with its name, such as `memory search`, groups before what they hold."""
    commands = root().commands
    for spec in COMMANDS:
        command = commands[spec.name]
        yield spec.name, command
        for name, below in getattr(command, "commands", {}).items():
            yield f"{spec.name} {name}", below


def panels() -> Iterator[tuple[str, Iterator[tuple[str, Any]]]]:
    """Give the commands by the panel of the help under which they stand."""
    panel_of = {spec.name: spec.panel for spec in COMMANDS}
    yield from groupby(leaves(), lambda leaf: panel_of[leaf[0].split()[0]])


def commands_page() -> str:
    """Write the page."""
    exits = [(str(code), meaning) for code, meaning in EXITS]
    lines = [_INTRODUCTION, *table(("Exit code", "Meaning"), exits)]
    for panel, commands in panels():
        lines += [f"## {panel}", ""]
        for name, command in commands:
            lines += _command(name, command)
    return "\n".join(lines)


def _command(name: str, command: Any) -> list[str]:
    context = Context(command, info_name=f"tale {name}")
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    lines = [f"### tale {name}", "", "```text", usage, "```", "", *_help(command.help or "")]
    records = [
        (parameter.param_type_name, found)
        for parameter in command.get_params(context)
        if parameter.name != "help" and (found := parameter.get_help_record(context))
    ]
    if records:
        rows = [(code(names), text) for _, (names, text) in records]
        lines += table(("Argument or option", "What it does"), rows)
    return lines


def _help(text: str) -> list[str]:
    """Turn a command's help into Markdown; lines that stand further right are examples."""
    lines: list[str] = []
    for block in inspect.cleandoc(text).split("\n\n"):
        if block.startswith("  "):
            lines += console([line.strip() for line in block.splitlines()])
        else:
            lines += [*block.splitlines(), ""]
    return lines
