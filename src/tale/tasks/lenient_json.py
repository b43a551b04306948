"""Reads a JSON object out of what a model wrote, mending what models get wrong.

It may stand in a fence or between sentences, have single quotes, names without quotes, trailing or
missing commas, comments, line breaks and quotes within strings, Python's constants, and may end
too soon. Strict JSON is read as it is. Pure and total: any text gives an object or the exact fault.
Above: `tasks.moves`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, cast

__all__ = ["Fault", "read_object"]

_FENCED: Final = re.compile(r"```[^\n`]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_WORD: Final = re.compile(r"[^\s,:{}\[\]\"'`]+")
_SPACE: Final = re.compile(r"(?:\s+|//[^\n]*|/\*.*?(?:\*/|\Z))*", re.DOTALL)
_MEMBER: Final = re.compile(r"""(["'`])\w[^"'`\n]{0,40}\1\s*[:=]|[A-Za-z_]\w*\s*:""")
"""How the next member of an object begins."""
_CONSTANTS: Final[dict[str, object]] = {
    "true": True,
    "false": False,
    "null": None,
    "none": None,
    "undefined": None,
}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_QUOTES: Final = ('"""', "'''", '"', "'", "`")
_DEPTH: Final = 60
_Where = Literal["name", "object", "array"]
"""Where a string stands, which says what may follow it."""
_STARTS: Final = 8
"""Opening braces that are tried: prose before the object may have some of its own."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why no object could be read, in a sentence for the model."""

    text: str


def read_object(text: str) -> dict[str, object] | Fault:
    """Find the object in an answer."""
    first: Fault | None = None
    for candidate in _candidates(text):
        found = _strict(candidate)
        if found is None:
            try:
                found = _Reader(candidate).read()
            except _Unreadable as error:
                first = first or Fault(str(error))
        if isinstance(found, dict) and found:
            return cast("dict[str, object]", found)
    return first or Fault("There is no JSON object in the answer: it has no `{`.")


def _candidates(text: str) -> Iterator[str]:
    """Give what may be the object, the likeliest first: all of it, a fence, from each brace on."""
    yield from (part for part in (text.strip(),) if part.startswith("{"))
    for block in _FENCED.findall(text):
        if (part := block.strip()).startswith("{"):
            yield part
    braces = [match.start() for match in re.finditer(r"\{", text)]
    for start in braces[:_STARTS]:
        yield text[start:]


def _strict(text: str) -> object:
    try:
        return json.JSONDecoder(strict=False).raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


class _Unreadable(Exception):
    pass


class _Reader:
    """Reads one value by descent, and takes what is meant for what is written."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def read(self) -> object:
        """Read the value that the text begins with."""
        return self._value("object")

    def _value(self, where: _Where) -> object:
        self._skip()
        character = self._peek()
        if character in "{[" and character:
            self._depth += 1
            if self._depth > _DEPTH:
                raise _Unreadable("The JSON is nested too deeply.")
            value = self._object() if character == "{" else self._array()
            self._depth -= 1
            return value
        if quote := self._quote():
            return self._string(quote, where)
        if word := _WORD.match(self._text, self._at):
            self._at = word.end()
            return _constant(word[0])
        raise _Unreadable(f"A value is missing {self._place()}.")

    def _object(self) -> dict[str, object]:
        self._at += 1
        found: dict[str, object] = {}
        while self._goes_on("}"):
            if not (quote := self._quote()) and not _WORD.match(self._text, self._at):
                raise _Unreadable(f"A name in quotes is missing {self._place()}.")
            name = self._string(quote, "name") if quote else self._bare()
            self._skip()
            if self._peek() not in {":", "="}:
                raise _Unreadable(f'A colon is missing after "{name[:40]}" {self._place()}.')
            self._at += 1
            self._skip()
            if self._at >= len(self._text):
                break
            found[name] = self._value("object")
        return found

    def _array(self) -> list[object]:
        self._at += 1
        found: list[object] = []
        while self._goes_on("]"):
            found.append(self._value("array"))
        return found

    def _goes_on(self, end: str) -> bool:
        """Come to the next member; where the text or an outer bracket ends, so does this one."""
        self._skip()
        while self._peek() == ",":
            self._at += 1
            self._skip()
        character = self._peek()
        if character in {"}", "]"}:
            self._at += character == end
            return False
        return bool(character)

    def _string(self, quote: str, where: _Where) -> str:
        self._at += len(quote)
        parts: list[str] = []
        while self._at < len(self._text):
            if self._text.startswith(quote, self._at) and self._closes(len(quote), where):
                self._at += len(quote)
                return "".join(parts)
            character = self._text[self._at]
            self._at += 1
            parts.append(self._escaped() if character == "\\" else character)
        return "".join(parts)

    def _closes(self, length: int, where: _Where) -> bool:
        """Tell whether a quote ends the string: within code other things follow it."""
        if where == "name":
            return True
        at = self._past_space(self._at + length)
        if where == "array":
            return self._text[at : at + 1] in {"", ",", "]", "}"}
        if self._text.startswith(",", at):
            at = self._past_space(at + 1)
        return self._text[at : at + 1] in {"", "}"} or _MEMBER.match(self._text, at) is not None

    def _past_space(self, at: int) -> int:
        space = _SPACE.match(self._text, at)
        return space.end() if space else at

    def _escaped(self) -> str:
        if self._at >= len(self._text):
            return ""
        character = self._text[self._at]
        self._at += 1
        if character == "u" and (code := re.match(r"[0-9a-fA-F]{4}", self._text[self._at :])):
            self._at += 4
            return chr(int(code[0], 16))
        if character in "\"'\\/`\n":
            return "" if character == "\n" else character
        return _ESCAPES.get(character, f"\\{character}")

    def _bare(self) -> str:
        word = _WORD.match(self._text, self._at)
        self._at = word.end() if word else self._at
        return word[0] if word else ""

    def _quote(self) -> str:
        return next((each for each in _QUOTES if self._text.startswith(each, self._at)), "")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self) -> None:
        self._at = self._past_space(self._at)

    def _place(self) -> str:
        line = self._text.count("\n", 0, self._at) + 1
        near = self._text[self._at : self._at + 20].split("\n")[0]
        return f"in line {line}, " + (f"before `{near}`" if near else "where it ends")


def _constant(word: str) -> object:
    if word.lower() in _CONSTANTS:
        return _CONSTANTS[word.lower()]
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return float(word)
    except ValueError:
        return word
