"""Pieces of an answer as lines of a terminal.

What belongs to code that is open is carried from piece to piece in `Setting`, a value, so that what
isn't finished yet can be set again and again. Rich and Pygments come in with the first piece that
needs them. Above: `page`. Below: `markdown_blocks`, `highlight`, `rich_markdown`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tale.cli.highlight import coloured_line
from tale.cli.markdown_blocks import CodeEnd, CodeLine, CodeStart, Piece, Prose
from tale.cli.render import clip, display_width, paint

__all__ = ["Setting", "set_pieces"]

_WIDEST: Final = 100
"""Cells of prose: longer lines are hard to read."""
_NARROWEST: Final = 8
_RULE: Final = 40
_PLAIN: Final = re.compile(r"[^\W\d_](?:[^\W_]|[ ,;:'\"?()%€$/…—.-])*\Z")
"""A line in which nothing is marked, so that Rich need not look at it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of code that is open.

    Attributes:
        language: As its fence names it.
        code: Its lines so far.
    """

    language: str = ""
    code: tuple[str, ...] = ()


def set_pieces(
    setting: Setting,
    pieces: Iterable[Piece],
    columns: int,
    *,
    color: bool,
    live: bool = False,
) -> tuple[Setting, list[str]]:
    """Set pieces of an answer.

    Args:
        setting: What the pieces before them have left open.
        pieces: The pieces.
        columns: Cells in a row of the terminal.
        color: Whether they may be styled.
        live: They will be drawn anew, so each line has to fit into one row.

    Returns:
        What they leave open, and their lines.
    """
    lines: list[str] = []
    for piece in pieces:
        match piece:
            case Prose(source, gap):
                lines += [
                    *_gap(gap),
                    *_prose(source, max(_NARROWEST, min(columns - 1, _WIDEST)), color=color),
                ]
            case CodeStart(language, gap):
                setting = Setting(language)
                lines += [*_gap(gap), _rule(language, columns, color=color)]
            case CodeLine(text):
                text = _fitting(text, columns - 1) if live else text
                setting = Setting(setting.language, (*setting.code, text))
                lines.append(coloured_line(setting.code, setting.language) if color else text)
            case CodeEnd():
                setting = Setting()
                lines.append(_rule("", columns, color=color))
    return setting, lines


def _prose(source: str, columns: int, *, color: bool) -> list[str]:
    if _PLAIN.match(source) and display_width(source) <= columns:
        return [source.strip()]
    from tale.cli.rich_markdown import block_lines  # noqa: PLC0415

    return block_lines(source, columns, color=color)


def _gap(wanted: bool) -> list[str]:
    return [""] if wanted else []


def _rule(language: str, columns: int, *, color: bool) -> str:
    """Draw the line above or below code; code itself stands alone, so that it can be copied."""
    name = f"── {clip(language, _RULE)} " if language else ""
    line = name + "─" * (min(_RULE, columns - 1) - display_width(name))
    return paint(line, "dim") if color else line


def _fitting(line: str, cells: int) -> str:
    """Give the end of a line that is too long, where it is written just now."""
    line = line.expandtabs(8)
    if display_width(line) <= cells:
        return line
    while display_width(line) >= cells:
        line = line[max(1, (display_width(line) - cells) // 2) :]
    return f"…{line}"
