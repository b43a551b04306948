"""The manual page tale(1), written from the command tree: `python -m documentation.man`.

`make man` writes it to `man/tale.1`, which the wheel carries to `share/man/man1`, where `man` looks
beside the command; a test holds that it is up to date. Below: `commands`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

from documentation.commands import EXITS, panels, root

__all__ = ["man_page"]

_ABOUT: Final = (
    "tale answers at once and works in the background. Two language models stay resident on your "
    "own machine: a small one that talks, a large one that works. Commands start the daemon where "
    "it isn't running; \\fBtale serve\\fR runs it in the foreground."
)
_FILES: Final = (
    ("~/.config/tale/tale.toml", "Settings; \\fBtale config show\\fR lists them."),
    ("~/.local/share/tale", "Tasks, conversations, models, workspaces and the token."),
    ("~/.local/state/tale/logs", "What the servers logged; \\fBtale logs\\fR shows it."),
)
_VARIABLES: Final = (
    ("TALE_HOME", "Moves all files into one folder."),
    ("TALE_CONFIG", "Another settings file."),
    ("TALE_PROFILE", "The profile of the settings that is meant."),
    ("TALE_SECTION__KEY", "Overrides a key of the settings."),
    ("NO_COLOR", "No colours."),
)


def man_page() -> str:
    """Write the page in man(7)'s macros."""
    outermost = root()
    lines = [
        # No date and no version: the page changes when the commands do.
        '.TH TALE 1 "" "tale" "User Commands"',
        ".SH NAME",
        "tale \\- a local agent with two resident models",
        ".SH SYNOPSIS",
        ".B tale",
        "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGS\\fR]...",
        ".SH DESCRIPTION",
        _ABOUT,
        ".SH OPTIONS",
        *_options(outermost, _context(outermost, "tale")),
        ".SH COMMANDS",
    ]
    for panel, commands in panels():
        lines.append(f".SS {_text(panel)}")
        for name, command in commands:
            lines += _command(command, f"tale {name}")
    exits = [(str(code), f"{told[0].upper()}{told[1:]}.") for code, told in EXITS]
    for title, rows in (
        ("EXIT STATUS", exits),
        ("FILES", _FILES),
        ("ENVIRONMENT", _VARIABLES),
    ):
        lines.append(f".SH {title}")
        for name, told in rows:
            lines += [".TP", f".B {_text(name)}", told]
    return "\n".join(lines) + "\n"


def _context(command: Any, name: str) -> Any:
    return command.context_class(command, info_name=name)


def _command(command: Any, name: str) -> Iterator[str]:
    """Write a command: its usage, what it does, its arguments and options."""
    context = _context(command, name)
    usage = " ".join(command.collect_usage_pieces(context))
    yield ".TP"
    yield f"\\fB{_text(name)}\\fR {_text(usage)}"
    for number, paragraph in enumerate((command.help or "").split("\n\n")):
        if number:
            yield ".IP"
        if paragraph.startswith("\b"):  # it is to keep its lines
            yield from (".nf", *map(_text, paragraph.strip("\b\n").splitlines()), ".fi")
        else:
            yield _text(" ".join(paragraph.split()))
    rows = list(_options(command, context))
    if rows:
        yield from (".RS", *rows, ".RE")


def _options(command: Any, context: Any) -> Iterator[str]:
    for parameter in command.get_params(context):
        if "--help" in parameter.opts:
            continue
        if parameter.param_type_name == "argument":
            record = (parameter.metavar or parameter.name.upper(), parameter.help or "")
        else:
            record = parameter.get_help_record(context)
        if record and record[1]:
            yield from (".TP", f"\\fB{_text(record[0])}\\fR", _text(" ".join(record[1].split())))


def _text(text: str) -> str:
    """Escape what means something to troff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    sys.stdout.write(man_page())
