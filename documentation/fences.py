"""The fenced blocks of the pages: what is in them, and which of them can't be run, and why.

A block of commands that no test can run has a comment before it that says why:

    <!-- not run: needs Ollama -->
    ```console

A block with a title is a file of that name for the commands below it. Above: the tests.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Entry", "Fence", "fences", "pages", "tale_calls"]

_ROOT: Final = Path(__file__).parent.parent
_OPENING: Final = re.compile(r'^```(\w*)(?: title="([^"]+)")?$')
_MARK: Final = re.compile(r"^<!-- not run: (.+) -->$")
_WITHIN: Final = re.compile(r"\$\((tale [^()]*)\)")
_PARTING: Final = frozenset({"|", "||", "&&", ";", "&"})
_REDIRECTING: Final = frozenset({"<", ">", ">>"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A command as it is typed, and what the page shows of its output."""

    command: str
    output: str


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block.

    Attributes:
        page: The page, relative to the repository.
        line: Where its text begins, from 1.
        language: What it says it is; empty for nothing.
        title: The file that it is; empty for none.
        text: What is in it.
        not_run: Why no test runs it; empty where tests do.
    """

    page: str
    line: int
    language: str
    title: str
    text: str
    not_run: str

    def entries(self) -> Iterator[Entry]:
        """Give the commands of a console; one that ends in a backslash goes on in the next line."""
        for part in re.split(r"^(?:\$ )", self.text, flags=re.MULTILINE)[1:]:
            lines = part.split("\n")
            count = 1
            while lines[count - 1].endswith("\\"):
                count += 1
            yield Entry("\n".join(lines[:count]), "\n".join(lines[count:]).strip("\n"))


def pages() -> list[str]:
    """Give all pages, relative to the repository; what was recorded is none of them."""
    found = [*sorted(_ROOT.glob("docs/**/*.md")), *sorted(_ROOT.glob("*.md"))]
    names = [str(page.relative_to(_ROOT)) for page in found]
    return [name for name in names if not name.startswith("docs/demos/")]


def fences(page: str) -> list[Fence]:
    """Read the fenced blocks of a page.

    Raises:
        ValueError: One is not closed, or opened in a way that is not understood.
    """
    found: list[Fence] = []
    begun: tuple[int, re.Match[str], str] | None = None
    inside: list[str] = []
    before = ""
    for number, line in enumerate((_ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
        if begun is None:
            if line.startswith("```"):
                opening = _OPENING.match(line)
                if opening is None:
                    raise ValueError(f"{page}:{number}: what is {line!r}?")
                mark = _MARK.match(before)
                begun, inside = (number + 1, opening, mark[1] if mark else ""), []
        elif line == "```":
            at, opening, why = begun
            text = "\n".join(inside)
            found.append(Fence(page, at, opening[1], opening[2] or "", text, why))
            begun = None
        else:
            inside.append(line)
        before = line
    if begun is not None:
        raise ValueError(f"{page}:{begun[0]}: the block is not closed")
    return found


def tale_calls(command: str) -> Iterator[list[str]]:
    """Find every call of `tale` in a line of shell: in pipes, in lists, and in `$(…)`."""
    for within in _WITHIN.findall(command):
        yield shlex.split(within)[1:]
    reader = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    reader.commenters = "#"
    words: list[str] = []
    cut = False
    for token in [*reader, ";"]:
        if token in _PARTING:
            if words[:1] == ["tale"]:
                yield words[1:]
            words, cut = [], False
        elif token in _REDIRECTING:
            cut = True
        elif not cut:
            words.append(token)
