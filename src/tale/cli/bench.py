"""`tale bench`: what a person feels, measured on the running models.

For each role: time to the first token of a new prompt (cold) and of one that was just there (warm),
tokens a second, and the first token after the other model was used. Each figure stands beside its
baseline of the same run. Below: `measure` (one streamed request), `pool_view`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Annotated

import typer

from tale.cli.connection import Connection
from tale.cli.measure import Measured, Measurer
from tale.cli.models import milliseconds, ratio, switching_table
from tale.cli.pool_view import ModelView, PoolView, SwitchingView
from tale.cli.render import Column, Screen, human_seconds
from tale.cli.spinner import Spinner, Waiting
from tale.errors import ServiceUnavailable

__all__ = ["Figures", "app", "run_bench"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of one role; times in milliseconds.

    Attributes:
        cold_ms: First token of a prompt that was never seen.
        warm_ms: First token of a prompt whose prefix is cached, the request before being its own.
        switched_ms: The same, the request before being the other model's.
        reload_ms: Loading the model and a cold first token: what a switch costs where only one
            model fits. Loading was measured when the model was started.
    """

    role: str
    model: str
    cold_ms: float
    warm_ms: float
    switched_ms: float
    tokens_per_second: float | None
    load_seconds: float | None
    reload_ms: float | None


@app.command()
def bench(
    rounds: Annotated[
        int, typer.Option("--rounds", "-r", min=1, max=100, help="Requests for each figure.")
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure first tokens, speed, and what switching between the models costs."""
    screen = Screen.detect()
    connection = Connection.open(screen, service="models")
    pool = PoolView.read(connection.models("GET", "/pool"))
    missing = [model.name for model in pool.core if not model.is_ready]
    if missing or not pool.core:
        raise ServiceUnavailable(
            f"Not ready yet: {', '.join(missing) or 'the models'}.",
            hint="`tale models` shows what they are waiting for.",
        )
    measurer = Measurer(connection.url_of("models"), connection.runtime().token)
    with Spinner(screen, "measuring") as spinner:
        figures = run_bench(
            measurer.first_tokens, pool.core, rounds, lambda text: spinner.say(Waiting(text))
        )
    if as_json:
        screen.json({"rounds": rounds, "roles": [asdict(item) for item in figures]})
        return
    _show(screen, figures, rounds)


def run_bench(
    ask: Callable[[str, bool], Measured],
    core: tuple[ModelView, ...],
    rounds: int,
    say: Callable[[str], None],
) -> list[Figures]:
    """Measure every role.

    Args:
        ask: Sends a request to a role, with a new prompt or the same as before.
        core: The core models.
        rounds: Requests for each figure.
        say: Gets told what is being measured.
    """
    roles = [model.role for model in core if model.role]
    cold: dict[str, list[Measured]] = {}
    warm: dict[str, list[Measured]] = {}
    for role in roles:
        say(f"measuring {role}: new prompts")
        cold[role] = [ask(role, True) for _ in range(rounds)]
        say(f"measuring {role}: the same prompt")
        ask(role, False)  # fills the cache, and makes the request before the first one its own
        warm[role] = [ask(role, False) for _ in range(rounds)]
    say("measuring: alternating between the models")
    switched: dict[str, list[Measured]] = {role: [] for role in roles}
    for _ in range(rounds):
        for role in roles:
            switched[role].append(ask(role, False))
    return [
        _figures(model, cold[role], warm[role], switched[role])
        for model in core
        if (role := model.role)
    ]


def _figures(
    model: ModelView, cold: list[Measured], warm: list[Measured], switched: list[Measured]
) -> Figures:
    speeds = [m.tokens_per_second for m in (*cold, *warm) if m.tokens_per_second]
    cold_ms, load = _first(cold), model.load_seconds
    return Figures(
        role=model.role or "",
        model=model.name,
        cold_ms=cold_ms,
        warm_ms=_first(warm),
        switched_ms=_first(switched),
        tokens_per_second=median(speeds) if speeds else None,
        load_seconds=load,
        reload_ms=None if load is None else load * 1000 + cold_ms,
    )


def _first(found: list[Measured]) -> float:
    return median(item.first_token_ms for item in found)


def _show(screen: Screen, figures: list[Figures], rounds: int) -> None:
    screen.table(
        [
            Column("ROLE"),
            Column("MODEL"),
            Column("TTFT COLD", "right"),
            Column("WARM", "right"),
            Column("RATIO", "right"),
            Column("TOKENS/S", "right"),
        ],
        [
            [
                item.role,
                item.model,
                milliseconds(item.cold_ms),
                milliseconds(item.warm_ms),
                ratio(item.warm_ms, item.cold_ms),
                f"{item.tokens_per_second:.1f}" if item.tokens_per_second else "-",
            ]
            for item in figures
        ],
    )
    screen.print()
    screen.table(
        *switching_table(
            [
                SwitchingView(item.role, item.warm_ms, item.switched_ms, item.reload_ms)
                for item in figures
            ]
        )
    )
    loads = ", ".join(
        f"{item.role} {human_seconds(item.load_seconds)}"
        for item in figures
        if item.load_seconds is not None
    )
    screen.note(
        f"\nTTFT is the time to the first token, median of {rounds}: cold for a new prompt,\n"
        "warm for one whose prefix is cached. Reloaded is what a switch costs where only one\n"
        f"model fits: loading it (at the start: {loads or 'unknown'}) and a cold first token."
    )
