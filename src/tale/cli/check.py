"""The result of looking at one thing. Above: `checks` and its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "Level"]

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found of one thing.

    Attributes:
        name: The thing.
        level: `warn` is worse than it could be, `fail` keeps tale from working.
        detail: What was found.
        mend: What to do about it.
    """

    name: str
    level: Level
    detail: str
    mend: str = ""
