"""What is shown in part says so, and is no longer than it may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tale.clipped import beginning, clipped


def test_a_short_text_is_shown_whole() -> None:
    assert clipped("  Write\n\ta parser ", 14) == "Write a parser"
    assert beginning(" as it\nis", 9) == " as it\nis"


def test_a_long_text_says_that_it_goes_on() -> None:
    assert clipped("Write a parser for dates", 9) == "Write a…"
    assert beginning("Write a parser", 7) == "Write a […]"


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_line_has_at_most_its_characters(text: str, most: int) -> None:
    line = clipped(text, most)
    assert len(line) <= most
    assert "\n" not in line
    assert " ".join(text.split()).startswith(line.removesuffix("…"))
