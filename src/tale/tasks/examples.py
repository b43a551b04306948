"""Finds the examples that a request gives of a Python function: calls and what they must return.

People write them as doctests, `f(2) == 4`, `f(2) -> 4`, "f(2) returns 4", "for n = 2 the output
should be 4" or `Input: … Output: …`. What can't be read for certain is left out: a wrong example
would send right code back. Pure and total. Above: `tasks.checks`, which has them run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Example", "Signature", "examples_in", "signatures_in"]

_MOST: Final = 24
"""Examples that are kept: more take longer to run than they tell."""
_LINE_CHARACTERS: Final = 1_000
_NAMES: Final[Mapping[str, object]] = {"true": True, "false": False, "null": None, "none": None}
_DEF: Final = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+([A-Za-z_]\w*)[ \t]*\(", re.MULTILINE)
_CALL: Final = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\(")
_ARROW: Final = re.compile(
    r"""\s*(?:\#\s*)?(?:={1,3}>|-{1,2}>|➞|→|⇒|==?(?!=)|[,:]?\s*
        (?:should\s+(?:return|be|give|equal|output)|must\s+(?:return|be)|returns?|gives?|outputs?
           |evaluates\s+to|yields?|is)\b(?:\s+equal\s+to|\s*:)?)\s*""",
    re.VERBOSE | re.IGNORECASE,
)
_AFTER: Final = re.compile(r"\s*(?:$|[#.;,)\]!?]|\s(?!\s*[-+*/%<>=&|^]))")
"""What may follow a value on its line: nothing, punctuation or words, but not more of a formula."""
_FOR: Final = re.compile(
    r"""(?:for|if|when|with|given)\s+(?P<given>\w+\s*=[^\n]*?)[,:;]?\s+
        (?:(?:then\s+)?the\s+)?(?:output|result|answer|function|return\s+value|it)\s+
        (?:should\s+(?:be|return|give)|must\s+(?:be|return)|is|returns|will\s+be)\s+
        (?P<value>[^\n]+)""",
    re.VERBOSE | re.IGNORECASE,
)
_INPUT: Final = re.compile(
    r"^\W*input\W*?:[ \t]*(?P<given>[^\n]+)\n+"
    r"\W*(?:expected[ \t]+)?output\W*?:[ \t]*(?P<value>[^\n]+)",
    re.MULTILINE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Signature:
    """A function as its head has it."""

    name: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """One example.

    Attributes:
        function: The function that is called.
        call: The call, as Python source that needs no other name, but for doctests.
        value: What it must return, as a Python literal.
    """

    function: str
    call: str
    value: str


def signatures_in(text: str) -> tuple[Signature, ...]:
    """Find the heads of the functions that a text has, in order."""
    found: list[Signature] = []
    for match in _DEF.finditer(text):
        arguments = _balanced(text, match.end() - 1)
        if arguments is None:
            continue
        try:
            head = ast.parse(f"def f({arguments}): ...").body[0]
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if isinstance(head, ast.FunctionDef):
            given = (*head.args.posonlyargs, *head.args.args)
            found.append(Signature(match[1], tuple(each.arg for each in given)))
    return tuple(found)


def examples_in(text: str, functions: Iterable[str]) -> tuple[Example, ...]:
    """Find the examples of these functions in a text, in order and each once.

    Args:
        text: A request, or a docstring.
        functions: Names of the functions that the program has.
    """
    known = frozenset(functions)
    signatures = [each for each in signatures_in(text) if each.name in known]
    found = [*_doctests(text, known), *_calls(text, known)]
    # "Input" and "Output" name no function: they are of the one that was asked for.
    if asked := signatures[-1] if signatures else None:
        found += _in_words(text, asked)
    return tuple(dict.fromkeys(found))[:_MOST]


# -- forms -----------------------------------------------------------------------------------------


def _doctests(text: str, known: frozenset[str]) -> Iterator[Example]:
    lines = text.splitlines()
    for number, line in enumerate(lines[:-1]):
        head, prompt, source = line.partition(">>>")
        if not prompt or head.strip() or (tree := _parse(source.strip())) is None:
            continue
        used = _functions(tree) & known
        value = _literal(lines[number + 1].strip())
        if len(used) == 1 and value is not None:
            yield Example(used.pop(), source.strip(), value)


def _calls(text: str, known: frozenset[str]) -> Iterator[Example]:
    for match in _CALL.finditer(text):
        if match[1] not in known:
            continue
        line_start = text.rfind("\n", 0, match.start()) + 1
        before = text[line_start : match.start()]
        if before.strip().endswith("def"):
            continue
        arguments = _balanced(text, match.end() - 1)
        if arguments is None or not _is_call_of_literals(call := f"{match[1]}({arguments})"):
            continue
        rest = text[match.end() + len(arguments) + 1 :].split("\n", 1)[0]
        if (arrow := _ARROW.match(rest)) and (value := _leading_literal(rest[arrow.end() :])):
            yield Example(match[1], call, value)


def _in_words(text: str, asked: Signature) -> Iterator[Example]:
    for match in (*_FOR.finditer(text), *_INPUT.finditer(text)):
        value = _leading_literal(match["value"])
        call = _call_with(match["given"].strip(), asked)
        if value is not None and call is not None:
            yield Example(asked.name, call, value)


def _call_with(given: str, asked: Signature) -> str | None:
    """Write the call with what an example says is given: `n = 2, k = 3`, or the values alone."""
    for call in (f"{asked.name}({given})", f"{asked.name}({given.rstrip('.,;: ')})"):
        tree = _parse(call)
        if not isinstance(tree, ast.Call) or not _is_call_of_literals(call):
            continue
        names = {each.arg for each in tree.keywords}
        many = len(tree.args) + len(tree.keywords) <= len(asked.parameters)
        if many and names <= set(asked.parameters):
            return call
    return None


# -- reading Python out of prose -------------------------------------------------------------------


def _parse(source: str) -> ast.expr | None:
    if len(source) > _LINE_CHARACTERS:
        return None
    try:
        return ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _literal(source: str) -> str | None:
    """Give a literal as Python writes it; None where it is none."""
    word = source.strip().lower()
    if word in _NAMES:
        return repr(_NAMES[word])
    tree = _parse(source.strip())
    try:
        return None if tree is None else repr(ast.literal_eval(tree))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _leading_literal(text: str) -> str | None:
    """Read the longest literal that a line begins with, if what follows is no more of it."""
    line = text.strip()[:_LINE_CHARACTERS].strip("`").rstrip(" .,;:!")
    for end in range(len(line), 0, -1):
        if line[end - 1] in " \t,." or not _AFTER.match(line[end:]):
            continue
        if (value := _literal(line[:end])) is not None:
            return value
    return None


def _is_call_of_literals(call: str) -> bool:
    tree = _parse(call)
    if not isinstance(tree, ast.Call):
        return False
    given = [*tree.args, *(each.value for each in tree.keywords)]
    return all(_literal(ast.unparse(each)) is not None for each in given)


def _functions(tree: ast.expr) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def _balanced(text: str, opening: int) -> str | None:
    """Give what stands between a bracket and the one that closes it, strings respected."""
    depth, quote, at = 0, "", opening
    end = min(len(text), opening + _LINE_CHARACTERS)
    while at < end:
        character = text[at]
        if quote:
            at += character == "\\"
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth == 0:
                return text[opening + 1 : at]
        at += 1
    return None
