"""`tale status`: every server, the models, and one line that says whether all is well.

Needs the control endpoint and one HTTP request, nothing heavy. Below: `connection`, `pool_view`,
`wire_view`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from tale import __version__
from tale.cli.connection import Connection
from tale.cli.pool_view import ModelView, PoolView
from tale.cli.record import Record
from tale.cli.render import Column, Screen, Style, clean, human_bytes, human_seconds
from tale.cli.transport import request_json
from tale.cli.views import read_time
from tale.errors import DaemonUnreachable, TaleError
from tale.paths import Paths
from tale.storage.set_aside import rescues
from tale.wire.verdict import verdict

__all__ = ["app", "last_words", "summary"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

# A models server that is busy starting must not hold up the picture of everything else.
_POOL_SECONDS = 2.0
_STYLES: dict[str, Style] = {
    "ready": "green",
    "starting": "yellow",
    "waiting": "yellow",
    "loading": "yellow",
    "recovering": "yellow",
    "retrying": "yellow",
    "draining": "yellow",
    "stopping": "yellow",
    "unloading": "yellow",
    "backoff": "red",
    "crash-looping": "red",
    "stopped": "red",
}


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    wire: Annotated[
        bool, typer.Option("--wire", help="Show the calls between the servers instead.")
    ] = False,
) -> None:
    """Show the servers and the models. Exits with 3 if the daemon is not running."""
    screen = Screen.detect()
    connection = Connection(Paths.from_environment())
    try:
        report = connection.control("status")
    except DaemonUnreachable:
        if as_json:
            screen.json({"running": False, "version": __version__})
        else:
            screen.print("The daemon is not running.")
            if screen.err_is_terminal:
                screen.note("`tale serve --detach` starts it; so does any command that needs it.")
        raise typer.Exit(DaemonUnreachable.exit_code) from None
    servers = report.records("servers")
    if wire:
        from tale.cli.wire_view import gather, show_wire  # noqa: PLC0415 - brings threads

        seen = gather(connection, servers)
        screen.json({"running": True, "wire": seen}) if as_json else show_wire(screen, seen)
        return
    pool, trouble = _pool(connection, servers)
    if as_json:
        damaged = [str(one) for one in rescues(connection.paths.data)]
        shown = {"running": True, **report.raw, "pool": pool.raw if pool else None}
        screen.json({**shown, "damaged": damaged})
        return
    models = PoolView.read(pool) if pool else None
    _show(screen, connection, report, models, trouble)


def _pool(connection: Connection, servers: tuple[Record, ...]) -> tuple[Record | None, str]:
    """Ask the models server, if it is there to be asked; else say why not."""
    state = next((s.text("state") for s in servers if s.text("service") == "models"), "missing")
    url = next((s.text("url") for s in servers if s.text("service") == "models"), "")
    if state != "ready" or not url:
        return None, f"the models server is {state}"
    try:
        runtime = connection.runtime()
        pool = request_json("GET", f"{url}/pool", token=runtime.token, silence=_POOL_SECONDS)
    except TaleError as error:
        return None, error.message
    return pool, ""


def _show(
    screen: Screen,
    connection: Connection,
    report: Record,
    models: PoolView | None,
    trouble: str,
) -> None:
    runtime = connection.runtime()
    servers = report.records("servers")
    head = f"tale {report.text('version')}"
    since = read_time(report, "started")
    age = f", up {human_seconds((datetime.now(UTC) - since).total_seconds())}" if since else ""
    facts = f"process {report.integer('pid')}{age}"
    screen.print(f"{screen.style(head, 'bold')} at {runtime.gateway} ({facts})")
    screen.print()
    screen.table(
        [
            Column("SERVER"),
            Column("STATE"),
            Column("PID", "right"),
            Column("UPTIME", "right"),
            Column("RESTARTS", "right"),
            Column("MEMORY", "right"),
            Column("CPU", "right"),
            Column("LAST EXIT" if any(s.text("last_exit") for s in servers) else "", flexible=True),
        ],
        [_server_row(server, screen) for server in servers],
    )
    if models is not None and models.models:
        screen.print()
        screen.table(
            [
                Column("MODEL"),
                Column("ROLE"),
                Column("STATE"),
                Column("MEMORY", "right"),
                Column("BUSY", "right"),
                Column("FALLBACKS", "right"),
                Column("RECOVERIES", "right"),
                Column("", flexible=True),
            ],
            [_model_row(model, screen) for model in models.models],
        )
    for line in last_words(servers):
        screen.print(screen.style(line, "dim"))
    for rescue in rescues(connection.paths.data):
        screen.print()
        screen.print(screen.style(f"{rescue} `tale doctor` says what to do.", "yellow"))
    well, text = summary(servers, models, trouble)
    screen.print()
    said = text if well else f"{text} `tale logs` says more."
    screen.print(screen.style(said, "green" if well else "yellow"))


def last_words(servers: tuple[Record, ...]) -> Iterator[str]:
    """Quote what servers wrote that keep failing."""
    for server in servers:
        if server.flag("crash_looping") and (tail := server.texts("tail")):
            yield ""
            yield f"{server.text('name')} ended with:"
            yield from (f"  {clean(line)}" for line in tail)


def _state(server: Record) -> str:
    return "crash-looping" if server.flag("crash_looping") else server.text("state")


def _server_row(server: Record, screen: Screen) -> list[str]:
    state = _state(server)
    rss, cpu, uptime = server.number("rss"), server.number("cpu"), server.number("uptime")
    return [
        server.text("name"),
        screen.style(state, _STYLES.get(state, "bold")),
        str(server.integer("pid") or ""),
        human_seconds(uptime) if uptime else "",
        str(server.integer("restarts")),
        human_bytes(rss) if rss else "",
        f"{cpu:.0f}%" if cpu is not None else "",
        server.text("last_exit"),
    ]


def _model_row(model: ModelView, screen: Screen) -> list[str]:
    return [
        model.name,
        model.role or "",
        screen.style(model.state, _STYLES.get(model.state, "bold")),
        human_bytes(model.memory_bytes) if model.memory_bytes else "",
        f"{model.in_flight}/{model.slots}" if model.slots else str(model.in_flight),
        str(model.fallbacks),
        str(model.recoveries),
        model.detail if not model.is_ready else "",
    ]


def summary(servers: tuple[Record, ...], models: PoolView | None, trouble: str) -> tuple[bool, str]:
    """Say whether all is well.

    Returns:
        Whether it is, and the sentence.
    """
    core = models.core if models else ()
    wrong = [f"{s.text('name')} is {_state(s)}" for s in servers if s.text("state") != "ready"]
    wrong += [f"{m.name} ({m.role}) is {m.state}" for m in core if not m.is_ready]
    if not core:
        told = trouble if models is None else "no core model is configured yet"
        wrong.append(told.rstrip("."))
    return verdict(wrong, len(servers), sum(server.integer("restarts") for server in servers))
