"""`tale dashboard`: everything on one screen, live, in the terminal or in the browser.

Textual is imported here alone, and only once the screen is about to open. Below: the package
`tale.dashboard`, `dashboard_web`.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tale.cli.connection import Connection
from tale.cli.render import Screen
from tale.cli.transport import request_json
from tale.errors import TaleError
from tale.paths import Paths

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class NoTerminal(TaleError):
    """There is no terminal to draw on."""

    code = "no_terminal"
    exit_code = 2


@app.command()
def dashboard(
    web: Annotated[bool, typer.Option("--web", help="Open it in the browser instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it once, as JSON.")] = False,
) -> None:
    """Show all on one screen: tasks, checkpoints, models, servers, tokens, log.

    `?` in it shows its keys; q leaves it, and tale runs on.
    """
    screen = Screen.detect()
    if web:
        from tale.cli.dashboard_web import open_in_browser  # noqa: PLC0415 - seldom needed

        open_in_browser(Connection.open(screen), screen, as_json=as_json)
        return
    if as_json:
        connection = Connection.running()
        url = f"{connection.url_of('gateway')}/api/overview"
        screen.json(request_json("GET", url, token=connection.runtime().token).raw)
        return
    if not (screen.out_is_terminal and sys.stdin.isatty()):
        raise NoTerminal(
            "`tale dashboard` needs a terminal to draw on.",
            hint="`tale status` and `tale tasks` print the same; so does --json.",
        )
    from tale.dashboard.run import run_dashboard  # noqa: PLC0415 - Textual takes 0.4 s

    run_dashboard(Paths.from_environment())
