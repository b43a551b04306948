"""`tale status --wire`: the calls between the servers, a row for each edge and each instance.

Every server is asked for what it counts; one that doesn't answer is left out and named. Above:
`status`. Below: `transport`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from tale.cli.connection import Connection
from tale.cli.record import JsonObject, JsonValue, Record
from tale.cli.render import Column, Screen, plural
from tale.cli.transport import request_json
from tale.errors import TaleError

__all__ = ["gather", "show_wire"]

_SECONDS = 2.0
_AT_ONCE = 16


def gather(connection: Connection, servers: Sequence[Record]) -> JsonObject:
    """Ask every server that is ready for its part of the wire.

    Returns:
        By server: what it counts, or None where it doesn't answer. Processes that make and take no
        such calls (the models', the fork server, the user's own) are left out.
    """
    token = connection.runtime().token

    def ask(server: Record) -> JsonValue:
        if server.text("state") != "ready":
            return None
        try:
            url = f"{server.text('url')}/wire"
            return request_json("GET", url, token=token, silence=_SECONDS).raw
        except TaleError:
            return None

    asked = [server for server in servers if _makes_calls(server)]
    # At once: those that hang would hold each other up.
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        reports = threads.map(ask, asked)
        return dict(zip((server.text("name") for server in asked), reports, strict=True))


def _makes_calls(server: Record) -> bool:
    """Leave out the models' processes, the fork server, which serves nobody, and the user's own."""
    without_address = server.text("state") == "ready" and not server.text("url")
    own = not server.flag("foreign")
    return own and not server.text("name").startswith("model-") and not without_address


def show_wire(screen: Screen, wire: JsonObject) -> None:
    """Print the tables."""
    number = ("CALLS", "ERRORS", "IN FLIGHT", "RETRIES", "HEDGES", "P50", "P95", "P99")
    columns = [Column("FROM"), Column("TO"), Column("TOOL")]
    columns += [Column(title, "right") for title in number]
    rows = [
        row
        for caller, report in _reports(wire)
        for edge in report.records("made")
        for row in [_edge_row(caller, edge.text("service"), edge)]
    ]
    rows += [
        _edge_row("(served)", server, edge)
        for server, report in _reports(wire)
        for edge in report.records("served")
    ]
    if not rows:
        screen.print("No calls between servers so far.")
    else:
        columns.append(Column("ERRORS BY KIND" if any(row[-1] for row in rows) else ""))
        screen.table(columns, rows)
    instances = [
        [
            caller,
            one.text("name"),
            _state(screen, one.text("breaker")),
            str(one.integer("in_flight")),
        ]
        for caller, report in _reports(wire)
        for one in report.records("instances")
    ]
    if instances:
        screen.print()
        screen.table(
            [Column("FROM"), Column("INSTANCE"), Column("BREAKER"), Column("IN FLIGHT", "right")],
            instances,
        )
    if silent := [name for name, report in wire.items() if report is None]:
        screen.print()
        screen.print(f"{plural(len(silent), 'server')} did not answer: {', '.join(silent)}.")


def _reports(wire: JsonObject) -> Iterator[tuple[str, Record]]:
    for name, report in wire.items():
        if report is not None:
            yield name, Record(report)


def _edge_row(caller: str, callee: str, edge: Record) -> list[str]:
    errors = {
        code: count for code, count in edge.record("errors").raw.items() if isinstance(count, int)
    }
    seen = edge.record("percentiles")
    times = [_milliseconds(seen.number(key)) for key in ("p50", "p95", "p99")]
    return [
        caller,
        callee,
        edge.text("tool"),
        str(edge.integer("calls")),
        str(sum(errors.values())),
        str(edge.integer("in_flight")),
        str(edge.integer("retries")),
        str(edge.integer("hedges")),
        *times,
        ", ".join(f"{code} {count}" for code, count in errors.items()),
    ]


def _milliseconds(seconds: float | None) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds else ""


def _state(screen: Screen, breaker: str) -> str:
    return screen.style(breaker, "green" if breaker == "closed" else "yellow")
