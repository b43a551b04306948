"""An answer has a length: told in words, which never change, and limited in tokens."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.models.assess import BANDS, Band, Kind
from tale.models.budgets import RAISE, Budget, budget, has_own_length, prior_length, word_hint

KINDS: tuple[Kind, ...] = get_args(Kind)
ANY_KIND = st.sampled_from(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_harder_requests_have_longer_answers(kind: Kind) -> None:
    lengths = [prior_length(kind, band) for band in BANDS]
    assert lengths == sorted(lengths)
    assert all(0 < length.median < length.most for length in lengths)


def test_a_question_is_told_how_many_words_to_take() -> None:
    told = [word_hint("why is the sky blue", "question", band) for band in BANDS]
    assert told == [f"Answer in at most {words} words." for words in (50, 80, 150)]


@pytest.mark.parametrize("kind", ["code", "plan", "act", "extract", "transform"])
def test_what_is_as_long_as_it_has_to_be_is_told_nothing(kind: Kind) -> None:
    assert word_hint("do it", kind, "easy") == ""


@pytest.mark.parametrize(
    "text",
    [
        "Write 300 words about otters",
        "Explain in detail why the sky is blue",
        "summarise this in one sentence",
        "List all the moons of Jupiter",
        "be brief: what is DNS?",
        "step by step, how do I change a tyre?",
        "x" * 10_000 + " Answer in one paragraph.",
    ],
)
def test_who_says_how_long_it_is_to_be_is_not_contradicted(text: str) -> None:
    assert has_own_length(text)
    assert word_hint(text, "question", "easy") == ""
    assert budget("question", 100, room=9999, own_length=True) == Budget(768, 768)


def test_an_order_about_all_files_says_nothing_about_the_length_of_its_answer() -> None:
    assert not has_own_length("rename all my photos and check every folder")


def test_material_in_the_middle_says_nothing_about_length() -> None:
    text = "Summarise: " + "and so on, " * 100 + "ten words" + ", and so on" * 100
    assert not has_own_length(text)


@given(st.text(), ANY_KIND, st.sampled_from(BANDS))
def test_any_text_is_told_a_length_in_words_or_nothing(text: str, kind: Kind, band: Band) -> None:
    hint = word_hint(text, kind, band)
    assert re.fullmatch(r"(Answer in at most \d+ words\.)?", hint)
    assert not (hint and has_own_length(text))


def test_a_limit_is_above_what_nine_in_ten_need_and_is_raised_once() -> None:
    assert budget("question", 100, room=9999) == Budget(192, 192 * RAISE)


def test_learning_a_little_more_changes_no_limit() -> None:
    assert budget("question", 100, room=9999) == budget("question", 101, room=9999)


def test_what_is_transformed_may_be_as_long_as_its_source() -> None:
    limits = budget("transform", 100, source=1000, room=9999)
    assert limits is not None
    assert limits.limit >= 1500
    assert budget("summarise", 100, source=1000, room=9999) == Budget(192, 768)


@given(
    ANY_KIND,
    st.floats(1, 1e6),
    st.integers(-100, 10**6),
    st.none() | st.integers(0, 10**6),
    st.booleans(),
)
def test_a_limit_fits_the_window_and_the_callers_own(
    kind: Kind, most: float, room: int, asked: int | None, own: bool
) -> None:
    limits = budget(kind, most, source=room // 2, room=room, asked=asked, own_length=own)
    ceiling = room if asked is None else min(room, asked)
    if limits is None:
        assert ceiling < 1
    else:
        assert 1 <= limits.limit <= limits.raised <= ceiling
