"""What the panels of checkpoints and of the log show. Pure.

Above: `view`. Below: `shown`, `said`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final

from tale.cli.checkpoint_view import Checkpoint
from tale.cli.log_files import Entry
from tale.cli.render import clean
from tale.dashboard.said import bytes_of, since
from tale.dashboard.shown import Column, Row, Span, Table, Tone, plain, text

__all__ = ["checkpoints", "log"]

_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ?")
_LOGGER: Final = re.compile(r"^(?:tale\S*|__main__) ")
_LEVELS: Final[dict[str, Tone]] = {
    "ERROR": "bad",
    "CRITICAL": "bad",
    "WARNING": "warn",
    "DEBUG": "dim",
}
_WORDS: Final = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


def checkpoints(found: Sequence[Checkpoint] | None, now: datetime) -> Table:
    """Show the checkpoints of the chosen task, newest first.

    Args:
        found: Them, as they come; None while they are asked for.
        now: The present.
    """
    if found is None:
        return Table(empty="Looking …")
    return Table(
        columns=(
            Column("n", right=True),
            Column("saved", flexible=True),
            Column(),
            Column("files", right=True),
            Column("changed", right=True),
            Column("size", right=True, since=60),
            Column("when", right=True),
        ),
        rows=tuple(_checkpoint_row(one, now) for one in reversed(found)),
        title=text(f"{len(found)}", "dim") if found else (),
        empty="This task has none yet; the first is taken before it changes a file.",
    )


def _checkpoint_row(one: Checkpoint, now: datetime) -> Row:
    return Row(
        (
            text(one.number, "strong"),
            text(one.why),
            text("kept" if one.pinned else "", "accent"),
            text(one.files),
            text(one.changes or "", "accent"),
            text(bytes_of(one.size), "dim"),
            text(since(one.at, now), "dim"),
        ),
        key=str(one.number),
    )


def log(entries: Sequence[Entry], zone: tzinfo | None) -> Table:
    """Show the end of the log, oldest first.

    Args:
        entries: Its lines.
        zone: In which times are told; as they are written if missing.
    """
    return Table(
        columns=(Column(), Column(), Column(flexible=True)),
        rows=tuple(_log_row(entry, zone) for entry in entries),
        empty="Nothing was logged yet.",
    )


def _log_row(entry: Entry, zone: tzinfo | None) -> Row:
    line = clean(entry.text)
    found = _STAMP.match(line)
    rest = line[found.end() :] if found else line
    level, _, after = rest.partition(" ")
    if level in _WORDS:
        # What logged it is mostly the server, which stands before it.
        rest = _LOGGER.sub("", after)
    tone = _LEVELS.get(level, "plain")
    said = plain(rest) if found else f"  {plain(rest)}"
    return Row(
        (
            text(_time(found[1], zone) if found else "", "dim"),
            text(entry.server, "dim"),
            (Span(said, tone),),
        )
    )


@lru_cache(1024)
def _time(stamp: str, zone: tzinfo | None) -> str:
    try:
        return f"{datetime.fromisoformat(stamp).astimezone(zone):%H:%M:%S}"
    except ValueError:
        return stamp[11:19]
