"""Laying out what a panel shows for a width: columns, bars, sparklines. Pure.

Above: `lines`, which colours and shows it. Below: `shown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, chop_cells

from tale.dashboard.shown import Bar, Cell, Chart, Column, Note, Row, Span, Spark, Table, Tone

__all__ = ["Drawn", "Line", "clipped", "draw", "heights", "width_of", "wrapped"]

Line = tuple[Span, ...]
"""One line of a screen."""

_GAP: Final = 2
_LEAST_FLEXIBLE: Final = 8
_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_BAR_CELLS: Final = (6, 24)
_SPARK_CELLS: Final = (8, 24)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A table for one width; without a head where no column has a title."""

    head: Line | None
    lines: tuple[Line, ...]
    keys: tuple[str, ...]


def draw(table: Table, width: int) -> Drawn:
    """Lay out a table.

    Args:
        table: What is to be shown.
        width: Cells that a line may take, and is filled up to.
    """
    if not table.rows:
        said = _note(Note(table.empty, "dim"), width) if table.empty else []
        return Drawn(None, tuple(said), ("",) * len(said))
    shown = [at for at, column in enumerate(table.columns) if width >= column.since]
    columns = [table.columns[at] for at in shown]
    rows = [row for row in table.rows if isinstance(row, Row)]
    cells = [[_drawn(row.cells[at], width) for at in shown] for row in rows]
    heads = [_title(column) for column in columns] if rows and _titled(columns) else []
    widths = _widths(columns, [*cells, heads] if heads else cells, width)
    drawn = iter(cells)
    lines: list[Line] = []
    keys: list[str] = []
    for row in table.rows:
        if isinstance(row, Note):
            lines += _note(row, width)
        elif isinstance(row, Chart):
            lines.append(_chart(row, width))
        else:
            lines.append(_joined(next(drawn), columns, widths))
        keys += [row.key if isinstance(row, Row) else ""] * (len(lines) - len(keys))
    return Drawn(_joined(heads, columns, widths) if heads else None, tuple(lines), tuple(keys))


def _titled(columns: Sequence[Column]) -> bool:
    return any(column.title for column in columns)


def _note(note: Note, width: int) -> list[Line]:
    return [(Span(line, note.tone),) for line in wrapped(note.words, width, note.most)]


def _chart(chart: Chart, width: int) -> Line:
    before, after = Span(f"{chart.before}  ", "dim"), Span(f"  {chart.after}", "dim")
    room = max(1, width - width_of((before, after)))
    each = max(1, room // max(1, len(chart.values)))
    curve = "".join(sign * each for sign in heights(chart.values))
    return clipped((before, Span(curve[-room:], chart.tone), after), width)


def heights(values: Sequence[float | None], top: float | None = None) -> str:
    """Draw a series as bars between zero and the largest; a gap where a value is missing.

    What is more than nothing is at least a low bar, so that it can be seen.
    """
    most = top or max((value for value in values if value is not None), default=0.0)
    return "".join(" " if value is None else _height(value, most) for value in values)


def _height(value: float, most: float) -> str:
    if value <= 0 or most <= 0:
        return _HEIGHTS[0]
    return _HEIGHTS[max(1, min(7, int(8 * value / most)))]


def width_of(spans: Iterable[Span]) -> int:
    """Count the cells that they take."""
    return sum(cell_len(span.text) for span in spans)


def clipped(spans: Sequence[Span], width: int) -> Line:
    """Cut a line to a width; where something is lost its last cell says so."""
    if width_of(spans) <= width:
        return tuple(spans)
    kept: list[Span] = []
    room = width - 1
    for span in spans:
        taken = _cut(span.text, room)
        room -= cell_len(taken)
        kept.append(Span(taken, span.tone))
        if taken != span.text:
            break
    if kept and width > 0:
        last = kept.pop()
        kept.append(Span(f"{last.text.rstrip()}…", last.tone))
        return tuple(kept)
    return ()


def wrapped(words: str, width: int, most: int | None = None) -> list[str]:
    """Break a text into lines at its spaces, where it has any in time.

    Args:
        words: One paragraph.
        width: Cells of a line.
        most: Lines to give; what is left over then shows in the last one, as an ellipsis.
    """
    lines: list[str] = []
    line: str | None = None
    for word in words.split(" "):
        if line is not None and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line = None
        line = word if line is None else f"{line} {word}"
        if cell_len(line) > max(1, width):
            *full, line = chop_cells(line, max(1, width))
            lines += full
    lines.append(line or "")
    if most is not None and len(lines) > most:
        rest = " ".join(lines[most - 1 :])
        lines = [*lines[: most - 1], "".join(s.text for s in clipped((Span(rest),), width))]
    return lines


def _title(column: Column) -> Line:
    return (Span(column.title, "dim"),) if column.title else ()


def _drawn(cell: Cell, width: int) -> Line:
    """Give a cell as text."""
    if isinstance(cell, Bar):
        return _bar(cell, _between(_BAR_CELLS, width // 7))
    if isinstance(cell, Spark):
        return _spark(cell, _between(_SPARK_CELLS, width // 9))
    return cell


def _bar(bar: Bar, cells: int) -> Line:
    filled = min(cells, max(0, round(bar.percent * cells / 100)))
    spans = (Span("━" * filled, bar.tone), Span("─" * (cells - filled), "faint"))
    return tuple(span for span in spans if span.text)


def _spark(spark: Spark, cells: int) -> Line:
    latest = spark.values[-cells:]
    drawn = heights(latest, spark.top).rjust(cells)
    return (Span(drawn, spark.tone),)


def _between(bounds: tuple[int, int], value: int) -> int:
    least, most = bounds
    return min(most, max(least, value))


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Line]], width: int) -> list[int]:
    """Give each column what its widest cell takes, and the flexible one what is left."""
    widths = [max((width_of(row[at]) for row in rows), default=0) for at in range(len(columns))]
    flexible = next((at for at, column in enumerate(columns) if column.flexible), None)
    if flexible is not None:
        # A column of empty cells takes no gap either.
        others = [size for at, size in enumerate(widths) if at != flexible and size]
        widths[flexible] = max(_LEAST_FLEXIBLE, width - sum(others) - _GAP * len(others))
    return widths


def _joined(row: Sequence[Line], columns: Sequence[Column], widths: Sequence[int]) -> Line:
    spans: list[Span] = []
    for cell, column, width in zip(row, columns, widths, strict=True):
        if not width:
            continue
        if spans:
            spans.append(Span(" " * _GAP))
        kept = clipped(cell, width)
        padding = Span(" " * (width - width_of(kept)))
        spans += [padding, *kept] if column.right else [*kept, padding]
    return tuple(_merged(spans))


def _merged(spans: Iterable[Span]) -> Iterable[Span]:
    """Join neighbours of one tone; a terminal is then sent fewer changes of colour."""
    tone: Tone = "plain"
    pieces: list[str] = []
    for span in spans:
        if not span.text:
            continue
        if span.tone != tone and pieces:
            yield Span("".join(pieces), tone)
            pieces = []
        tone = span.tone
        pieces.append(span.text)
    if pieces:
        yield Span("".join(pieces), tone)


def _cut(words: str, width: int) -> str:
    if cell_len(words) <= width:
        return words
    return next(iter(chop_cells(words, width)), "") if width > 0 else ""
