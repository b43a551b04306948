"""What a panel shows, as values: tables of cells whose tones say what they mean. Pure.

A view makes these out of facts and knows neither widths nor colours; `drawing` lays them out for a
width, and the widget gives each tone its colour. All text in them is plain: `plain` takes out what
could move a cursor, and nothing here is ever read as markup. Above: `drawing`, `lines`. Below:
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "Bar",
    "Cell",
    "Chart",
    "Column",
    "Note",
    "Row",
    "Span",
    "Spark",
    "Table",
    "Tone",
    "as_it_is",
    "plain",
    "text",
]

Tone = Literal["plain", "strong", "dim", "faint", "good", "warn", "bad", "accent"]
"""What a piece of text means; the theme says how that looks. Faint is for rules, not for words."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one tone."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Bar:
    """How much of something is done, 0 to 100; as wide as the panel allows."""

    percent: int
    tone: Tone = "accent"


@dataclass(frozen=True, slots=True)
class Spark:
    """A series of values, oldest first, between zero and `top` (its largest, if missing).

    A moment of which nothing is known is None, and leaves a gap.
    """

    values: tuple[float | None, ...]
    tone: Tone = "accent"
    top: float | None = None


Cell: TypeAlias = tuple[Span, ...] | Bar | Spark


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its head; a table without any has no line for heads.
        right: Whether it is aligned to the right, as numbers are.
        flexible: Whether it takes what the others leave, and is cut where that is too little.
        since: Cells that the panel must have for it to be shown.
    """

    title: str = ""
    right: bool = False
    flexible: bool = False
    since: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A row, and what it stands for; a row without a key can't be chosen."""

    cells: tuple[Cell, ...]
    key: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Words that stand between rows, over all columns, broken into lines; they can't be chosen.

    Attributes:
        words: One paragraph; none is an empty line.
        tone: Its tone.
        most: Lines to show at most; None is all.
    """

    words: str
    tone: Tone = "plain"
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """A series over all columns, between two words: each value as many cells wide as there is room.

    Attributes:
        before: What it is of.
        values: Oldest first.
        after: What it comes to.
        tone: The curve's tone.
    """

    before: str
    values: tuple[float | None, ...]
    after: str = ""
    tone: Tone = "accent"


@dataclass(frozen=True, slots=True)
class Table:
    """What a panel shows.

    Attributes:
        title: What stands behind the panel's name, in its head line.
        columns: How the cells of all rows are aligned.
        rows: The rows, as many as there are.
        empty: What is said instead where there are none.
    """

    columns: tuple[Column, ...] = ()
    rows: tuple[Row | Note | Chart, ...] = ()
    title: tuple[Span, ...] = ()
    empty: str = ""


def text(words: object, tone: Tone = "plain") -> tuple[Span, ...]:
    """Make a cell of one tone; of nothing, an empty one."""
    said = plain(str(words)) if words is not None else ""
    return (Span(said, tone),) if said else ()


def as_it_is(line: str) -> str:
    """Keep the spaces of a line, which draw a tree or are code, and only what shows itself."""
    return "".join(filter(str.isprintable, line.expandtabs(4)))


def plain(words: str) -> str:
    """Fold a text into one line of characters that only ever show themselves."""
    folded = " ".join(words.split())
    return folded if folded.isprintable() else "".join(filter(str.isprintable, folded))
