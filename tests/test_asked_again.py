"""A question that is asked again says that its answer was no good."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tale.memory.asked_again import LastAsked, asks_again

AGAIN = [
    ("What is the capital of Australia?", "what is the capital of australia"),
    ("What is the captial of Australia?", "What is the capital of Australia?"),
    ("Who wrote Faust?", "No, that's wrong"),
    ("Who wrote Faust?", "that is not what I asked"),
    ("Who wrote Faust?", "try again"),
    ("Wer schrieb Faust?", "Das stimmt nicht."),
]
ONWARDS = [
    ("What is the capital of Australia?", "What is the capital of Austria and its population?"),
    ("What is a list in Python?", "What is a dictionary in Java?"),
    ("thanks", "thanks"),
    ("hi", "hi"),
    ("Who wrote Faust?", "And who wrote Hamlet?"),
    ("Who wrote Faust?", "What is wrong with my code?"),
    ("Who wrote Faust?", "I will try again tomorrow"),
    ("", ""),
]


@pytest.mark.parametrize(("before", "now"), AGAIN)
def test_the_same_question_or_a_complaint_asks_again(before: str, now: str) -> None:
    assert asks_again(before, now)


@pytest.mark.parametrize(("before", "now"), ONWARDS)
def test_another_question_goes_on(before: str, now: str) -> None:
    assert not asks_again(before, now)


@given(st.text(min_size=12).filter(lambda text: len("".join(text.split())) >= 12))
def test_what_is_said_twice_is_asked_again(text: str) -> None:
    assert asks_again(text, f"  {text}\n")


@given(st.text("abcdefg ", min_size=12), st.text("mnopqrs ", min_size=12))
def test_texts_that_have_nothing_in_common_are_two_questions(before: str, now: str) -> None:
    assume("".join(before.split()) and "".join(now.split()))
    assert not asks_again(before, now)


def test_the_request_that_failed_is_named_in_its_own_conversation() -> None:
    asked = LastAsked(most=2)
    assert asked.note("a", "Who wrote Faust?", "r-1") is None
    assert asked.note("b", "Who wrote Faust?", "r-2") is None
    assert asked.note("a", "who wrote faust", "r-3") == "r-1"
    assert asked.note("c", "Who wrote Faust?", "r-4") is None
    assert asked.note("b", "Who wrote Faust?", "r-5") is None, "it was too long ago"
