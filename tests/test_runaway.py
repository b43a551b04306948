"""Answers without end are noticed, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.models.runaway import before_rambling, runs_away
from tale.tasks.languages import EXTENSIONS

COUNTING = [f"    ('2023-01-01T00:00:00+{n:02}:00', {n * 3}),\n" for n in range(99)]
OPENING = "I can help you with questions,"
# As the embedded ux model said it when asked what it can do: two clauses in a changing order.
RAMBLING = OPENING + "".join(
    f" providing information, and {'assisting' if n % 3 else 'helping'} with tasks like answering "
    "questions,"
    for n in range(40)
)


@pytest.mark.parametrize(
    ("text", "endless"),
    [
        ("".join(COUNTING), True),
        ("".join(f"x{n} = {n}\ny = {n}.{n}\n" for n in range(40)), True),
        ("12345678" * 100, True),
        ("I am sorry. " * 60, True),
        ("", False),
        ("\n" * 1000, False),
        (" " * 1000, False),
        ("".join(COUNTING[:20]), False),
        ("".join(f"    {name!r}: {n},\n" for n, name in enumerate(EXTENSIONS)), False),
        (Path(__file__).read_text(), False),
    ],
)
def test_only_what_repeats_itself_runs_away(text: str, endless: bool) -> None:
    assert runs_away(text) == endless


def test_an_answer_that_says_nothing_new_any_more_is_cut_where_it_began_to() -> None:
    kept = before_rambling(RAMBLING)
    assert kept is not None
    assert RAMBLING.startswith(kept)
    assert len(OPENING) < len(kept) < len(OPENING) + 300


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no no no no no",
        OPENING,
        "```python\n" + "x = x + 1\n" * 60,
        Path(__file__).read_text(),
        "".join(f"{n}. The number {n} is {'even' if n % 2 == 0 else 'odd'}.\n" for n in range(90)),
    ],
)
def test_what_goes_on_saying_new_things_is_left_alone(text: str) -> None:
    assert before_rambling(text) is None


@given(st.lists(st.sampled_from(["yes", "no", "maybe"]), max_size=300))
def test_what_is_kept_is_the_beginning_of_what_was_said(words: list[str]) -> None:
    text = " ".join(words)
    kept = before_rambling(text)
    assert kept is None or text.startswith(kept)
    assert kept is not None or len(words) < 48 + 3**3 * 48
