"""Code coloured line by line, as it is written.

A line is coloured by what stands above it alone, so it looks the same whether or not more follows.
Only the terminal's own colours are used, which suit light and dark ones. Pygments is imported with
the first line. Above: `typeset`. Below: `render`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tale.cli.render import Style, paint

if TYPE_CHECKING:
    from pygments.lexer import Lexer

__all__ = ["coloured_line"]

_STYLES: Final[dict[str, tuple[Style, ...]]] = {
    "Token.Comment": ("dim",),
    "Token.Keyword": ("magenta",),
    "Token.Keyword.Constant": ("cyan",),
    "Token.Literal.Number": ("cyan",),
    "Token.Literal.String": ("green",),
    "Token.Name.Attribute": ("cyan",),
    "Token.Name.Builtin": ("cyan",),
    "Token.Name.Class": ("bold",),
    "Token.Name.Decorator": ("yellow",),
    "Token.Name.Exception": ("yellow",),
    "Token.Name.Function": ("bold",),
    "Token.Name.Tag": ("magenta",),
    "Token.Operator.Word": ("magenta",),
    "Token.Generic.Deleted": ("red",),
    "Token.Generic.Heading": ("bold",),
    "Token.Generic.Inserted": ("green",),
    "Token.Generic.Prompt": ("dim",),
    "Token.Generic.Subheading": ("bold",),
}
_STEP, _LEAST_ABOVE = 40, 40
"""Lines: a line is read with 40 to 80 above it, which takes a millisecond or two; a text that spans
more of them is coloured as if it began there."""
_LONGEST: Final = 2000
"""Characters of a line; what is longer is data, and left as it is."""


def coloured_line(lines: Sequence[str], language: str) -> str:
    """Colour the last of some lines of code.

    Args:
        lines: The code so far.
        language: As the fence names it; one that isn't known leaves the line as it is.
    """
    line = lines[-1]
    lexer = _lexer(language.partition(" ")[0].strip("{}.").lower())
    if lexer is None or not line.strip() or len(line) > _LONGEST:
        return line
    begins = max(0, ((len(lines) - 1) // _STEP) * _STEP - _LEAST_ABOVE)
    painted = ""
    for kind, text in lexer.get_tokens("\n".join(lines[begins:])):
        *_, whole = (painted + _paint_all(text, str(kind))).split("\n")
        painted = whole
    return painted


def _paint_all(text: str, kind: str) -> str:
    """Paint a token of a kind, each of its lines by itself."""
    while kind and kind not in _STYLES:
        kind = kind.rpartition(".")[0]
    if not kind:
        return text
    return "\n".join(paint(part, *_STYLES[kind]) for part in text.split("\n"))


@lru_cache(maxsize=32)
def _lexer(language: str) -> Lexer | None:
    if not language:
        return None
    from pygments.lexers import (  # noqa: PLC0415
        get_lexer_by_name,  # pyright: ignore[reportUnknownVariableType]
    )
    from pygments.util import ClassNotFound  # noqa: PLC0415

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
