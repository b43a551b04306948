"""What tale can say, read out of its source: every text, with `…` where a value comes in.

Above: `errors` (which of them are errors), and the test that holds the pages to them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import tale

__all__ = ["GAP", "Raised", "all_texts", "is_said", "modules_with", "raised"]

GAP: Final = "…"
"""Stands for a value."""
_ROOT: Final = Path(tale.__file__).parent
_NodeT = TypeVar("_NodeT", bound=ast.AST)
_WORTH: Final = 8
"""Letters that a text has besides its gaps; less would match anything."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An error as one place in the source makes it."""

    module: str
    error: str
    message: str
    hint: str


def raised(errors: Iterable[str]) -> list[Raised]:
    """Find where errors of these classes are made, in the order of the source's files."""
    wanted = set(errors)
    found: list[Raised] = []
    for module, tree, reader in _sources():
        for call in _of(tree, ast.Call):
            name = _name_of(call.func)
            if name not in wanted or not call.args:
                continue
            hint = next((each.value for each in call.keywords if each.arg == "hint"), None)
            message = reader.text(call.args[0])
            if _says_something(message):
                told = reader.text(hint) if hint else ""
                found.append(Raised(module, name, message, told if _says_something(told) else ""))
    return found


def modules_with(pattern: re.Pattern[str]) -> list[str]:
    """Name the modules in whose source there is such a place."""
    return [module for module, text in _texts() if pattern.search(text)]


@cache
def all_texts() -> frozenset[str]:
    """Give every line of a text in the source that says something."""
    return frozenset(
        line
        for _, tree, reader in _sources()
        for kind in (ast.JoinedStr, ast.Constant)
        for node in _of(tree, kind)
        for line in reader.text(node).splitlines()
        if _says_something(line)
    )


def is_said(line: str, texts: Iterable[str]) -> bool:
    """Tell whether a line is what one of the texts comes to."""
    return any(_pattern(text).fullmatch(line) for text in texts)


class _Reader:
    """Reads the texts of one file, with the constants that they are made of."""

    def __init__(self, tree: ast.Module) -> None:
        self._constants: dict[str, ast.expr] = {}
        for node in tree.body:
            match node:
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    self._constants[name] = value
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._constants[name] = value
                case _:
                    pass

    def text(self, node: ast.expr) -> str:
        """Give the text that an expression makes, with gaps for what only the run tells."""
        return re.sub(f"{GAP}+", GAP, self._text(node))

    def _text(self, node: ast.expr) -> str:  # noqa: PLR0911 - one for each kind of text
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.JoinedStr(values=parts):
                return "".join(map(self._text, parts))
            case ast.FormattedValue(value=value):
                return self._text(value)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._text(left) + self._text(right)
            case ast.IfExp(body=body):
                return self._text(body)
            case ast.Name(id=name) if name in self._constants:
                return self._text(self._constants[name])
            case _:
                return GAP


def _says_something(text: str) -> bool:
    return len(re.sub(r"[\W\d_]", "", text)) >= _WORTH


@cache
def _pattern(text: str) -> re.Pattern[str]:
    pieces = re.split(f"({GAP})", text)
    return re.compile("".join(r".+" if piece == GAP else re.escape(piece) for piece in pieces))


def _sources() -> Iterator[tuple[str, ast.Module, _Reader]]:
    for module, text in _texts():
        # The backend of tests says only what they tell it to.
        if not module.endswith(".memory_backend"):
            tree = ast.parse(text)
            yield module, tree, _Reader(tree)


def _texts() -> Iterator[tuple[str, str]]:
    """Give each module's name and source, in the order of the files."""
    for file in sorted(_ROOT.rglob("*.py")):
        parts = ("tale", *file.relative_to(_ROOT).with_suffix("").parts)
        yield ".".join(parts).removesuffix(".__init__"), file.read_text(encoding="utf-8")


def _of(tree: ast.Module, kind: type[_NodeT]) -> Iterator[_NodeT]:
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def _name_of(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""
