"""What a shell would make of a line: its simple commands, or why it can't read it. Pure.

It knows what `/bin/sh` everywhere knows, as programs that check work are run by it: quotes,
substitutions, pipes, lists, redirections and compound commands. It expands nothing and is lenient
with rare forms: a line that it refuses, a shell refuses too, or understands otherwise than bash
would. Above: `check_line`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

__all__ = ["Command", "Unreadable", "commands"]

_MOST_NESTED: Final = 20
_OPERATOR: Final = re.compile(r"&&|\|\||\|&|<<<|<<|<>|<&|<\(|&>|>>|>&|>\||[;|&()<>\n]")
_SPACE: Final = re.compile(r"(?:[ \t\r]|\\\n)+|#[^\n]*")
_SIMPLE: Final = re.compile(r"""[^ \t\r\n&|;()<>'"\\`$]+""")
"""Characters of a word that stand for themselves."""
_USUAL: Final = re.compile(r"""[^ \t\r\n&|;()<>'"\\`$#][^ \t\r\n&|;()<>'"\\`$]*(?=[ \t\n;)]|$)""")
"""A whole word of such characters."""
_REDIRECTIONS: Final = frozenset({"<", ">", ">>", ">|", "<>", "<&", ">&"})
_BASH_ONLY: Final[Mapping[str, str]] = {
    "<<<": "pipe the text into it with `printf '%s' … |`",
    "<(": "write to a file first",
    "&>": "write `>file 2>&1`",
    "|&": "write `2>&1 |`",
    "[[": "write `[ … ]`",
    "function": "write `name() { … }`",
    "source": "write `. file`",
}
_OPENS: Final[Mapping[str, str]] = {
    "if": "fi",
    "while": "done",
    "until": "done",
    "for": "done",
    "{": "}",
    "(": ")",
}
_CLOSED_BY: Final = {**_OPENS, "then": "fi", "elif": "fi", "else": "fi", "do": "done"}
_INNER: Final[Mapping[str, frozenset[str]]] = {
    "then": frozenset({"if", "elif"}),
    "elif": frozenset({"then"}),
    "else": frozenset({"then"}),
    "do": frozenset({"while", "until", "for"}),
    "fi": frozenset({"then", "else"}),
    "done": frozenset({"do"}),
    "}": frozenset({"{"}),
}
"""Keywords that stand within a compound command, with those that they follow."""
_CLOSES: Final = frozenset({"fi", "done", "}"})
_CASE: Final = re.compile(r"\bcase\b.*\besac\b", re.DOTALL)
"""Its patterns have brackets that close nothing; such a line is taken as it is."""
_KEYWORDS: Final = {*_OPENS, *_INNER, *_BASH_ONLY, "!"}
_JOINS: Final = frozenset({"&&", "||", "|"})
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")
_META: Final = frozenset(" \t\r\n&|;()<>")


class Unreadable(ValueError):
    """No shell can read it; the message says why, for whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments.

    Attributes:
        words: Without quotes; empty where only variables are set or files opened.
        fed: Something is piped or redirected into it.
        waits: The line goes on only once it has ended.
    """

    words: tuple[str, ...]
    fed: bool = False
    waits: bool = True


class _Token(NamedTuple):
    """A word or an operator; what was quoted is no keyword."""

    text: str
    operator: bool = False
    plain: bool = True


def commands(line: str) -> tuple[Command, ...]:
    """Give the simple commands of a line, those in substitutions too, in their order.

    Raises:
        Unreadable: It is no shell line.
    """
    if "\0" in line:
        raise Unreadable("it has a character that no text has")
    if _CASE.search(line):
        return (Command(("case",)),)
    return tuple(_read(line, 0))


def _read(line: str, depth: int) -> list[Command]:
    lexer = _Lexer(line, depth)
    found = _Parser().parse(lexer.tokens())
    for inner in lexer.inner:
        found += _Parser().parse(inner)
    return found + lexer.quoted


class _Lexer:
    """Splits a line into tokens; `inner` has those of each `$(…)`, `quoted` what backquotes run."""

    def __init__(self, text: str, depth: int) -> None:
        self._text = text
        self._depth = depth
        self._at = 0
        self.inner: list[list[_Token]] = []
        self.quoted: list[Command] = []

    def tokens(self, *, nested: bool = False) -> list[_Token]:
        """Read to the end, or to the `)` that closes a substitution."""
        found: list[_Token] = []
        open_ = 0
        while self._at < len(self._text):
            if usual := _USUAL.match(self._text, self._at):
                self._at = usual.end()
                found.append(_Token(usual[0]))
            elif space := _SPACE.match(self._text, self._at):
                self._at = space.end()
            elif read := _OPERATOR.match(self._text, self._at):
                operator, self._at = read[0], read.end()
                open_ += (operator == "(") - (operator == ")")
                if nested and open_ < 0:
                    return found
                found.append(_Token(operator, operator=True))
            elif word := self._word():
                found.append(word)
        if nested:
            raise Unreadable("`$(` is not closed")
        return found

    def _word(self) -> _Token | None:
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
        return _Token("".join(said), plain=plain)

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
        self.quoted += _read(self._text[self._at + 1 : end].replace("\\`", "`"), self._depth)
        self._depth -= 1
        said.append("$")
        self._at = end + 1

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise Unreadable(f"it has more than {_MOST_NESTED} substitutions in each other")


@dataclass(slots=True)
class _Parser:
    """Puts tokens together to commands.

    Attributes:
        _open: Compound commands that are open, by their first word.
        _wanted: What a command must follow; empty where none has to.
        _whole: A compound command has just been closed.
        _piped: What comes next reads from a pipe.
    """

    _found: list[Command] = field(default_factory=list[Command])
    _open: list[str] = field(default_factory=list[str])
    _words: list[str] = field(default_factory=list[str])
    _begun: bool = False
    _fed: bool = False
    _piped: bool = False
    _whole: bool = False
    _wanted: str = ""

    def parse(self, tokens: Sequence[_Token]) -> list[Command]:
        """Give the commands."""
        at = 0
        while at < len(tokens):
            one, after = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else None
            at += 1
            if not one.operator:
                self._word(one)
            elif one.text in _BASH_ONLY or one.text == "<<":
                raise _foreign(one.text)
            elif one.text in _REDIRECTIONS:
                if after is None or after.operator:
                    raise Unreadable(f"nothing follows `{one.text}`")
                at += 1
                self._begun = True
                self._fed = self._fed or one.text.startswith("<")
            elif one.text == "(" and len(self._words) == 1 and after and after.text == ")":
                at += 1  # the head of a function
                self._words, self._begun, self._wanted = [], False, "()"
            else:
                self._operator(one.text)
        if self._begun or self._whole or not self._wanted:
            self._end()
        else:
            raise Unreadable(f"nothing follows `{self._wanted}`")
        if self._open:
            opener = self._open[-1]
            raise Unreadable(f"`{opener}` is not closed by `{_CLOSED_BY[opener]}`")
        return self._found

    def _word(self, word: _Token) -> None:
        text = word.text
        if word.plain and not self._begun and text in _KEYWORDS:
            if text in _INNER:
                self._inner(text)
                return
            if text in _BASH_ONLY:
                raise _foreign(text)
            if not self._whole:
                self._opens(text)
                return
        if self._whole:
            raise Unreadable(f"`{text}` can't follow there: a `;` or `&&` is missing before it")
        self._begun = True
        if self._words or not _ASSIGNMENT.match(text):
            self._words.append(text)

    def _opens(self, text: str) -> None:
        self._wanted = text
        if text != "!":
            self._open.append(text)
        if text == "for":
            self._words, self._begun = [text], True

    def _inner(self, text: str) -> None:
        """Go on within a compound command, or close it."""
        if not self._open or self._open[-1] not in _INNER[text]:
            raise Unreadable(f"`{text}` stands where it can't")
        if self._wanted:
            raise Unreadable(f"`{text}` follows `{self._wanted}` without a command between")
        if text in _CLOSES:
            self._end()
            self._open.pop()
            self._whole, self._wanted = True, ""
        else:
            self._open[-1] = text
            self._whole, self._wanted = False, text

    def _operator(self, text: str) -> None:
        if text == "(":
            if self._begun or self._whole:
                raise Unreadable("`(` can't stand there; put it in quotes")
            self._opens(text)
        elif text == ")":
            if not self._open or self._open[-1] != "(":
                raise Unreadable("`)` closes nothing; put it in quotes")
            self._end_with(text)
            self._open.pop()
            self._whole, self._wanted = True, ""
        elif text != "\n":
            self._end_with(text)
        elif self._begun or self._whole:
            self._end()

    def _end_with(self, operator: str) -> None:
        if not (self._begun or self._whole):
            # Of `a; )` the `a` is enough.
            if operator == ")" and not self._wanted:
                return
            raise Unreadable(f"`{operator}` follows no command")
        self._end(waits=operator != "&")
        self._piped = operator == "|"
        self._wanted = operator if operator in _JOINS else ""

    def _end(self, *, waits: bool = True) -> None:
        """Finish a simple command, or a compound one."""
        if self._begun and self._words[:1] != ["for"]:
            fed = self._fed or self._piped or bool(self._open)
            self._found.append(Command(tuple(self._words), fed, waits))
        elif self._whole and not waits and self._found:
            last = self._found[-1]
            self._found[-1] = Command(last.words, last.fed, waits=False)
        self._words, self._begun, self._whole = [], False, False
        self._fed = self._piped = False
        self._wanted = ""


def _foreign(text: str) -> Unreadable:
    if text == "<<":
        return Unreadable("it has a here-document; write the file before")
    return Unreadable(f"only bash has `{text}`: {_BASH_ONLY[text]}")
