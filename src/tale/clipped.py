"""Texts that are shown in part. Pure."""

from __future__ import annotations

__all__ = ["beginning", "clipped"]


def clipped(text: str, most: int) -> str:
    """Give a text as one line of so many characters at most; an ellipsis says that it goes on."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def beginning(text: str, most: int) -> str:
    """Give the first characters of a text as they are; a mark behind them says that it goes on."""
    return text if len(text) <= most else f"{text[:most]} […]"
