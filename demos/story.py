"""What a demonstration tells: a page with screens and pictures, and whether each claim held."""

from __future__ import annotations

import io
import os
import platform
import re
import time
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

import psutil
from pyte.screens import Char
from rich.color import ColorParseError
from rich.console import Console
from rich.style import Style
from rich.text import Text

from demos.terminal import Terminal

__all__ = ["FOLDER", "Story"]

FOLDER: Final = Path(__file__).parent.parent / "docs" / "demos"
_FONT: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""Rich's pictures load a font from elsewhere; the reader's own does."""
_NAMES: Final = {"brown": "yellow", "default": None}
_GIB: Final = 1 << 30


@dataclass(slots=True)
class Story:
    """One demonstration's page, written as it goes."""

    name: str
    title: str
    begun: float = field(default_factory=time.monotonic)
    failed: int = 0
    _lines: list[str] = field(default_factory=list[str])
    _pictures: int = 0

    def __post_init__(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for old in FOLDER.glob(f"{self.name}-*.svg"):
            old.unlink()
        memory = psutil.virtual_memory().total / _GIB
        where = f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.system()}, no GPU used"
        self._lines += [f"# {self.title}", "", f"`make demo-{self.name}` wrote this page: {where}."]

    def step(self, title: str) -> None:
        """Begin a section."""
        self._lines += ["", f"## {title}"]
        self._print(f"\n== {title}")

    def say(self, text: str) -> None:
        """Tell something."""
        self._lines += ["", text]
        self._print(text)

    def output(self, command: str, text: str) -> None:
        """Show a command and what it printed."""
        shown = "\n".join(line.rstrip() for line in text.rstrip().splitlines())
        self._lines += ["", "```console", f"$ {command}", shown, "```"]
        self._print(f"$ {command}\n{shown}")

    def screen(self, terminal: Terminal, title: str) -> None:
        """Take a picture of a screen."""
        self._pictures += 1
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        name = f"{self.name}-{self._pictures}-{slug}.svg"
        (FOLDER / name).write_text(_picture(terminal, title), encoding="utf-8")
        self._lines += ["", f"![{title}]({name})"]
        self._print(f"[{name}]\n{terminal.text}")

    def claim(self, what: str, held: object, found: str = "") -> None:
        """Say what is claimed, whether it held, and what was found."""
        self.failed += not held
        line = f"{'✓' if held else '✗'} {what}{found and f': {found}'}"
        self._lines += ["", f"**{line}**"]
        self._print(line)

    def end(self) -> int:
        """Write the page; gives the exit status."""
        minutes = (time.monotonic() - self.begun) / 60
        word = "All of it held." if not self.failed else f"{self.failed} of it did not hold."
        self.say(f"{word} It took {minutes:.0f} minutes.")
        page = "\n".join(self._lines) + "\n"
        (FOLDER / f"{self.name}.md").write_text(page, encoding="utf-8")
        return 1 if self.failed else 0

    def _print(self, text: str) -> None:
        print(text, flush=True)


def _picture(terminal: Terminal, title: str) -> str:
    screen = terminal.screen
    console = Console(
        record=True, width=screen.columns, file=io.StringIO(), color_system="truecolor"
    )
    for number in range(screen.lines):
        line = Text()
        row = [screen.buffer[number][column] for column in range(screen.columns)]
        for style, chars in groupby(row, key=_style):
            line.append("".join(char.data for char in chars), style)
        console.print(line, no_wrap=True, overflow="crop", crop=True)
    return _FONT.sub("", console.export_svg(title=title))


def _style(char: Char) -> Style:
    return Style(
        color=_colour(char.fg),
        bgcolor=_colour(char.bg),
        bold=char.bold,
        italic=char.italics,
        underline=char.underscore,
        reverse=char.reverse,
    )


def _colour(name: str) -> str | None:
    if name in _NAMES:
        return _NAMES[name]
    if re.fullmatch(r"[0-9a-fA-F]{6}", name):
        return f"#{name}"
    plain = name.replace("bright", "bright_").replace("brown", "yellow")
    try:
        Style.parse(plain)
    except (ColorParseError, Exception):  # noqa: BLE001 - a colour that nobody knows is none
        return None
    return plain
