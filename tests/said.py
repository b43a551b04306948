"""Conversations for tests of what is made of them: turns without a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Said:
    """A turn."""

    seq: int
    speaker: Literal["user", "assistant"]
    text: str
    task: str | None = None


def said(*texts: str) -> list[Said]:
    """Make a conversation in which the user and tale take turns."""
    return [Said(n, "user" if n % 2 else "assistant", text) for n, text in enumerate(texts, 1)]


def talk(sizes: Sequence[int]) -> list[Said]:
    """Make a conversation whose turns have so many characters each."""
    return said(*("x" * size for size in sizes))
