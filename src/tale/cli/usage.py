"""`tale usage`: the tokens that the models took, and what one naive loop would have taken.

Asks the models server of a running daemon, and reads the ledger's file itself where none answers;
it starts nothing and waits for nobody. Below: `connection`, `usage_view`, `models.ledger_file`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer

from tale.cli.connection import Connection
from tale.cli.record import Record
from tale.cli.render import Column, Screen, plural
from tale.cli.usage_view import UsageLine, UsageView
from tale.errors import ConfigError, DaemonUnreachable, DeadlineExceeded
from tale.orchestration import control_client
from tale.paths import Paths

__all__ = ["app", "parse_since", "saving_lines"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_AGO: Final = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_READY_SECONDS: Final = 1.0
_SILENCE_SECONDS: Final = 15.0


@app.command()
def usage(
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Count from then on: 7d, 24h, today, 2026-11-01; everything if missing.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the tokens spent by model and kind of request, and what was saved."""
    screen = Screen.detect()
    begin = parse_since(since, datetime.now) if since else None
    report = _report(begin)
    if as_json:
        screen.json(report.raw)
        return
    view = UsageView.read(report)
    if not view.total.requests:
        when = f" since {since}" if since else " yet"
        screen.note(f'No model was asked anything{when}. `tale submit "…"` or `tale chat` does.')
        return
    screen.table(
        [
            Column("MODEL", flexible=True),
            Column("KIND"),
            Column("REQUESTS", "right"),
            Column("IN", "right"),
            Column("CACHED", "right"),
            Column("COMPUTED", "right"),
            Column("OUT", "right"),
        ],
        [*map(_row, view.lines), _row(view.total)],
    )
    screen.print()
    for line in saving_lines(view):
        screen.print(line)


def parse_since(text: str, now: Callable[[], datetime]) -> float:
    """Read when to begin, in local time; gives Unix seconds.

    Raises:
        ConfigError: It is none of the forms that are allowed; the message lists them.
    """
    try:
        if found := _AGO.fullmatch(text):
            begin = now() - timedelta(**{_UNITS[found[2]]: int(found[1])})
        elif text in ("today", "yesterday"):
            midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
            begin = midnight - timedelta(days=text == "yesterday")
        else:
            begin = datetime.fromisoformat(text)
        return max(0.0, begin.timestamp())
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"--since {text!r} can't be understood.",
            hint="Say 30m, 24h, 7d, 2w, today, yesterday, a date (2026-11-01) or a time "
            "(2026-11-01T14:30).",
        ) from error


def saving_lines(view: UsageView) -> list[str]:
    """Compare with the naive loop, in words."""
    total, naive = view.total, view.naive
    spent, would = total.prompt + total.completion, naive.prompt + naive.completion
    if view.sent_saved is None:
        return ["Nothing yet that a single large model would have been asked too."]
    lines = [
        f"A single large model with full history would have taken {would:,} tokens for the same",
        f"work, in and out; tale took {spent:,}: {_fewer(view.sent_saved)}.",
    ]
    if view.computed_saved is not None:
        lines += [
            f"The large model computed {view.large_computed:,} of them; that one, with a perfect",
            f"prefix cache, {naive.computed:,}: {_fewer(view.computed_saved)}.",
        ]
    if total.failed:
        lines.append(f"{plural(total.failed, 'request')} failed. `tale logs models` says why.")
    return lines


def _fewer(saved: float) -> str:
    percent = round(abs(saved) * 100)
    if not percent:
        return "as many"
    return f"{percent:,} % {'fewer' if saved > 0 else 'more'}"


def _row(line: UsageLine) -> list[str]:
    counts = (line.requests, line.prompt, line.cached, line.computed, line.completion)
    return [line.model or "total", line.kind, *(f"{count:,}" for count in counts)]


def _report(since: float | None) -> Record:
    paths = Paths.from_environment()
    if control_client.read_runtime(paths) is not None:
        query = "" if since is None else f"?since={since:.0f}"
        # A daemon that has just gone, or whose models server is being started, isn't waited for:
        # the ledger's own file has all but the last second.
        with suppress(DaemonUnreachable, DeadlineExceeded):
            connection = Connection.running()
            connection.control("wait", deadline=_READY_SECONDS, service="models")
            return connection.models("GET", f"/pool/usage{query}", silence=_SILENCE_SECONDS)
    # Only here: beside a daemon neither is needed.
    from tale.models.ledger_file import read_usage  # noqa: PLC0415
    from tale.models.usage import report  # noqa: PLC0415

    return Record.parse(json.dumps(asdict(report(read_usage(paths.ledger, since), since))))
