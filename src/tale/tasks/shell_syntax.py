"""What a shell would make of a line: its simple commands, or why it can't read it. Pure.

It knows what `/bin/sh` everywhere knows, as programs that check work are run by it: quotes,
substitutions, pipes, lists, redirections and compound commands. It expands nothing and is lenient
with rare forms: a line that it refuses, a shell refuses too, or understands otherwise than bash
would, but for here-documents, which are no line. Above: `check_line`. Below: `shell_words`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tale.tasks.shell_words import Lexer, Token, Unreadable

__all__ = ["Command", "Unreadable", "commands"]

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
_PLAIN: Final = re.compile(
    r" *[\w./:@%+,=-]+(?: +[\w./:@%+,=-]+)*(?: +&& +[\w./:@%+,=-]+(?: +[\w./:@%+,=-]+)*)*"
)
"""Programs one after the other, with nothing quoted: what most checks are, and read at once."""
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")


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


def commands(line: str) -> tuple[Command, ...]:
    """Give the simple commands of a line, those in substitutions too, in their order.

    Raises:
        Unreadable: It is no shell line.
    """
    if "\0" in line:
        raise Unreadable("it has a character that no text has")
    if _PLAIN.fullmatch(line):
        found = [tuple(one.split()) for one in line.split("&&")]
        if not any(one[0] in _KEYWORDS or "=" in one[0] for one in found):
            return tuple(Command(one) for one in found)
    if _CASE.search(line):
        return (Command(("case",)),)
    return tuple(_read(line, 0))


def _read(line: str, depth: int) -> list[Command]:
    lexer = Lexer(line, depth)
    found = _Parser().parse(lexer.tokens())
    for inner in lexer.inner:
        found += _Parser().parse(inner)
    for text, within in lexer.quoted:
        found += _read(text, within)
    return found


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

    def parse(self, tokens: Sequence[Token]) -> list[Command]:
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

    def _word(self, word: Token) -> None:
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
