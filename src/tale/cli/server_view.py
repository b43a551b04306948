"""`tale inspect`: one server in full, with what it took of the machine lately.

Below: the daemon's control endpoint through `connection`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import typer

from tale.cli.completing import server_names
from tale.cli.connection import Connection
from tale.cli.record import Record
from tale.cli.render import Screen, clean, human_bytes, human_seconds, plural
from tale.errors import DaemonError

__all__ = ["app", "server_lines", "sparkline"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_BARS: Final = "▁▂▃▄▅▆▇█"
# What a growth of less is in an hour is the allocator's business.
_GROWTH: Final = 1 << 20
_TELLING_SECONDS: Final = 120.0
"""A history that is shorter shows how a server starts, not whether it leaks."""


@app.command()
def inspect(
    name: Annotated[
        str,
        typer.Argument(
            metavar="SERVER",
            help="Which; or a service, for all of its servers.",
            autocompletion=server_names,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one server in full: what it takes, how it ended before, where its log is."""
    screen = Screen.detect()
    servers = Connection.running().control("status").records("servers")
    chosen = [server for server in servers if name in (server.text("name"), server.text("service"))]
    if not chosen:
        known = ", ".join(server.text("name") for server in servers)
        raise DaemonError(f"There is no server {name!r}.", hint=f"There are: {known}.")
    if as_json:
        screen.json({"servers": [server.raw for server in chosen]})
        return
    for server in chosen:
        heading, *lines = server_lines(server)
        screen.print(screen.style(heading, "bold"))
        for line in lines:
            screen.print(line)


def server_lines(server: Record) -> Iterator[str]:
    """Describe a server, line by line; the first one is its heading."""
    state = "crash-looping" if server.flag("crash_looping") else server.text("state")
    yield f"{server.text('name')} is {state}"
    if pid := server.integer("pid"):
        up = human_seconds(server.number("uptime") or 0.0)
        yield f"  process {pid}, up {up}, {plural(server.integer('restarts'), 'restart')} before"
    if url := server.text("url"):
        yield f"  at {url}"
    if server.integer("rss"):
        yield f"  {_taken(server)}"
    history = server.records("history")
    if len(history) > 1:
        span = human_seconds(_span(server))
        for title, key in (("memory", "rss"), ("processor", "cpu")):
            values = [moment.number(key) or 0.0 for moment in history]
            yield f"  {title.ljust(9)}  {sparkline(values)}  the last {span}"
    if exits := server.texts("exits"):
        yield "  ended before:"
        yield from (f"    {line}" for line in exits)
    if tail := server.texts("tail"):
        yield "  with:"
        yield from (f"    {clean(line)}" for line in tail)
    yield f"  log: {server.text('log')}"


def sparkline(values: Sequence[float]) -> str:
    """Draw values as bars between zero and the largest."""
    most = max(values, default=0.0)
    if most <= 0:
        return _BARS[0] * len(values)
    return "".join(_BARS[min(7, int(8 * value / most))] for value in values)


def _span(server: Record) -> float:
    """Give the seconds that its history covers."""
    times = [moment.number("at") or 0.0 for moment in server.records("history")]
    return times[-1] - times[0] if times else 0.0


def _taken(server: Record) -> str:
    growth = server.number("growth") or 0.0
    told = growth > _GROWTH and _span(server) >= _TELLING_SECONDS
    grows = f" (growing {human_bytes(growth)} an hour)" if told else ""
    return ", ".join(
        (
            f"{human_bytes(server.integer('rss'))} of memory{grows}",
            f"{server.number('cpu') or 0:.0f}% of a processor",
            plural(server.integer("fds"), "open file"),
            plural(server.integer("threads"), "thread"),
        )
    )
