"""The page of all commands, from the objects by which the command line itself parses them.

Above: `pages`. Below: `tale.cli.app`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, cast

import typer
from typer._click.core import Context

from documentation.markdown import code, console, table
from tale.cli.app import COMMANDS, app
from tale.cli.main import INTERRUPTED

__all__ = ["commands_page", "leaves", "root"]

_INTRODUCTION = f"""\
# Commands

Every command with its arguments and options, as `tale COMMAND --help` tells them.

Commands that print data have `--json`. Data goes to standard output, everything else to standard
error, so a pipe gets only the data. Exit codes: 0 done, 1 failed, 2 the command was not understood,
3 the daemon can't be reached, {INTERRUPTED} interrupted. Which error ends with which code is listed
under [errors](errors.md).
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


def commands_page() -> str:
    """Write the page."""
    lines = [_INTRODUCTION]
    panels = {spec.name: spec.panel for spec in COMMANDS}
    panel = ""
    for name, command in leaves():
        if (its := panels[name.split()[0]]) != panel:
            panel = its
            lines += [f"## {panel}", ""]
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
