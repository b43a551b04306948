"""Pieces of Markdown. Below everything else here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["cell", "code", "console", "table"]


def code(text: str) -> str:
    """Give a text as it would be typed.

    What is between backticks may hold no bar in a table: GitHub and the site differ in how it is
    written there.
    """
    if "|" in text:
        return f"<code>{escape(text).replace('|', '&#124;')}</code>"
    return f"`{text}`"


def cell(text: str) -> str:
    """Give a text that may stand in a table."""
    return " ".join(text.replace("|", "\\|").split())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Give the lines of a table, with an empty one behind it."""
    lines = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(map(cell, line)) + " |" for line in lines), ""]


def console(lines: Sequence[str]) -> list[str]:
    """Give commands as they are typed, with an empty line behind them."""
    return ["```console", *(f"$ {line}" for line in lines), "```", ""]
