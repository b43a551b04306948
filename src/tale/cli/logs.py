"""`tale logs`: the last lines of the servers' log files, and what comes next.

Reads files only, so it works when the daemon doesn't. Lines of several servers are put in the order
of their time stamps. Beside: `log_files`, `log_tail`.
"""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from tale.cli.completing import server_names
from tale.cli.log_files import Entry, last_entries
from tale.cli.log_tail import LogTail
from tale.cli.render import Screen, Style, clean
from tale.errors import TaleError
from tale.paths import Paths

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_LOOK_SECONDS = 0.25
_LEVELS: dict[str, Style] = {"ERROR": "red", "CRITICAL": "red", "WARNING": "yellow"}


class UnknownServer(TaleError):
    """No server of that name has a log."""

    code = "unknown_server"
    exit_code = 2


@app.command()
def logs(
    server: Annotated[
        str | None,
        typer.Argument(
            metavar="[SERVER]", help="Which server's; all if missing.", autocompletion=server_names
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is logged from now on.")
    ] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last lines to show.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object a line.")] = False,
) -> None:
    """Show what the servers logged."""
    screen = Screen.detect()
    paths = Paths.from_environment()
    known = paths.log_names()
    if server is not None and server not in known:
        raise UnknownServer(
            f"No server {server!r} has a log in {paths.logs}.",
            hint=f"There are logs of {', '.join(known)}." if known else "Nothing has run yet.",
        )
    chosen = [server] if server else known
    if not chosen and not follow:
        screen.note(f"There are no logs in {paths.logs} yet.")
        return
    tails = {name: LogTail(paths.log_of(name)) for name in chosen}
    for entry in last_entries(paths, chosen, lines):
        _write(screen, entry, named=server is None, as_json=as_json)
    while follow:
        for name in chosen if server else paths.log_names():
            tail = tails.setdefault(name, LogTail(paths.log_of(name), from_start=True))
            for text in tail.new_lines():
                _write(screen, Entry(name, text), named=server is None, as_json=as_json)
        time.sleep(_LOOK_SECONDS)


def _write(screen: Screen, entry: Entry, *, named: bool, as_json: bool) -> None:
    if as_json:
        screen.write(json.dumps({"server": entry.server, "line": entry.text}) + "\n")
        return
    head = screen.style(f"{entry.server:<12}", "cyan") + " " if named else ""
    text = clean(entry.text)
    level = next((word for word in text.split(" ", 2)[1:2] if word in _LEVELS), "")
    screen.print(head + (screen.style(text, _LEVELS[level]) if level else text))
