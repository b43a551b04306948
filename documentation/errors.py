"""The page of all errors, from their classes and from the places that raise them.

Above: `pages`. Below: `tale.errors`, `messages`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module

from documentation.markdown import cell, table
from documentation.messages import GAP, modules_with, raised
from tale.errors import TaleError

__all__ = ["all_errors", "errors_page"]

_INTRODUCTION = f"""\
# Errors

Every error by its code: what it means, its exit code and HTTP status, and what to do.

A command tells an error as `error: …` and, where something helps, `hint: …`. Over HTTP and MCP it
has a `code`, by which a program tells errors apart; the words may change. `{GAP}` stands for a
name, a number or a path. [Troubleshooting](../troubleshooting.md) has the ones that people meet
first. Arguments that don't fit a tool are `bad_arguments`; who is not let in is told
[why](http.md), too.
"""
_OWN_CODE = re.compile(r'^    code = "', re.MULTILINE)


def all_errors() -> Iterator[type[TaleError]]:
    """Give every error, each before what is more particular, as in the tree of `tale.errors`.

    Those that one module has for itself follow those of the tree. Without a code of its own, an
    error is told by the code of the class above.
    """
    for module in modules_with(_OWN_CODE):
        import_module(module)
    return _from(TaleError)


def _from(error: type[TaleError]) -> Iterator[type[TaleError]]:
    if "code" in vars(error):
        yield error
    # Python lists them as they were imported, which differs from run to run but for the tree.
    for below in sorted(
        error.__subclasses__(), key=lambda one: (not _in_tree(one), one.__module__)
    ):
        if below.__module__.startswith("tale."):
            yield from _from(below)


def _in_tree(error: type[TaleError]) -> bool:
    return error.__module__ == TaleError.__module__


def errors_page() -> str:
    """Write the page."""
    errors = list(all_errors())
    said = raised(each.__name__ for each in errors)
    rows = [
        (f"[{each.code}](#{each.code})", _meaning(each), str(each.exit_code), str(each.status))
        for each in errors
    ]
    lines = [_INTRODUCTION, *table(("Code", "Meaning", "Exit code", "HTTP"), rows)]
    for each in errors:
        found = dict.fromkeys(
            (one.message, one.hint)
            for one in said
            if one.error == each.__name__ and (_in_tree(each) or one.module == each.__module__)
        )
        lines += [f"## {each.code} {{ #{each.code} }}", "", _meaning(each), ""]
        if found:
            messages = [(_first_line(message), _plain(hint)) for message, hint in found]
            lines += table(("It says", "What to do"), messages)
    return "\n".join(lines)


def _meaning(error: type[TaleError]) -> str:
    return cell(inspect.cleandoc(error.__doc__ or "").split("\n\n")[0])


def _first_line(message: str) -> str:
    return _plain(message.splitlines()[0] if message.strip() else message)


def _plain(text: str) -> str:
    """Give a text of the terminal's so that Markdown shows it as it is."""
    if "`" in text:
        return text
    return re.sub(r"([*_<>\[\]])", r"\\\1", text)
