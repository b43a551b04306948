"""`tale memory`: what is remembered; search, show, add, forget and export it.

Below: `connection` (tools of the ux server), `memory_lines` (how it looks).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from tale.cli.connection import Connection
from tale.cli.memory_lines import doomed_lines, found_lines, note_lines, note_rows
from tale.cli.record import JsonObject, Record
from tale.cli.render import Column, Screen, clean, plural
from tale.errors import TaleError

__all__ = ["app"]

app = typer.Typer(name="memory", rich_markup_mode=None, add_completion=False, no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_FORMAT: JsonObject = {"type": "tale-memory", "version": 1}


class _Kind(StrEnum):
    fact = "fact"
    preference = "preference"
    decision = "decision"


@app.callback()
def memory() -> None:
    """Search what was said, and show, add or forget what is remembered."""


@app.command()
def search(
    text: Annotated[list[str], typer.Argument(metavar="TEXT", help="What to look for.")],
    why: Annotated[bool, typer.Option("--why", help="Say what each score is made of.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="At most.")] = 10,
    around: Annotated[
        int,
        typer.Option("--around", "-C", min=0, max=20, help="Turns before and after each to show."),
    ] = 1,
    as_json: _Json = False,
) -> None:
    """Find what was said in any conversation, and what was noted of it; the best first."""
    screen = Screen.detect()
    arguments: JsonObject = {"text": " ".join(text), "limit": limit, "around": around}
    reply = _connection(screen).call("ux", "memory_search", arguments, idempotent=True)
    if as_json:
        screen.json(reply.raw)
        return
    if (made := reply.number("made")) is not None:
        screen.note(f"The index is being made anew ({made:.0%}); until then less is found.")
    found = reply.records("found")
    if not found:
        screen.note("Nothing that is remembered has to do with it.")
        return
    for line in found_lines(found, screen, why=why):
        screen.print(line)


@app.command()
def show(
    note: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Note to show; all if missing.")
    ] = None,
    outdated: Annotated[
        bool, typer.Option("--all", help="Those, too, whose place a newer one has taken.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most.")] = 50,
    as_json: _Json = False,
) -> None:
    """List the notes, or show one with the turns that it came from.

    Pinned ones come first, what came of tasks last.
    """
    screen = Screen.detect()
    connection = _connection(screen)
    if note is not None:
        reply = connection.call("ux", "memory_note", {"id": note}, idempotent=True)
        if as_json:
            screen.json(reply.raw)
            return
        for line in note_lines(reply, screen):
            screen.print(line)
        return
    arguments: JsonObject = {"limit": limit, "outdated": outdated}
    reply = connection.call("ux", "memory_notes", arguments, idempotent=True)
    if as_json:
        screen.json(reply.raw)
        return
    found = reply.records("notes")
    if not found:
        screen.note('Nothing is noted yet. `tale memory add "…"` notes something.')
        return
    screen.table(
        [Column("ID"), Column("KIND"), Column("SAID", "right"), Column("NOTE", flexible=True)],
        note_rows(found),
    )


@app.command()
def add(
    text: Annotated[list[str], typer.Argument(metavar="TEXT", help="What is to be remembered.")],
    pin: Annotated[bool, typer.Option("--pin", help="Have every conversation know it.")] = False,
    kind: Annotated[
        _Kind | None, typer.Option("--kind", help="What it is; judged by the text if missing.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Note something. An older note about the same thing stays, marked as outdated."""
    screen = Screen.detect()
    arguments: JsonObject = {"text": " ".join(text), "pinned": pin}
    if kind is not None:
        arguments["kind"] = kind.value
    reply = _connection(screen).call("ux", "memory_add", arguments, idempotent=True)
    if as_json:
        screen.json(reply.raw)
        return
    pinned = ", pinned" if reply.flag("pinned") else ""
    screen.print(f"Noted as {reply.text('id')}: a {reply.text('kind')}{pinned}.")


@app.command()
def forget(
    identity: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="A note, a turn (SESSION/NUMBER), or a session."),
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", "-s", metavar="ID", help="A whole conversation.")
    ] = None,
    matching: Annotated[
        str | None,
        typer.Option("--matching", metavar="TEXT", help="Whatever holds this text."),
    ] = None,
    sure: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: _Json = False,
) -> None:
    """Forget for good: turns, what was noted of them, and their place in the index.

    A note goes with the turns that it came from and the answers to them. Tasks, their workspaces
    and the logs are not touched. What the model has computed of it leaves its prompt cache once
    other conversations take its place there.
    """
    screen = Screen.detect()
    given = {"id": identity, "session": session, "matching": matching}
    arguments: JsonObject = {name: value for name, value in given.items() if value is not None}
    if len(arguments) != 1:
        raise typer.BadParameter("name an ID, or give --session, or --matching.")
    connection = _connection(screen)
    if not sure:
        doomed = connection.call("ux", "memory_forget", {**arguments, "dry_run": True})
        if not (doomed.integer("turns") or doomed.integer("notes")):
            screen.json(doomed.raw) if as_json else screen.note("There is nothing to forget.")
            return
        for line in doomed_lines(doomed):
            screen.note(line, "bold")
        if not _agreed(screen):
            screen.note("Nothing was forgotten.")
            raise typer.Exit(1)
    gone = connection.call("ux", "memory_forget", arguments)
    if as_json:
        screen.json(gone.raw)
    else:
        screen.print(f"Forgotten: {_counted(gone)}.")
    for place in gone.texts("left"):
        screen.note(f"It may still be found in {clean(place)}", "yellow")


@app.command()
def export(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The file; standard output if missing.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace a file that is there.")
    ] = False,
) -> None:
    """Write all that is remembered as JSON lines.

    The first line is {"type": "tale-memory", "version": 1}. Each of the others is an object whose
    `type` is "session" (id, title, turns, created, updated), "turn" (session, seq, speaker, text,
    at, model, task, interrupted) or "note" (id, kind, text, importance, pinned, said, recorded,
    source, session, turns, task, superseded_by, superseded_at). Times are ISO 8601 in UTC.
    """
    screen = Screen.detect()
    if file is not None and file.exists() and not force:
        raise typer.BadParameter(f"{file} is there already; --force replaces it.")
    connection = _connection(screen)
    with _written(file, screen) as out:
        out.write(json.dumps(_FORMAT) + "\n")
        counts = _export(connection, out)
    told = [plural(count, kind) for kind, count in counts.items()]
    screen.note(f"Exported {', '.join(told) or 'nothing'}.")


def _export(connection: Connection, out: TextIO) -> dict[str, int]:
    counts: dict[str, int] = {}
    after = ""
    while True:
        page = connection.call("ux", "memory_export", {"after": after}, idempotent=True)
        for record in page.records("records"):
            counts[record.text("type")] = counts.get(record.text("type"), 0) + 1
            out.write(json.dumps(record.raw, ensure_ascii=False) + "\n")
        after = page.text("after")
        if not after:
            return counts


@contextmanager
def _written(file: Path | None, screen: Screen) -> Generator[TextIO]:
    """Open the file, which appears once it is whole; only its owner may read it.

    Raises:
        TaleError: It can't be written.
    """
    if file is None:
        yield screen.out
        screen.out.flush()
        return
    half = file.with_name(f"{file.name}.half")
    try:
        handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as out:
                yield out
            half.replace(file)
        finally:
            half.unlink(missing_ok=True)
    except OSError as error:
        raise TaleError(
            f"{file} can't be written: {error.strerror}.", hint="Name another file."
        ) from error


def _connection(screen: Screen) -> Connection:
    return Connection.open(screen, service="ux")


def _agreed(screen: Screen) -> bool:
    """Ask the person at the terminal.

    Raises:
        typer.BadParameter: There is nobody to ask.
    """
    if not (screen.err_is_terminal and sys.stdin.isatty()):
        raise typer.BadParameter("there is nobody to ask; --yes forgets without a question.")
    screen.err.write("Forget it for good? [y/N] ")
    screen.err.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _counted(gone: Record) -> str:
    parts = [plural(gone.integer("turns"), "turn"), plural(gone.integer("notes"), "note")]
    if sessions := gone.integer("sessions"):
        parts.append(f"{plural(sessions, 'conversation')} whole")
    return ", ".join(parts)
