"""Talk is told from work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.models.assess import assess, band_of

TALK = [
    "hello world",
    "hi",
    "Hi!",
    "good morning",
    "what can you do?",
    "thanks!",
    "Thank you, that was great",
    "what is the capital of France?",
    "how do I reverse a list in python?",
    "How do you write a function in Python?",
    "Who are you",
    "can you hear me?",
    "tell me a joke",
    "write a haiku",
    "I like programs",
    "why is the sky blue",
    "is python faster than ruby?",
    "What does git rebase do?",
    "ok",
    "please",
    "fix",
    "yes, do that",
    "",
    "   ",
    "???",
]
WORK = [
    "Write a Python function that parses ISO dates, with tests",
    "Write a complex Python web scraper",
    "Build a complete web application with user authentication, database, and API",
    "write a python function that parses iso dates",
    "WRITE A PYTHON FUNCTION!!!",
    "please write a script that renames my photos",
    "Can you create a REST API for a todo list?",
    "could you please implement quicksort in Rust",
    "Hi! Could you fix the bug in parser.py?",
    "Hello, I want you to build me a website.",
    "I'd like you to refactor this module",
    "I need a script that counts words in a file",
    "convert data.csv to JSON",
    "Analyse the sales report and draw conclusions",
    "generate unittests for utils.py",
    "Help me write a Dockerfile",
    "I have a CSV with sales. Write a script that totals them.",
    "refactor the payment code",
    "let's build a snake game",
    "create a list of twenty names for my new company that sells used bicycles",
    "```\nprint(1)\n``` what is wrong here?",
    "import os\nwhy does this not work: def f(:",
    "word " * 100,
    "x" * 1000,
]


@pytest.mark.parametrize("text", TALK)
def test_talk_is_not_work(text: str) -> None:
    assert not assess(text).work, assess(text).reason


@pytest.mark.parametrize("text", WORK)
def test_work_is_work(text: str) -> None:
    assert assess(text).work, assess(text).reason


def test_an_assessment_says_why() -> None:
    assert assess("Please write a script").reason == "asks to write something (script)"


@pytest.mark.parametrize(
    "prefix", ["please ", "Can you ", "could you please ", "Hey tale, ", "OK, "]
)
@pytest.mark.parametrize("ending", ["", ".", "!", "?", " ..."])
@pytest.mark.parametrize("change", [str, str.upper, str.lower])
def test_politeness_case_and_punctuation_change_nothing(
    prefix: str, ending: str, change: type[str]
) -> None:
    text = f"{prefix}write a Python script that sorts my files{ending}"
    assert assess(change(text)).work


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_gives_one_assessment(text: str) -> None:
    first = assess(text)
    assert first == assess(text)
    assert 0.5 <= first.confidence <= 1
    assert 0 <= first.difficulty <= 1
    assert first.band == band_of(first.difficulty)
    assert first.reason


@given(st.text(max_size=200), st.sampled_from([" ", "\n", "\t "]))
def test_white_space_around_changes_nothing(text: str, space: str) -> None:
    assert assess(space + text + space) == assess(text)
