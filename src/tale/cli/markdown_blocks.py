"""Markdown that is still being written, cut into what is finished and what is not. Pure.

A terminal can't take back what has scrolled away, so an answer is printed block by block: a
paragraph, a heading, an item of a list, a quote or a table once the next thing has begun, and code
line by line. Only whole lines decide, so that what comes out is the same however the stream is cut.
Blocks follow CommonMark, with tables. Above: `page`. Below: nothing of tale's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

__all__ = ["BEGINNING", "CodeEnd", "CodeLine", "CodeStart", "Piece", "Prose", "Reading", "read"]

_FENCE: Final = re.compile(r" {0,3}(?P<marks>`{3,}|~{3,}) *(?P<info>[^`]*)$")
_HEADING: Final = re.compile(r" {0,3}#{1,6}(?:\s|$)")
_RULE: Final = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$")
_UNDERLINE: Final = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_ITEM: Final = re.compile(r"(?P<mark> {0,3}(?:[-*+]|\d{1,9}[.)]))(?P<gap>[ \t]+|$)")
_QUOTE: Final = re.compile(r" {0,3}>")
_DELIMITERS: Final = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_UNDECIDED: Final = re.compile(r"\s*(?:[`~#>|=_*+-]{0,3}|\d{1,9}[.)]?)\s*$")
"""The beginning of a line of which can't be told yet what it will be."""
_MOST_LINES: Final = 16
"""Lines of a paragraph that are drawn again and again; what is longer is finished in parts."""
_WIDEST_MARK: Final = 4
"""More blanks than that behind a list's mark are code, not indentation."""

_Kind = Literal["paragraph", "heading", "item", "quote", "table", "rule", "code"]
_SET_OFF: Final[frozenset[_Kind]] = frozenset({"heading", "table", "rule", "code"})
"""What has an empty line around it, whether the model has written one or not."""


@dataclass(frozen=True, slots=True)
class Prose:
    """A finished block of Markdown.

    Attributes:
        source: Its lines.
        gap: Whether an empty line stands before it.
    """

    source: str
    gap: bool


@dataclass(frozen=True, slots=True)
class CodeStart:
    """A fence opens; `language` is what stands behind it, `gap` as in `Prose`."""

    language: str
    gap: bool


@dataclass(frozen=True, slots=True)
class CodeLine:
    """The next line of code."""

    text: str


@dataclass(frozen=True, slots=True)
class CodeEnd:
    """The fence closes, or the text ends inside it."""


Piece = Prose | CodeStart | CodeLine | CodeEnd


@dataclass(frozen=True, slots=True)
class _Fence:
    marks: str
    indent: int

    def closed_by(self, line: str) -> bool:
        bare = line.strip()
        same = bool(bare) and set(bare) == {self.marks[0]} and len(bare) >= len(self.marks)
        return same and _indent(line) <= _WIDEST_MARK - 1


@dataclass(frozen=True, slots=True)
class Reading:
    """How far a text was read.

    Attributes:
        partial: The last line, as far as it is there.
        lines: The block that is not finished yet.
        kind: What that is.
        content: Where the text of an item begins, in columns; what is indented so far is its own.
        blank: Whether empty lines were read since the last line that was not.
        fence: The fence that is open.
        last: What was finished last; None at the beginning.
        gap: Whether an empty line stands before the block that is not finished.
    """

    partial: str = ""
    lines: tuple[str, ...] = ()
    kind: _Kind = "paragraph"
    content: int = 0
    blank: bool = False
    fence: _Fence | None = None
    last: _Kind | None = None
    gap: bool = False

    def rest(self, *, live: bool = False) -> list[Piece]:
        """Give what comes out if the text ends here.

        Args:
            live: It goes on: a last line that may still become anything is left out.
        """
        reading, pieces = self, list[Piece]()
        if self.partial and not (live and self._undecided):
            reading, pieces = _line(replace(self, partial=""), self.partial)
        return [*pieces, *reading.unfinished()]

    @property
    def _undecided(self) -> bool:
        if self.fence:
            return not self.partial.strip(f"{self.fence.marks[0]} ")
        return bool(_UNDECIDED.match(self.partial))

    def unfinished(self) -> list[Piece]:
        """Give the block that is not finished, as it is."""
        if self.fence:
            return [CodeEnd()]
        return [Prose("\n".join(self.lines), self.gap)] if self.lines else []


BEGINNING: Final = Reading()


def read(reading: Reading, text: str) -> tuple[Reading, list[Piece]]:
    """Read on.

    Args:
        reading: How far the text was read.
        text: How it goes on.

    Returns:
        How far it is read now, and what is finished by that.
    """
    *whole, partial = (reading.partial + text).split("\n")
    return _lines(replace(reading, partial=partial), whole)


def _lines(reading: Reading, lines: Iterable[str]) -> tuple[Reading, list[Piece]]:
    pieces: list[Piece] = []
    for line in lines:
        reading, more = _line(reading, line)
        pieces += more
    return reading, pieces


def _line(reading: Reading, line: str) -> tuple[Reading, list[Piece]]:
    """Read one whole line."""
    if reading.fence:
        return _code(reading, reading.fence, line)
    if not line.strip():
        return _empty(reading)
    if reading.lines and _goes_on(reading, line):
        if reading.kind == "paragraph" and len(reading.lines) >= _MOST_LINES:
            closed, pieces = _close(reading)
            return replace(closed, lines=(line,), gap=False), pieces
        skipped = ("",) if reading.blank else ()
        kind: _Kind = reading.kind
        if kind == "paragraph" and _DELIMITERS.match(line) and _is_row(reading.lines[-1], line):
            kind = "table"
        lines = (*reading.lines, *skipped, line)
        return replace(reading, lines=lines, kind=kind, blank=False), []
    closed, pieces = _close(reading)
    opened, more = _open(closed, line)
    return opened, [*pieces, *more]


def _code(reading: Reading, fence: _Fence, line: str) -> tuple[Reading, list[Piece]]:
    if fence.closed_by(line):
        return replace(reading, fence=None, last="code", blank=False), [CodeEnd()]
    margin = min(fence.indent, _indent(line))
    return reading, [CodeLine(line[margin:])]


def _empty(reading: Reading) -> tuple[Reading, list[Piece]]:
    if reading.kind == "item" and reading.lines:
        return replace(reading, blank=True), []  # an indented line may still belong to it
    closed, pieces = _close(reading)
    return replace(closed, blank=True), pieces


def _goes_on(reading: Reading, line: str) -> bool:
    """Tell whether a line belongs to the block that is open."""
    if reading.kind == "item":
        if _indent(line) >= reading.content:
            return True
        return not reading.blank and not _begins_block(line)
    if reading.kind == "quote":
        return bool(_QUOTE.match(line)) or not _begins_block(line)
    if reading.kind == "paragraph" and _UNDERLINE.match(line):
        return True
    return reading.kind in ("paragraph", "table") and not _begins_block(line)


def _begins_block(line: str) -> bool:
    return any(form.match(line) for form in (_FENCE, _HEADING, _RULE, _ITEM, _QUOTE))


def _close(reading: Reading) -> tuple[Reading, list[Piece]]:
    """Finish the block that is open, if there is one."""
    if not reading.lines:
        return reading, []
    piece = Prose("\n".join(reading.lines), reading.gap)
    return replace(reading, lines=(), last=reading.kind), [piece]


def _open(reading: Reading, line: str) -> tuple[Reading, list[Piece]]:
    """Begin a block with a line."""
    fence, item = _FENCE.match(line), _ITEM.match(line)
    kind: _Kind = "paragraph"
    if fence:
        kind = "code"
    elif _HEADING.match(line):
        kind = "heading"
    elif _RULE.match(line):
        kind = "rule"
    elif item:
        kind = "item"
    elif _QUOTE.match(line):
        kind = "quote"
    gap = reading.last is not None and (
        reading.blank or kind in _SET_OFF or reading.last in _SET_OFF - {"heading"}
    )
    begun = replace(reading, kind=kind, gap=gap, blank=False)
    if fence:
        open_fence = _Fence(fence["marks"], _indent(line))
        return replace(begun, fence=open_fence), [CodeStart(fence["info"].strip(), gap)]
    if kind in ("heading", "rule"):
        return replace(begun, last=kind), [Prose(line, gap)]
    return replace(begun, lines=(line,), content=_content(item) if item else 0), []


def _content(item: re.Match[str]) -> int:
    """Give the column in which an item's text begins."""
    gap = len(item["gap"].expandtabs(4))
    return len(item["mark"]) + (gap if 1 <= gap <= _WIDEST_MARK else 1)


def _is_row(head: str, delimiters: str) -> bool:
    """Tell whether a line can be the head of a table with such a second line."""
    return "|" in head and "|" in delimiters


def _indent(line: str) -> int:
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())
