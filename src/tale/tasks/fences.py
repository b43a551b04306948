"""Finds the files in what a model wrote: names and fenced blocks, read leniently.

The form asked for is a line `FILE: path` and one fenced block. Small models vary it, so a name may
also stand in the fence's info string, in a heading, in bold or backticks, or in the block's first
comment. Pure and total: any text gives a result, and what can't be used is reported, not dropped.
Above: `tasks.agent`, which writes the files; whether a path is safe is `tasks.workspace`'s affair.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from tale.tasks.languages import EXTENSIONS, SHELLS, is_file_name

__all__ = ["Block", "Fences", "NamedFile", "closed", "parse_fences"]

_OPENING: Final = re.compile(r"^([ \t]*)(`{3,}|~{3,})([^`]*)$")
_KEYWORDS: Final = ("file name", "file path", "filename", "filepath", "file", "path")
_DECORATION: Final = " \t*_`\"'#"
_TITLE: Final = re.compile(
    r"""^\s*(?:\#{1,6}\s+|[-*+]\s+)?(?:\d{1,3}[.)]\s*)?
        (?:[*_]{1,2}[`"]?|[`"][*_]{0,2})?([^\s`"*:]+)[`"*_:\s]*(?:\([^)]*\))?[:\s]*$""",
    re.VERBOSE,
)
"""A line that is nothing but a name: `### path`, `**path**`, `` `path`: ``, `1. path`."""
_IN_PROSE: Final = re.compile(r"`([^`\s]+)`")
_COMMENT: Final = re.compile(r"^\s*(?:#|//|--|;|%|/\*|<!--)\s*([^\s]+?)\s*(?:\*/|-->)?\s*$")
_INFO_NAME: Final = re.compile(
    r"""(?:^|[\s{,])(?:file|filename|file_name|path|filepath|title|name)\s*[=:]\s*
        (?:"([^"]+)"|'([^']+)'|([^\s,}]+))""",
    re.IGNORECASE | re.VERBOSE,
)
_LINE_CHARACTERS: Final = 300
"""Longer lines name no file."""
_LOOK_BACK: Final = 3
"""Lines of text before a block among which a `FILE:` line is still its name."""


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file as the model wrote it; `complete` is False where its block was never closed."""

    path: str
    content: str
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Block:
    """A block that names no file: a usage line, an output, or a file whose name is missing."""

    language: str
    content: str
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Fences:
    """What was found.

    Attributes:
        files: One for each path, as it was written last.
        blocks: The blocks without a name.
        problems: What was odd about it, in sentences for the user.
    """

    files: tuple[NamedFile, ...]
    blocks: tuple[Block, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Fence:
    """An opening fence: where it stands, how it is closed, what its info string says."""

    line: int
    indent: int
    ticks: str
    info: str

    @property
    def language(self) -> str:
        """The first word of the info string."""
        words = re.split(r"[\s:{,=]", self.info.lstrip("{. "), maxsplit=1)
        return words[0].lower()


def parse_fences(text: str) -> Fences:
    """Find the named files and the other blocks in a model's answer."""
    lines = text.replace("\r\n", "\n").split("\n")
    files: dict[str, NamedFile] = {}
    blocks: list[Block] = []
    problems: list[str] = []
    at = 0
    while (fence := _next_fence(lines, at)) is not None:
        end, complete = _closing(lines, fence)
        content = [_dedent(line, fence.indent) for line in lines[fence.line + 1 : end]]
        before = [line for line in lines[at : fence.line] if line.strip()]
        name, content = _name(before, fence, content)
        body = "".join(f"{line}\n" for line in content)
        problems += _announced_only(before, name)
        if not complete:
            problems.append(f"{name or 'The last block'} was not closed: it may be incomplete.")
        if name is None:
            blocks.append(Block(fence.language, body, complete))
        else:
            if name in files:
                problems.append(f"{name} was written more than once; the last one is taken.")
            files[name] = NamedFile(name, body, complete)
        at = end + 1 if end < len(lines) and _closes(lines[end], fence) else end
    problems += _announced_only(lines[at:], None)
    return Fences(tuple(files.values()), tuple(blocks), tuple(problems))


def closed(text: str) -> str:
    """Close the block that is open at the end of a text, if one is."""
    lines = text.replace("\r\n", "\n").split("\n")
    at = 0
    while (fence := _next_fence(lines, at)) is not None:
        at, complete = _closing(lines, fence)
        if not complete:
            return f"{text}\n{fence.ticks}"
        at += at < len(lines) and _closes(lines[at], fence)
    return text


def _next_fence(lines: Sequence[str], start: int) -> _Fence | None:
    for number in range(start, len(lines)):
        if match := _OPENING.match(lines[number]):
            indent, ticks, info = match.groups()
            return _Fence(number, len(indent), ticks, info.strip())
    return None


def _closes(line: str, fence: _Fence) -> bool:
    stripped = line.strip()
    return len(stripped) >= len(fence.ticks) and set(stripped) == {fence.ticks[0]}


def _closing(lines: Sequence[str], fence: _Fence) -> tuple[int, bool]:
    """Find the line after a block's content, and whether the block ends there for sure.

    A fence with an info string inside a block opens an inner one, as in a README that shows
    commands, unless a `FILE:` line stands before it: then the closing fence was forgotten. Where
    inner ones leave the block open to the end of the text, they were text after all.
    """
    first: int | None = None
    depth = 0
    text: int | None = None  # the last line that is not blank
    for number in range(fence.line + 1, len(lines)):
        line = lines[number]
        if _closes(line, fence):
            first = number if first is None else first
            if depth == 0:
                return number, True
            depth -= 1
        elif (
            (match := _OPENING.match(line))
            and match[3].strip()
            and match[2].startswith(fence.ticks)
        ):
            if text is not None and _header(lines[text], explicit=True):
                return text, True
            depth += 1
        text = number if line.strip() else text
    return (len(lines), False) if first is None else (first, True)


def _dedent(line: str, indent: int) -> str:
    """Take away the indentation that the fence itself has, as in a list."""
    own = len(line) - len(line.lstrip(" \t"))
    return line[min(indent, own) :]


def _name(before: Sequence[str], fence: _Fence, content: list[str]) -> tuple[str | None, list[str]]:
    """Find a block's file name, most explicit form first, and what of the block is content."""
    if name := _name_in_info(fence.info):
        return name, content
    if content and (name := _header(content[0], explicit=True)):
        return name, content[1:]
    for line in reversed(before[-_LOOK_BACK:]):
        if name := _header(line, explicit=True):
            return name, content
    if before and (name := _name_in_line(before[-1], fence.language)):
        return name, content
    return _name_in_comment(content, fence.language), content


def _name_in_info(info: str) -> str | None:
    if len(info) > _LINE_CHARACTERS:
        return None
    if match := _INFO_NAME.search(info):
        return match[1] or match[2] or match[3]
    head, _, tail = info.partition(":")
    words = [tail.strip()] if tail and head.isalnum() else []
    words += [word.strip("`\"'(){}") for word in info.split()[:2]]
    return next((word for word in words if is_file_name(word)), None)


def _header(line: str, *, explicit: bool) -> str | None:
    """Read `FILE: path`, also bold, quoted or in a comment; not explicit, `Filename: path` too."""
    if len(line) > _LINE_CHARACTERS:
        return None
    bare = line.strip().lstrip(_DECORATION + "/-<!;%>")
    word = next((word for word in _KEYWORDS if bare.lower().startswith(word)), "")
    if not word or (explicit and not bare.startswith("FILE")):
        return None
    rest = bare[len(word) :].lstrip(_DECORATION)
    if rest[:1] not in {":", "="}:
        return None
    name = rest[1:].strip().removesuffix("-->").removesuffix("*/").strip(_DECORATION + ":")
    return name if name and (explicit or is_file_name(name)) else None


def _name_in_line(line: str, language: str) -> str | None:
    """Read a name off the line before a block: a heading, bold, backticks."""
    if len(line) > _LINE_CHARACTERS:
        return None
    if name := _header(line, explicit=False):
        return name
    title = _TITLE.match(line)
    if title and is_file_name(title[1]) and _may_be(title[1], language, lenient=True):
        return title[1]
    found = _IN_PROSE.findall(line) if line.rstrip(" *").endswith(":") else []
    if len(found) == 1 and is_file_name(found[0]) and _may_be(found[0], language, lenient=False):
        return found[0]
    return None


def _name_in_comment(content: Sequence[str], language: str) -> str | None:
    """Read a name off the comment that a block begins with."""
    first = content[1:2] if content and content[0].startswith("#!") else content[:1]
    for line in first:
        match = _COMMENT.match(line[:_LINE_CHARACTERS])
        if match and is_file_name(match[1]) and _may_be(match[1], language, lenient=not language):
            return match[1]
    return None


def _may_be(name: str, language: str, *, lenient: bool) -> bool:
    """Tell whether a block in `language` can be the file of that name, not a word about it.

    "Run `app.py`:" is followed by shell, "`app.py` prints:" by text; neither is the file.
    """
    own = EXTENSIONS.get(language)
    if own is None or (lenient and language not in SHELLS):
        return lenient
    return PurePosixPath(name).suffix.lower() in own


def _announced_only(lines: Sequence[str], used: str | None) -> list[str]:
    """Report the `FILE:` lines that no block followed."""
    names = (_header(line, explicit=True) for line in lines)
    return [
        f"{name} was announced, but no block with its content followed."
        for name in names
        if name and name != used
    ]
