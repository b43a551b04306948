"""The entry of the `tale` command: runs a command, and turns however it ends into an exit code.

0 ok, 1 failed, 2 usage, 3 daemon unreachable, 130 interrupted. A failure that tale knows is one
line and a hint on standard error; one it doesn't know is one line that names the log file with the
traceback. Below: `app`.
"""

from __future__ import annotations

import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from tale import trace
from tale.cli.app import app
from tale.cli.render import Screen
from tale.errors import TaleError
from tale.paths import Paths

__all__ = ["INTERRUPTED", "main", "run"]

INTERRUPTED = 130
_USAGE = 2


def main() -> NoReturn:
    """Run the command that the process's arguments name, and exit."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command and give its exit code; no exception leaves."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character must not end the command.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    screen = Screen.detect()
    # One command is one trace, or part of its caller's (the variable is OpenTelemetry's).
    trace.enter(os.environ.get("TRACEPARENT"))
    try:
        result = _result_of(arguments)
    except TaleError as error:
        screen.error(error.message, error.hint)
        return error.exit_code
    except TyperException as error:
        return _explain_usage(screen, error)
    except (KeyboardInterrupt, typer.Abort):
        screen.note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return 0
    except Exception as error:  # noqa: BLE001 - the process ends here; the log gets the traceback
        _report(screen, error)
        return 1
    return result if isinstance(result, int) else 0


def _result_of(arguments: list[str]) -> object:
    try:
        return app(arguments, prog_name="tale", standalone_mode=False)
    except SystemExit as leaving:
        # So Typer ends a command whose reader has gone, and its code would be 1.
        if isinstance(leaving.__context__, BrokenPipeError):
            raise leaving.__context__ from None
        raise


def _explain_usage(screen: Screen, error: TyperException) -> int:
    """Say what is wrong with the arguments, and where to look."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        screen.print(str(error))
        return _USAGE
    command = context.command_path if context is not None else "tale"
    screen.error(error.format_message(), f"`{command} --help` explains the usage.")
    return error.exit_code


def _report(screen: Screen, error: Exception) -> None:
    """Write the traceback to the log, and tell the user where it is."""
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    try:
        file = _log(error)
    except OSError as unwritable:
        screen.error(
            f"unexpected {what}", f"The traceback could not be written to the log: {unwritable}."
        )
        return
    screen.error(f"unexpected {what}", f"This is a defect of tale's. The traceback is in {file}.")


def _log(error: Exception) -> Path:
    file = Paths.from_environment().log_of("cli")
    file.parent.mkdir(parents=True, exist_ok=True)
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    with file.open("a", encoding="utf-8", errors="replace") as log:
        log.write(f"{when}Z ERROR tale.cli command.crashed arguments={sys.argv[1:]}\n")
        log.write("".join(traceback.format_exception(error)))
    return file


def _forget_output() -> None:
    """Let the interpreter flush nowhere at its end: who read our output has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
