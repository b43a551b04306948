"""`tale models`: what is resident and how quick it is; `pull`, `load` and `unload`.

Below: `connection` (the models server), `pool_view`; `pull` fetches in this process and needs no
daemon (`pulling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from tale.cli.completing import model_names
from tale.cli.connection import Connection
from tale.cli.pool_view import ModelView, PoolView, SwitchingView
from tale.cli.render import Column, Screen, human_bytes, human_seconds
from tale.cli.spinner import Spinner

__all__ = ["app", "milliseconds", "ratio", "switching_table"]

app = typer.Typer(name="models", rich_markup_mode=None, add_completion=False)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The model's name.", autocompletion=model_names)
]
_LOAD_SECONDS = 600.0


def milliseconds(value: float | None) -> str:
    """Write a time to first token; a dash where it isn't measured yet."""
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def ratio(value: float | None, base: float | None) -> str:
    """Write how many times `base` a value is."""
    if value is None or not base:
        return "-"
    times = value / base
    return f"{times:.2f}x" if times < 10 else f"{times:.0f}x"


@app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: _Json = False) -> None:
    """Show the models: who is resident, in how much memory, and how quick."""
    if context.invoked_subcommand is not None:
        return
    screen = Screen.detect()
    report = Connection.open(screen, service="models").models("GET", "/pool")
    if as_json:
        screen.json(report.raw)
        return
    pool = PoolView.read(report)
    screen.table(
        [
            Column("MODEL", flexible=True),
            Column("ROLE"),
            Column("STATE"),
            Column("MEMORY", "right"),
            Column("TTFT COLD", "right"),
            Column("WARM", "right"),
            Column("TOKENS/S", "right"),
            Column("LOAD", "right"),
        ],
        [_row(model, screen) for model in pool.models],
    )
    _explain(pool, screen)


def _row(model: ModelView, screen: Screen) -> list[str]:
    speed, load = model.tokens_per_second, model.load_seconds
    return [
        model.name,
        model.role or "",
        screen.style(
            "resident" if model.is_ready and model.resident else model.state,
            "green" if model.is_ready else "yellow",
        ),
        human_bytes(model.memory_bytes) if model.memory_bytes else "-",
        milliseconds(model.ttft_cold_ms),
        milliseconds(model.ttft_warm_ms),
        f"{speed:.1f}" if speed else "-",
        human_seconds(load) if load is not None else "-",
    ]


def _explain(pool: PoolView, screen: Screen) -> None:
    """Write what the table has no column for."""
    for model in pool.models:
        if not model.is_ready and (model.detail or model.last_error):
            screen.print(f"{model.name}: {model.detail or model.last_error}")
    screen.print()
    backends = dict.fromkeys(model.backend for model in pool.models)
    processes = ", ".join(str(model.pid) for model in pool.models if model.pid)
    where = f" (processes {processes})" if processes else ""
    screen.print(f"Backend: {', '.join(backends) or 'none yet'}{where}. TTFT: time to first token.")
    taken = sum(model.memory_bytes or 0 for model in pool.models)
    screen.print(
        f"{human_bytes(taken)} in models; {human_bytes(pool.available_bytes)} of memory available, "
        f"{human_bytes(pool.reserve_bytes)} of it reserved."
    )
    if measured := [s for s in pool.switching if s.switched_ms is not None]:
        screen.print()
        screen.table(*switching_table(measured))
    elif screen.err_is_terminal:
        screen.note("`tale bench` measures first tokens, speed and the cost of switching.")


def switching_table(found: Sequence[SwitchingView]) -> tuple[list[Column], list[list[str]]]:
    """Lay out what switching costs: both resident, against loading for each switch."""
    columns = [
        Column("SWITCHING TO"),
        Column("SAME BEFORE", "right"),
        Column("OTHER BEFORE", "right"),
        Column("RATIO", "right"),
        Column("IF RELOADED", "right"),
        Column("RATIO", "right"),
    ]
    rows = [
        [
            s.role,
            milliseconds(s.same_ms),
            milliseconds(s.switched_ms),
            ratio(s.switched_ms, s.same_ms),
            milliseconds(s.reload_ms),
            ratio(s.reload_ms, s.same_ms),
        ]
        for s in found
    ]
    return columns, rows


@app.command()
def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME|pair", help="A model, or the embedded pair.")
    ] = "pair",
    as_json: _Json = False,
) -> None:
    """Fetch a model, or the embedded pair.

    Goes on where it was interrupted, and verifies what it has.
    """
    from tale.cli.pulling import pull_models  # noqa: PLC0415 - brings aiohttp

    screen = Screen.detect()
    files = pull_models(screen, name)
    if as_json:
        screen.json({"files": [str(file) for file in files]})
        return
    for file in files:
        screen.print(str(file))


@app.command()
def load(name: _Name, as_json: _Json = False) -> None:
    """Load a further model beside the resident pair, if it fits."""
    screen = Screen.detect()
    connection = Connection.open(screen, service="models")
    with Spinner(screen, f"loading {name}"):
        report = connection.models("POST", "/pool/load", {"model": name}, silence=_LOAD_SECONDS)
    if as_json:
        screen.json(report.raw)
    else:
        screen.print(f"{name} is loaded.")


@app.command()
def unload(name: _Name, as_json: _Json = False) -> None:
    """Unload a further model. The resident pair is never unloaded."""
    screen = Screen.detect()
    connection = Connection.open(screen, service="models")
    report = connection.models("POST", "/pool/unload", {"model": name}, silence=_LOAD_SECONDS)
    if as_json:
        screen.json(report.raw)
    else:
        screen.print(f"{name} is unloaded.")
