"""Replacing one place in a text, and what to say if it isn't one. Pure. Above: `tasks.tools`.

An edit may come a second time, after a crash: one that shows in the text already is done.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final

__all__ = ["Done", "Edited", "NotOne", "edit"]

_SHOWN: Final = 5
_MARGIN: Final = 2
_LIKE: Final = 0.5
# A shorter `new` may well stand there by chance.
_TELLING: Final = 6


@dataclass(frozen=True, slots=True)
class Edited:
    """The text with the place replaced; `line` is where, from 1."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Done:
    """The text says so already."""

    line: int


@dataclass(frozen=True, slots=True)
class NotOne:
    """There is no such place, or more than one; says so to a model, with lines that are near."""

    why: str


def edit(text: str, old: str, new: str) -> Edited | Done | NotOne:
    """Replace the one place where `text` says `old`.

    Line ends are those of the text, whatever the edit's are.
    """
    if "\r\n" in text:
        old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
    if not old:
        return NotOne("`old` is empty. Name the text to replace, or write the whole file.")
    if old == new:
        return NotOne("`old` and `new` are the same: nothing would change.")
    places = _places(text, old)
    if _is_done(text, old, new, places):
        return Done(_line_of(text, text.index(new)))
    if len(places) == 1:
        place = places[0]
        return Edited(text[:place] + new + text[place + len(old) :], _line_of(text, place))
    if places:
        lines = ", ".join(str(_line_of(text, place)) for place in places[:_SHOWN])
        more = ", ..." if len(places) > _SHOWN else ""
        return NotOne(
            f"`old` is there {len(places)} times (lines {lines}{more}). "
            "Make it longer, so that only one place has it."
        )
    there = f"`new` is, at line {_line_of(text, text.index(new))}. " if new and new in text else ""
    return NotOne(f"`old` is not in the file. {there}{_near(text, old)}")


def _places(text: str, part: str) -> list[int]:
    places: list[int] = []
    place = text.find(part)
    while place >= 0:
        places.append(place)
        place = text.find(part, place + 1)
    return places


def _is_done(text: str, old: str, new: str, places: list[int]) -> bool:
    """Tell whether each `old` that is left is a part of a `new` that was put in."""
    if not places:
        return len("".join(new.split())) >= _TELLING and new in text
    inside = new.find(old)
    return inside >= 0 and all(text.startswith(new, max(0, place - inside)) for place in places)


def _line_of(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _near(text: str, old: str) -> str:
    """Quote the lines that are most like `old`."""
    lines, wanted = text.splitlines(), old.strip().splitlines()
    if not lines or not wanted:
        return "The file is empty." if not lines else ""
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted[0].strip())
    best, where = 0.0, 0
    for number, line in enumerate(lines):
        matcher.set_seq1(line.strip())
        if matcher.real_quick_ratio() > best and (ratio := matcher.ratio()) > best:
            best, where = ratio, number
    if best < _LIKE:
        return f"No line is like it; the file has {len(lines)}. Read it first."
    end = min(len(lines), where + min(len(wanted), _SHOWN) + _MARGIN)
    start = max(0, where - _MARGIN)
    quoted = "\n".join(f"{number + 1}: {lines[number]}" for number in range(start, end))
    return f"Nearest are lines {start + 1} to {end}:\n{quoted}"
