"""How a block of Markdown looks on a terminal: Rich's, with our own headings, lists and code.

Nothing that a model wrote is lost: HTML and link definitions stay as they are, a line break is one,
and a link shows where it leads. Importing this takes as long as a whole `tale status`, so `typeset`
does it when the first answer comes. Below: Rich, markdown-it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich import box, markdown
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

__all__ = ["block_lines"]

_THEME: Final = Theme(
    {
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold italic",
        "markdown.h4": "italic",
        "markdown.h5": "italic",
        "markdown.h6": "italic",
        "markdown.code": "cyan",
        "markdown.code_inline": "cyan",
        "markdown.item.bullet": "cyan",
        "markdown.item.number": "cyan",
        "markdown.block_quote": "italic",
        "markdown.link": "underline",
        "markdown.link_url": "dim",
        "markdown.hr": "dim",
        "markdown.table.header": "bold",
        "markdown.table.border": "dim",
        "markdown.s": "strike",
    },
    inherit=True,
)
_TRAILING: Final = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$")
_PARSER: Final = (
    MarkdownIt("commonmark", {"html": False})
    .enable(["strikethrough", "table"])
    # A block is read by itself, so what is defined in one is not known in another.
    .disable("reference")
)
_JUSTIFY: Final[dict[str, JustifyMethod]] = {"center": "center", "right": "right"}
_BULLETS: Final = "•◦▪"


def block_lines(source: str, columns: int, *, color: bool) -> list[str]:
    """Set a block of Markdown.

    Args:
        source: The block.
        columns: Cells that a line may take.
        color: Whether it may be styled; else what styles would say is said by marks.

    Returns:
        Its lines, with escape sequences that end with the line.
    """
    console = Console(
        file=io.StringIO(),
        width=columns,
        force_terminal=True,
        color_system="standard" if color else None,
        theme=_THEME,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(_Markdown(source, color=color), end="")
    return [_TRAILING.sub(r"\1", line) for line in captured.get().strip("\n").split("\n")]


class _Paragraph(markdown.Paragraph):
    @classmethod
    def create(cls, markdown: markdown.Markdown, token: Token) -> _Paragraph:
        del markdown, token
        return cls(justify="default")  # others fill the line with blanks


class _Heading(markdown.Heading):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = "#" * int(self.tag[1:]) + " " if console.color_system is None else ""
        yield Text(marks) + self.text


class _Code(markdown.CodeBlock):
    """Code inside of a list or a quote; elsewhere `typeset` has it line by line."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from tale.cli.highlight import coloured_line  # noqa: PLC0415

        lines = str(self.text).rstrip("\n").split("\n")
        for number in range(1, len(lines) + 1):
            line = lines[number - 1]
            if console.color_system is not None:
                line = coloured_line(lines[:number], self.lexer_name)
            yield Text.from_ansi(line)


class _Rule(markdown.HorizontalRule):
    new_line = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("─" * min(40, options.max_width), style=console.get_style("markdown.hr"))


class _Table(markdown.TableElement):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, style="markdown.table.border"
        )
        head = self.header.row.cells if self.header and self.header.row else []
        for cell in head:
            title = cell.content.copy()
            title.stylize("markdown.table.header")
            table.add_column(title, justify=_JUSTIFY.get(cell.justify, "left"), overflow="fold")
        for row in self.body.rows if self.body else []:
            table.add_row(*(cell.content for cell in row.cells))
        yield table


class _List(markdown.ListElement):
    def __init__(self, list_type: str, list_start: int | None, depth: int) -> None:
        super().__init__(list_type, list_start)
        self._depth = depth

    @classmethod
    def create(cls, markdown: markdown.Markdown, token: Token) -> _List:
        del markdown
        return cls(token.type, int(token.attrs.get("start", 1)), token.level // 2)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        bullet = _BULLETS[self._depth % len(_BULLETS)]
        style = console.get_style("markdown.item.bullet")
        for number, item in enumerate(self.items, start=self.list_start or 0):
            sign = bullet if self.list_type == "bullet_list_open" else f"{number}."
            yield from _set_in(console, options, item.elements, f"{sign} ", style)


class _Quote(markdown.BlockQuote):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _set_in(console, options, self.elements, "▌ ", self.style, every=True)


def _set_in(
    console: Console,
    options: ConsoleOptions,
    inside: Any,
    sign: str,
    style: Style,
    *,
    every: bool = False,
) -> RenderResult:
    """Set something in by the width of a sign, which stands in its first line or in every one."""
    narrower = options.update(width=max(1, options.max_width - len(sign)))
    for number, line in enumerate(console.render_lines(inside, narrower, pad=False)):
        yield Segment(sign, style) if every or not number else Segment(" " * len(sign))
        yield from line
        yield Segment.line()


class _Markdown(markdown.Markdown):
    elements = {  # noqa: RUF012 - as the base class has it
        **markdown.Markdown.elements,
        "paragraph_open": _Paragraph,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
        "hr": _Rule,
        "table_open": _Table,
        "bullet_list_open": _List,
        "ordered_list_open": _List,
        "blockquote_open": _Quote,
    }

    inlines = markdown.Markdown.inlines | {"link", "link_url"}

    def __init__(self, source: str, *, color: bool) -> None:
        super().__init__("")
        self.parsed = _PARSER.parse(source)
        for token in self.parsed:
            if token.type == "inline":
                token.children = list(_in_words(token.children or [], color=color))


def _in_words(tokens: Iterable[Token], *, color: bool) -> Iterator[Token]:
    """Keep line breaks, say where links lead, and without styles keep the marks of code."""
    leads, said = "", ""
    for token in tokens:
        said += token.content
        if token.type == "softbreak":
            yield Token("hardbreak", "br", 0)
        elif token.type == "link_open":
            leads, said = str(token.attrs.get("href", "")), ""
            yield Token("styled_open", "link", 1)
        elif token.type == "link_close":
            yield Token("styled_close", "link", -1)
            if leads not in (said, f"mailto:{said}"):
                yield Token("styled_open", "link_url", 1)
                yield Token("text", "", 0, content=f" ({leads})")
                yield Token("styled_close", "link_url", -1)
        elif token.type == "image":
            yield Token("text", "", 0, content=f"{token.content} ({token.attrs.get('src', '')})")
        elif token.type == "code_inline" and not color:
            yield Token("text", "", 0, content=f"{token.markup}{token.content}{token.markup}")
        else:
            yield token
