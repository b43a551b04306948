"""An answer is set as it is written: what is finished is printed once, whatever the cuts."""

from __future__ import annotations

import io
import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tale.cli.answer import AnswerWriter, answer_lines
from tale.cli.highlight import coloured_line
from tale.cli.live_region import rows_of, transition
from tale.cli.markdown_blocks import BEGINNING, CodeEnd, CodeLine, CodeStart, Piece, Prose, read
from tale.cli.render import Screen, clean, display_width
from tale.cli.rich_markdown import block_lines

WHOLE = """Sure, **here**:

# How
1. First `one`
   - nested

     ```sh
     ls # list
     ```
2. Second
- other
Code:
```python
def f():

    return "```"
```
| a | b |
|--:|---|
| 1 | 二 |
> quoted
lazily

Title
---
~~~
never closed
``` not this"""

_LINES = st.sampled_from(
    (
        *("", "", "words", "- item", "  - in it", "2. two", "```py", "```", "~~~", "x = 1"),
        *("# Head", "> said", "| a | b |", "|---|--:|", "---", "    deep", "**bold", "   more"),
        "end** `c",
    )
)
_TEXTS = st.lists(_LINES, max_size=14).map("\n".join)


def pieces_of(text: str, cuts: list[int]) -> list[Piece]:
    reading, pieces = BEGINNING, list[Piece]()
    ends = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})
    for begin, end in itertools.pairwise([0, *ends]):
        reading, more = read(reading, text[begin:end])
        pieces += more
    return pieces + reading.rest()


class _Emulator:
    """A terminal that knows as much as is written to it: lines, up, and clear below."""

    def __init__(self) -> None:
        self.lines, self.row, self.column = [""], 0, 0

    def take(self, written: str) -> None:
        for part in re.findall(r"\x1b\[\d*[A-Z]|\n|\r|[^\x1b\n\r]+", written):
            if part.endswith("A") and part.startswith("\x1b"):
                self.row -= int(part[2:-1])
                assert self.row >= 0
            elif part == "\x1b[J":
                self.lines[self.row :] = [self.lines[self.row][: self.column]]
            elif part == "\n":
                self.row, self.column = self.row + 1, 0
                if self.row == len(self.lines):
                    self.lines.append("")
            elif part == "\r":
                self.column = 0
            else:
                before = self.lines[self.row][: self.column]
                self.lines[self.row] = before + part
                self.column += len(part)


@given(_TEXTS, st.lists(st.integers(0, 120)))
@example(WHOLE, list(range(400)))
def test_what_comes_out_is_the_same_however_the_stream_is_cut(text: str, cuts: list[int]) -> None:
    assert pieces_of(text, cuts) == pieces_of(text, [])


@given(_TEXTS, st.lists(st.integers(0, 120)))
def test_no_word_is_lost(text: str, cuts: list[int]) -> None:
    said = "\n".join(
        piece.source if isinstance(piece, Prose) else piece.text
        for piece in pieces_of(text, cuts)
        if isinstance(piece, Prose | CodeLine)
    )
    fences = re.compile(r"^ *(?:`{3}(?:py)?|~{3})$")
    words = [line.split() for line in text.split("\n") if not fences.match(line)]
    kept = [line.split() for line in said.split("\n") if not fences.match(line)]
    assert list(itertools.chain(*kept)) == list(itertools.chain(*words))


@given(_TEXTS, st.lists(st.integers(1, 9), min_size=1))
@example(WHOLE, [1])
def test_the_screen_shows_in_the_end_what_the_whole_answer_is_set_as(
    text: str, steps: list[int]
) -> None:
    out, ticks = io.StringIO(), itertools.count()
    screen = Screen(out, out, out_is_terminal=True, width=60, redraws=True)
    writer = AnswerWriter(screen, clock=lambda: float(next(ticks)))
    position = 0
    for step in itertools.cycle(steps):
        writer.token(text[position : position + step])
        position += step
        if position >= len(text):
            break
    writer.finish(text)
    emulator = _Emulator()
    emulator.take(out.getvalue())
    shown = [line for line in emulator.lines if line]
    expected = [line for line in answer_lines(text, screen) if line]
    assert shown == expected


def test_blocks_of_every_kind_are_told_apart() -> None:
    pieces = pieces_of(WHOLE, [])
    sources = [piece.source for piece in pieces if isinstance(piece, Prose)]
    assert sources == [
        "Sure, **here**:",
        "# How",
        "1. First `one`\n   - nested\n\n     ```sh\n     ls # list\n     ```",
        "2. Second",
        "- other\nCode:",
        "| a | b |\n|--:|---|\n| 1 | 二 |",
        "> quoted\nlazily",
        "Title\n---",
    ]
    code = [piece for piece in pieces if not isinstance(piece, Prose)]
    assert code == [
        CodeStart("python", gap=True),
        CodeLine("def f():"),
        CodeLine(""),
        CodeLine('    return "```"'),
        CodeEnd(),
        CodeStart("", gap=True),
        CodeLine("never closed"),
        CodeLine("``` not this"),
        CodeEnd(),
    ]


def test_what_may_become_anything_is_not_drawn_yet() -> None:
    for beginning in ("`", "``", "#", "-", "1", "1.", "|", "**"):
        reading, _ = read(BEGINNING, f"Before\n\n{beginning}")
        assert reading.rest(live=True) == []
        assert reading.rest() == [Prose(beginning, gap=True)]
    reading, _ = read(BEGINNING, "```py\nx = 1\n``")
    assert reading.rest(live=True) == [CodeEnd()]


@given(
    st.lists(st.text("ab", max_size=12), min_size=1, max_size=6),
    st.lists(st.lists(st.text("ab", max_size=12), min_size=1, max_size=6), max_size=5),
)
def test_lines_are_turned_into_others_from_the_first_that_differs(
    first: list[str], others: list[list[str]]
) -> None:
    emulator = _Emulator()
    emulator.take("\n".join(first))
    for old, new in itertools.pairwise([first, *others]):
        emulator.take(transition(old, new, 80))
        assert emulator.lines == new
        assert (emulator.row, emulator.column) == (len(new) - 1, len(new[-1]))


def test_what_is_only_longer_is_only_written_on() -> None:
    assert transition(["one", "tw"], ["one", "two", "three"], 80) == "o\nthree"


def test_a_window_that_became_narrower_has_broken_its_lines() -> None:
    assert rows_of("", 40) == 1
    assert rows_of("二" * 30, 40) == 2
    assert rows_of("ที่นี่" * 13, 40) == 1
    assert transition(["a" * 70, "b"], ["c"], 40).startswith("\x1b[2A\r\x1b[J")


def test_what_does_not_fit_on_the_screen_is_drawn_by_its_end() -> None:
    out, ticks = io.StringIO(), itertools.count()
    screen = Screen(out, out, out_is_terminal=True, width=60, redraws=True)
    writer = AnswerWriter(screen, clock=lambda: float(next(ticks)))
    rows = [f"| {number} | x |" for number in range(60)]
    for row in ["| n | x |", "|---|---|", *rows]:
        writer.token(row + "\n")
    ups = [int(count) for count in re.findall(r"\x1b\[(\d+)A", out.getvalue())]
    assert max(ups, default=0) < 24
    writer.finish("")
    emulator = _Emulator()
    emulator.take(out.getvalue())
    assert sum("59" in line for line in emulator.lines) == 1


@pytest.mark.parametrize("color", [True, False])
def test_prose_fits_the_terminal_and_loses_nothing(color: bool) -> None:
    said = "Use <title> and [1]: http://x.y, [docs](https://d.oc/s), 二分探索 🚀 `a*b` "
    lines = block_lines(said * 3, 40, color=color)
    assert all(display_width(line) <= 40 for line in lines)
    bare = "".join(re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines).replace(" ", "")
    for part in ("<title>", "[1]:http://x.y", "docs(https://d.oc/s)", "二分探索", "a*b"):
        assert part in bare
    assert color or "`a*b`" in bare


def test_a_paragraph_of_many_lines_is_finished_in_parts() -> None:
    text = "\n".join(map(str, "abcdefghijklmnopqrstuvwxyz"))
    first, second = pieces_of(text, [])
    assert first == Prose(text[:31], gap=False)
    assert second == Prose(text[32:], gap=False)


def test_lines_of_a_poem_stay_lines() -> None:
    assert block_lines("An old *pond*\nA frog", 60, color=False) == ["An old pond", "A frog"]


def test_without_colours_marks_say_what_styles_would() -> None:
    assert block_lines("## Head", 60, color=False) == ["## Head"]
    assert block_lines("- a\n  - b `c`", 60, color=False) == ["• a", "  ◦ b `c`"]


def test_a_line_of_code_is_coloured_by_what_stands_above_it() -> None:
    above = ['"""Begins', "if True:"]
    assert coloured_line(above, "python") == "\x1b[32mif True:\x1b[0m"
    assert "\x1b[35mif\x1b[0m" in coloured_line(above[1:], "python")
    assert coloured_line(above, "no such language") == "if True:"


def test_a_model_can_not_steer_the_terminal() -> None:
    out = io.StringIO()
    writer = AnswerWriter(Screen(out, out, out_is_terminal=True, width=60, redraws=True))
    for piece in ("a\x1b", "]0;title\x07 \x9b31m", "```\n\x1b[2Jb\u202e\n"):
        writer.token(piece)
    writer.finish("")
    assert "\x1b]" not in out.getvalue()
    assert not re.search("[\x07\x9b\u202e]|\x1b\\[2J", out.getvalue())
    assert clean("a\u2028b\u2067c") == "abc"
