"""Texts are compared by their words, in one form, and divided into sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.memory.words import asks, content_words, key_words, only_asks, pieces, sentences, words


def test_words_are_compared_without_case_accents_plural_and_possession() -> None:
    assert words("Zoë's CAFÉS, on v1.2 of blue-heron") == [
        "zoe",
        "cafe",
        "on",
        "v1.2",
        "of",
        "blue-heron",
    ]
    assert pieces("Zoë's blue-heron") == ["zoe", "s", "blue", "heron"]


def test_letters_that_are_composed_stay_whole() -> None:
    assert pieces("한국 в Москве") == ["한국", "в", "москве"]


def test_a_word_that_says_nothing_is_none_in_any_form() -> None:
    assert content_words("does he really have others? I don't say so, that's all") == {"don't"}
    assert key_words("Thanks, that's always great!") == frozenset()
    assert key_words("Use tabs instead of spaces") == {"tab", "space"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("See Dr. May about v1.2, e.g. today.", ["See Dr. May about v1.2, e.g. today."]),
        ("First line\nsecond line", ["First line", "second line"]),
        ("... \n - \n!", []),
    ],
)
def test_a_sentence_ends_where_it_is_said_to(text: str, said: list[str]) -> None:
    assert sentences(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "What is my dentist's name?",
        "what is my dentist's name",
        "ok so where do we meet",
        "how many people are coming",
        "is the server up",
        "Who is it? Is it Maja?\nOr Ana (or Kim?)",
    ],
)
def test_a_question_only_asks_also_without_its_mark(text: str) -> None:
    assert only_asks(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "when i was young i lived in oslo",
        "How nice! Does she like it there?",
        "What a day!",
        "where Maja lives is nice",
        "My name is Kim. What is yours?",
    ],
)
def test_what_tells_something_does_not_only_ask(text: str) -> None:
    assert not only_asks(text)


@given(st.text(max_size=200))
def test_any_text_has_words_and_sentences(text: str) -> None:
    assert key_words(text) <= content_words(text) <= {*words(text)}
    assert all(one in text for one in sentences(text))
    assert not only_asks(text) or asks(text)
