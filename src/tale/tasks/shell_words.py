"""The words and operators of a shell line, or why a shell can't split it. Pure.

Quotes are taken away, substitutions stay a `$`; nothing is expanded. Above: `shell_syntax`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["Lexer", "Token", "Unreadable"]

_MOST_NESTED: Final = 20
_OPERATOR: Final = re.compile(r"&&|\|\||\|&|<<<|<<|<>|<&|<\(|&>|>>|>&|>\||[;|&()<>\n]")
_SPACE: Final = re.compile(r"(?:[ \t\r]|\\\n)+|#[^\n]*")
_SIMPLE: Final = re.compile(r"""[^ \t\r\n&|;()<>'"\\`$]+""")
"""Characters of a word that stand for themselves."""
_USUAL: Final = re.compile(r"""[^ \t\r\n&|;()<>'"\\`$#][^ \t\r\n&|;()<>'"\\`$]*(?=[ \t\n;)]|$)""")
"""A whole word of such characters."""
_META: Final = frozenset(" \t\r\n&|;()<>")


class Unreadable(ValueError):
    """No shell can read it; the message says why, for whoever wrote it."""


class Token(NamedTuple):
    """A word or an operator; what was quoted is no keyword."""

    text: str
    operator: bool = False
    plain: bool = True


class Lexer:
    """Splits a line into tokens.

    Attributes:
        inner: The tokens of each `$(…)`.
        quoted: What stands between backquotes, and how many substitutions it is in.
    """

    def __init__(self, text: str, depth: int) -> None:
        """Begin with a line that is in `depth` substitutions itself."""
        self._text = text
        self._depth = depth
        self._at = 0
        self.inner: list[list[Token]] = []
        self.quoted: list[tuple[str, int]] = []

    def tokens(self, *, nested: bool = False) -> list[Token]:
        """Read to the end, or to the `)` that closes a substitution."""
        found: list[Token] = []
        open_ = 0
        while self._at < len(self._text):
            if usual := _USUAL.match(self._text, self._at):
                self._at = usual.end()
                found.append(Token(usual[0]))
            elif space := _SPACE.match(self._text, self._at):
                self._at = space.end()
            elif read := _OPERATOR.match(self._text, self._at):
                operator, self._at = read[0], read.end()
                open_ += (operator == "(") - (operator == ")")
                if nested and open_ < 0:
                    return found
                found.append(Token(operator, operator=True))
            elif word := self._word():
                found.append(word)
        if nested:
            raise Unreadable("`$(` is not closed")
        return found

    def _word(self) -> Token | None:
        """Read a word; None for a number that belongs to the redirection behind it."""
        begin, said, plain = self._at, list[str](), True
        while self._at < len(self._text) and (char := self._text[self._at]) not in _META:
            if simple := _SIMPLE.match(self._text, self._at):
                said.append(simple[0])
                self._at = simple.end()
                continue
            plain = False
            if char == "'":
                end = self._text.find("'", self._at + 1)
                if end < 0:
                    raise Unreadable("a single quote (') is not closed")
                said.append(self._text[self._at + 1 : end])
                self._at = end + 1
            elif char == '"':
                self._double(said)
            else:
                self._plain(said)
        number = self._text[begin : self._at].isdecimal()
        if number and self._text[self._at : self._at + 1] in {"<", ">"}:
            return None
        return Token("".join(said), plain=plain)

    def _plain(self, said: list[str]) -> None:
        """Read a character, or what stands for several."""
        char = self._text[self._at]
        if char == "\\":
            if self._at + 1 >= len(self._text):
                raise Unreadable("it ends with a backslash")
            said.append(self._text[self._at + 1].replace("\n", ""))
            self._at += 2
        elif char == "$":
            self._dollar(said)
        elif char == "`":
            self._backquotes(said)
        else:
            said.append(char)
            self._at += 1

    def _double(self, said: list[str]) -> None:
        self._at += 1
        while self._at < len(self._text):
            if self._text[self._at] == '"':
                self._at += 1
                return
            self._plain(said)
        raise Unreadable('a double quote (") is not closed')

    def _dollar(self, said: list[str]) -> None:
        rest = self._text[self._at : self._at + 3]
        said.append("$")
        if rest == "$((":
            self._balanced("(", ")")
        elif rest.startswith("$("):
            self._deeper()
            self._at += 2
            self.inner.append(self.tokens(nested=True))
            self._depth -= 1
        elif rest.startswith("${"):
            self._balanced("{", "}")
        else:
            self._at += 1

    def _balanced(self, opens: str, closes: str) -> None:
        """Pass over what is in brackets."""
        begin, open_ = self._at, 0
        for at in range(self._at + 1, len(self._text)):
            open_ += (self._text[at] == opens) - (self._text[at] == closes)
            if open_ == 0:
                self._at = at + 1
                return
        raise Unreadable(f"`{self._text[begin : begin + 2]}` is not closed")

    def _backquotes(self, said: list[str]) -> None:
        end = self._at + 1
        while self._text[end : end + 1] not in {"`", ""}:
            end += 2 if self._text[end] == "\\" else 1
        if end >= len(self._text):
            raise Unreadable("a backquote (`) is not closed")
        self._deeper()
        self.quoted.append((self._text[self._at + 1 : end].replace("\\`", "`"), self._depth))
        self._depth -= 1
        said.append("$")
        self._at = end + 1

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise Unreadable(f"it has more than {_MOST_NESTED} substitutions in each other")
