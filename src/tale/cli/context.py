"""`tale context show`: what a model would be sent of a conversation now.

Below: `connection` (a tool of the ux server).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer

from tale.cli.connection import Connection
from tale.cli.record import JsonValue, Record
from tale.cli.render import Screen, clean, plural

__all__ = ["app", "window_lines"]

app = typer.Typer(name="context", rich_markup_mode=None, add_completion=False, no_args_is_help=True)


class _Role(StrEnum):
    UX = "ux"
    TASK = "task"


@app.callback()
def context() -> None:
    """Show what a model is sent of a conversation."""


@app.command()
def show(
    session: Annotated[
        str | None,
        typer.Option("--session", "-s", metavar="ID", help="The last used one if missing."),
    ] = None,
    model: Annotated[
        _Role, typer.Option("--model", help="The model that it would be sent to.")
    ] = _Role.UX,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the window as it would be sent now: each part, its tokens, and what is left out.

    What is cached was there at the last answer, so that it isn't computed again.
    """
    screen = Screen.detect()
    arguments: dict[str, JsonValue] = {"session": session, "model": model.value}
    reply = Connection.open(screen, service="ux").call("ux", "context", arguments, idempotent=True)
    if as_json:
        screen.json(reply.raw)
        return
    for line in window_lines(reply, screen):
        screen.print(line)


def window_lines(reply: Record, screen: Screen) -> Iterator[str]:
    """Write a window, part by part."""
    parts = reply.records("parts")
    head = screen.style(reply.text("session"), "bold")
    cached = sum(part.integer("tokens") for part in parts if part.flag("cached"))
    tokens = reply.integer("tokens")
    yield (
        f"{head} for {reply.text('model')}: "
        f"{tokens:,} of {reply.integer('budget'):,} tokens, {cached:,} of them cached"
    )
    for part in parts:
        count = part.integer("count", 1)
        name = part.text("name")
        said = f" ({plural(count, 'turn')})" if name == "turns" else ""
        state = "cached" if part.flag("cached") else "new"
        yield ""
        tokens = part.integer("tokens")
        head = f"{name}{said}: {tokens:,} {'token' if tokens == 1 else 'tokens'}, {state}"
        yield screen.style(head, "bold", "cyan" if part.flag("cached") else "green")
        yield clean(part.text("text")).strip("\n")
    yield from _left_out(reply, screen)


def _left_out(reply: Record, screen: Screen) -> Iterator[str]:
    left_out = reply.record("left_out")
    lines: list[str] = []
    if turns := left_out.integer("turns"):
        told = "the summary tells of them"
        if not left_out.flag("summed_up"):
            told = "they are not all summed up yet"
        begins = reply.integer("begins")
        lines.append(f"Left out: {plural(turns, 'turn')} before number {begins}; {told}.")
    shortened = left_out.raw.get("shortened")
    if isinstance(shortened, list) and shortened:
        numbers = ", ".join(str(one) for one in shortened)
        lines.append(f"Without their middle: turns {numbers}.")
    if lines:
        yield ""
        yield from (screen.style(line, "dim") for line in lines)
