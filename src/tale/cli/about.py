"""`tale version`."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from tale import __version__
from tale.cli.render import Screen

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def version(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the version."""
    screen = Screen.detect()
    if as_json:
        screen.json({"version": __version__, "python": platform.python_version()})
    else:
        screen.print(f"tale {__version__} (Python {platform.python_version()})")
