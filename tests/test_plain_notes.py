"""A turn that only tells something is no work, however much it reads like it."""

from __future__ import annotations

import pytest

from tale.memory.plain_notes import only_tells, plain_notes


@pytest.mark.parametrize(
    "text",
    [
        "Remember that the wifi password of the cabin is blue-heron-42.",
        "My wifi password is blue-heron-42.",
        "We decided to release version 2 on March 14. My name is Kim.",
        "From now on use metric units.",
    ],
)
def test_a_turn_may_only_tell(text: str) -> None:
    assert only_tells(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Write a function that adds two numbers.",
        "My name is Kim. Write a poem about it.",
        "Our site is slow, fix it.",
        "My code is this:\n```python\nprint(1)\n```",
        "My code is broken please help",
        "What is my name?",
    ],
)
def test_a_turn_that_may_ask_for_something_does_not_only_tell(text: str) -> None:
    assert not only_tells(text)


def test_a_title_ends_no_sentence() -> None:
    [note] = plain_notes("My dentist is Dr. Okafor in Mill Road.")
    assert note.text == "My dentist is Dr. Okafor in Mill Road."
