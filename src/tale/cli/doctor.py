"""`tale doctor`: everything tale needs, looked at, each with how to mend it.

Below: `checks`, which do the looking.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from tale.cli.checks import Check, Level, all_checks
from tale.cli.render import Screen, Style, plural
from tale.paths import Paths

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_STYLES: dict[Level, Style] = {"ok": "green", "warn": "yellow", "fail": "red"}


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check everything tale needs, and say how to mend it. Exits with 1 if something fails."""
    screen = Screen.detect()
    found: list[Check] = []
    for check in all_checks(Paths.from_environment()):
        found.append(check)
        if not as_json:
            _write(screen, check)
    failed = sum(check.level == "fail" for check in found)
    warned = sum(check.level == "warn" for check in found)
    if as_json:
        screen.json({"checks": [asdict(check) for check in found], "ok": not failed})
    else:
        screen.print()
        screen.print(_verdict(screen, failed, warned))
    raise typer.Exit(1 if failed else 0)


def _write(screen: Screen, check: Check) -> None:
    level = screen.style(check.level.ljust(4), "bold", _STYLES[check.level])
    indent = " " * 18
    detail = check.detail.replace("\n", f"\n{indent}")
    screen.print(f"{level}  {check.name.ljust(10)}  {detail}")
    if check.mend and check.level != "ok":
        screen.print(f"{indent}{screen.style('mend:', 'bold')} {check.mend}")


def _verdict(screen: Screen, failed: int, warned: int) -> str:
    if failed:
        more = f" and {plural(warned, 'warning')}" if warned else ""
        return screen.style(f"{plural(failed, 'problem')}{more}.", "red")
    if warned:
        return screen.style(f"It works; {plural(warned, 'warning')}.", "yellow")
    return screen.style("Everything is as it should be.", "green")
