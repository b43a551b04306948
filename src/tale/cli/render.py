"""What the user sees: where it goes, whether it is coloured, and how figures and tables look.

Data goes to standard output, everything else to standard error; a stream that is no terminal gets
no escape sequence. Tables are laid out here because importing Rich takes longer than all the rest
of `tale status`; Rich comes in for progress bars alone (`models pull`). Below: nothing of tale's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TextIO

__all__ = [
    "Align",
    "Column",
    "Screen",
    "Style",
    "clean",
    "clip",
    "display_width",
    "human_bytes",
    "human_seconds",
    "one_line",
    "paint",
    "plural",
    "table_lines",
    "unstyled",
]

Style = Literal["bold", "dim", "red", "green", "yellow", "magenta", "cyan"]
Align = Literal["left", "right"]

_CODES: Mapping[Style, str] = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "magenta": "35",
    "cyan": "36",
}
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
# Control characters but tab and newline, other line ends, and what turns the direction of writing:
# what a model wrote must not steer the terminal, nor look like what it is not.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Marks on the letter before, and what only joins: many vowels of Hindi or Thai take no cell.
_NO_CELL = frozenset({"Mn", "Me", "Cf"})
_GAP = "  "
_PIPED_WIDTH = 100
_ROWS = 24


def paint(text: str, *styles: Style) -> str:
    """Wrap text in the escape sequences of its styles."""
    codes = ";".join(_CODES[style] for style in styles)
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text


def clean(text: str) -> str:
    """Take out control characters, so that a text can't move the cursor or set the title."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Fold a text into one line."""
    return " ".join(clean(text).split())


def display_width(text: str) -> int:
    """Count the terminal cells that a text takes; escape sequences take none."""
    bare = unstyled(text)
    return len(bare) if bare.isascii() else sum(map(_cells_of, bare))


def unstyled(text: str) -> str:
    """Take out escape sequences."""
    return _ESCAPE.sub("", text)


def _cells_of(char: str) -> int:
    if unicodedata.category(char) in _NO_CELL:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def clip(text: str, width: int) -> str:
    """Shorten an unstyled text to `width` cells, the last one an ellipsis if something is lost."""
    if display_width(text) <= width:
        return text
    kept = text[: max(0, width - 1)]
    while kept and display_width(kept) > width - 1:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def human_bytes(count: float) -> str:
    """Write a size in binary units: `450 MiB`, `1.2 GiB`."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}" if unit in ("GiB", "TiB") else f"{value:.0f} {unit}"


def human_seconds(seconds: float) -> str:
    """Write a duration: `0.42 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    for large, small, size in (("min", "s", 60), ("h", "min", 3600), ("d", "h", 86400)):
        part = {"s": 1, "min": 60, "h": 3600}[small]
        if whole < size * {"min": 60, "h": 24, "d": 10**9}[large]:
            rest = whole % size // part
            return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: `1 task`, `3 tasks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its head.
        align: Numbers go right.
        flexible: Whether it is the one that is shortened where the terminal is too narrow.
    """

    title: str
    align: Align = "left"
    flexible: bool = False


def table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int | None = None
) -> list[str]:
    """Lay out a table, head first.

    Args:
        columns: The columns.
        rows: Their cells, which may be styled, except in a flexible column.
        width: Cells that a line may take; None shortens nothing.
    """
    table = [[column.title for column in columns], *rows]
    widths = [max(display_width(row[at]) for row in table) for at in range(len(columns))]
    if width is not None:
        excess = sum(widths) + len(_GAP) * (len(columns) - 1) - width
        for at, column in enumerate(columns):
            if column.flexible and excess > 0:
                widths[at] = max(8, widths[at] - excess)
    return [_GAP.join(_cells(row, columns, widths)).rstrip() for row in table]


def _cells(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    cells: list[str] = []
    for cell, column, width in zip(row, columns, widths, strict=True):
        shown = clip(cell, width) if column.flexible else cell
        padding = " " * (width - display_width(shown))
        cells.append(padding + shown if column.align == "right" else shown + padding)
    return cells


@dataclass(frozen=True, slots=True)
class Screen:
    """The two output streams and what they can show.

    Attributes:
        out: Where data goes.
        err: Where words about it go.
        out_is_terminal: Whether a person reads `out`; else it is plain and whole.
        err_is_terminal: The same of `err`.
        color: Whether terminals may be coloured.
        width: Cells in a line.
        redraws: Whether the cursor can be moved on `out`, so that lines can be drawn anew.
    """

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    out_is_terminal: bool = False
    err_is_terminal: bool = False
    color: bool = False
    width: int = _PIPED_WIDTH
    redraws: bool = False

    @classmethod
    def detect(cls, environ: Mapping[str, str] = os.environ) -> Screen:
        """Look at this process's streams; `NO_COLOR` and `TERM=dumb` are respected."""
        dumb = environ.get("TERM") == "dumb"
        return cls(
            sys.stdout,
            sys.stderr,
            sys.stdout.isatty(),
            sys.stderr.isatty() and not dumb,
            not environ.get("NO_COLOR") and not dumb,
            shutil.get_terminal_size((_PIPED_WIDTH, _ROWS)).columns,
            sys.stdout.isatty() and not dumb,
        )

    def size(self) -> tuple[int, int]:
        """Look up how many cells in a line, and how many lines, the terminal has now."""
        try:
            size = os.get_terminal_size(self.out.fileno())
        except (OSError, ValueError):  # no terminal, or no file at all
            return self.width, _ROWS
        return size.columns or self.width, size.lines or _ROWS

    def style(self, text: str, *styles: Style) -> str:
        """Style a piece of standard output."""
        return paint(text, *styles) if self.color and self.out_is_terminal else text

    def style_err(self, text: str, *styles: Style) -> str:
        """Style a piece of standard error."""
        return paint(text, *styles) if self.color and self.err_is_terminal else text

    def write(self, text: str) -> None:
        """Write a piece of standard output now, without a line end."""
        self.out.write(text)
        self.out.flush()

    def print(self, text: str = "") -> None:
        """Write a line to standard output."""
        self.write(text + "\n")

    def json(self, value: object) -> None:
        """Write data as JSON, indented for a person, one line for a program."""
        self.print(
            json.dumps(value, ensure_ascii=False, indent=2 if self.out_is_terminal else None)
        )

    def note(self, text: str, *styles: Style) -> None:
        """Write a line about the data to standard error; dim unless styles are given."""
        self.err.write(self.style_err(text, *(styles or ("dim",))) + "\n")
        self.err.flush()

    def error(self, message: str, hint: str = "") -> None:
        """Write `error: …` and what to do about it to standard error."""
        self.err.write(f"{self.style_err('error:', 'bold', 'red')} {clean(message)}\n")
        if hint:
            self.err.write(f"{self.style_err('hint:', 'bold')} {clean(hint)}\n")
        self.err.flush()

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Write a table to standard output; flexible columns are shortened on a terminal only."""
        lines = table_lines(columns, rows, width=self.width if self.out_is_terminal else None)
        self.print(self.style(lines[0], "dim"))
        for line in lines[1:]:
            self.print(line)
