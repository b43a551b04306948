"""A text longer than any window is summarised in parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.models.digest import digest, split

pytestmark = pytest.mark.anyio


def words(text: str) -> int:
    return len(text.split())


class Writer:
    """Shortens a text to its first words."""

    def __init__(self, keep: int) -> None:
        self.asked: list[str] = []
        self._keep = keep

    async def __call__(self, text: str) -> str:
        self.asked.append(text)
        return " ".join(text.split()[: self._keep])


PARAGRAPHS = "\n\n".join(f"p{number} " + "word " * 8 for number in range(12))


async def test_a_text_that_fits_is_summarised_at_once() -> None:
    writer = Writer(2)
    assert await digest("one two three", writer, words, 10) == "one two"
    assert writer.asked == ["one two three"]


async def test_a_long_text_is_summarised_in_parts_and_then_the_summaries() -> None:
    writer = Writer(4)
    summary = await digest(PARAGRAPHS, writer, words, 20)
    assert summary == "p0 word word word"
    assert all(words(part) <= 20 for part in writer.asked)
    # 6 parts of two paragraphs; their summaries are two parts; and those one.
    assert len(writer.asked) == 9
    assert writer.asked[0].startswith("p0 ")
    assert writer.asked[1].startswith("p2 ")


async def test_a_model_that_shortens_nothing_is_not_asked_for_ever() -> None:
    writer = Writer(1000)
    summary = await digest(PARAGRAPHS, writer, words, 20, rounds=2)
    assert summary.split() == PARAGRAPHS.split()
    assert len(writer.asked) == 12


async def test_the_same_text_makes_the_same_calls() -> None:
    first, second = Writer(4), Writer(4)
    await digest(PARAGRAPHS, first, words, 20)
    await digest(PARAGRAPHS, second, words, 20)
    assert first.asked == second.asked


def test_a_text_is_cut_at_the_best_place_it_has() -> None:
    assert split("a b\n\nc d\n\ne f", words, 4) == ["a b\n\nc d\n\n", "e f"]
    assert split("a b\nc d\ne f", words, 4) == ["a b\nc d\n", "e f"]
    assert split("A b. C d. E f.", words, 4) == ["A b. C d. ", "E f."]
    assert split("a b c d e", words, 4) == ["a b c d ", "e"]
    assert split("abcdef", len, 3) == ["abc", "def"]


@given(st.text(alphabet="ab .\n\u3002", max_size=300), st.integers(1, 40))
def test_parts_are_the_text_again_and_none_is_too_long(text: str, room: int) -> None:
    parts = split(text, len, room)
    assert "".join(parts) == text
    assert all(len(part) <= room for part in parts)
