"""`tale scale` and `tale reload`: what runs, changed while it runs.

Below: the daemon's control endpoint through `connection`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tale.cli.completing import service_names
from tale.cli.connection import Connection
from tale.cli.render import Screen, plural
from tale.cli.spinner import Spinner

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_READY_SECONDS = 120.0


@app.command()
def scale(
    service: Annotated[
        str,
        typer.Argument(metavar="SERVICE", help="Such as execution.", autocompletion=service_names),
    ],
    count: Annotated[int, typer.Argument(metavar="N", help="How many of it are to run.")],
    as_json: _Json = False,
) -> None:
    """Run so many processes of a service, until the daemon stops; calls go to the least busy.

    Those that are taken away end what they do first. Set it for good in tale.toml.
    """
    screen = Screen.detect()
    connection = Connection.running()
    with Spinner(screen, f"scaling {service}", connection.waiting_for):
        connection.control("scale", deadline=_READY_SECONDS, service=service, count=count)
    if as_json:
        screen.json({"service": service, "count": count})
    else:
        runs = "is" if count == 1 else "are"
        screen.print(f"{plural(count, f'{service} server')} {runs} ready.")


@app.command()
def reload(as_json: _Json = False) -> None:
    """Read tale.toml again; only servers that read what changed are restarted."""
    screen = Screen.detect()
    connection = Connection.running()
    with Spinner(screen, "reading the settings", connection.waiting_for):
        changes = connection.control("reload", deadline=_READY_SECONDS)
    if as_json:
        screen.json(changes.raw)
        return
    done = [
        f"{what} {', '.join(names)}"
        for what in ("started", "stopped", "restarted")
        if (names := changes.texts(what))
    ]
    screen.print(f"{'; '.join(done).capitalize()}." if done else "Nothing has changed.")
