"""A turn that only tells something is no work, however much it reads like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.memory.plain_notes import only_tells, plain_notes


@pytest.mark.parametrize(
    "text",
    [
        "Remember that the wifi password of the cabin is blue-heron-42.",
        "My wifi password is blue-heron-42.",
        "We decided to release version 2 on March 14. My name is Kim.",
        "From now on use metric units.",
        "The wifi password of the cabin is blue-heron-42.",
        "the password for the router is correct horse",
        "By the way, the database is PostgreSQL 17. Maja's birthday is on 12 June.",
        "The deploy key is in ~/.ssh/deploy.",
        "Our staging server is staging.example.org and the port is 8443.",
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
        "The parser is broken, fix it.",
        "The parser is broken.",
        "The build is red on Python 3.14.",
        "The goal is a web app with login and a database.",
        "The input is /data/in.csv.",
        "The address is wrong.",
        "The output should be JSON.",
        "The limit is 100 but must be 200.",
        "A website for my bakery with a contact form and prices",
        "The wifi password is blue-heron-42. Print a sign with it.",
    ],
)
def test_a_turn_that_may_ask_for_something_does_not_only_tell(text: str) -> None:
    assert not only_tells(text)


STATED = (
    "The wifi password of the cabin is blue-heron-42",
    "The deadline for the grant is 3 May",
    "My name is Kim",
    "We decided to use PostgreSQL",
)
ASKED = ("fix it", "write a script for it", "please print a sign", "can you check it?", "help me")


@given(
    st.sampled_from(STATED),
    st.sampled_from(ASKED),
    st.sampled_from([". ", ", ", "; ", "\n", ", so ", ": ", " and please "]),
    st.booleans(),
)
def test_what_asks_for_something_beside_what_it_tells_stays_work(
    told: str, asked: str, between: str, first: bool
) -> None:
    assert only_tells(told)
    assert not only_tells(f"{asked}{between}{told}" if first else f"{told}{between}{asked}")


def test_a_title_ends_no_sentence() -> None:
    [note] = plain_notes("My dentist is Dr. Okafor in Mill Road.")
    assert note.text == "My dentist is Dr. Okafor in Mill Road."
