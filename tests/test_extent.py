"""Large requests are planned, small ones are done in one go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.extent import extent_of
from tale.tasks.judging import judge

REQUESTS = Path(__file__).parent / "data" / "plan_or_not.jsonl"
"""Labelled by hand. The weights were set on the half `tuned`. Of `held out` 76 of 81 were right
then, before faults that they showed were mended; of `fresh`, written after that, 37 of 40."""

LARGE = [
    "Build a complete web application with user authentication, database, and API",
    "Create a data pipeline: download the files, clean them, store them, and draw a report",
    "1. Write the schema. 2. Write the API. 3. Write a web page for it. 4. Test it all.",
    "Baue eine vollständige Webanwendung mit Benutzeranmeldung, Datenbank und API",
]
SMALL = [
    "Write a complex Python web scraper",
    "Write a Python function that parses ISO dates, with tests",
    "Create a class Stack with push, pop and peek, and tests for it",
    "Summarise notes.txt in five sentences",
    "Write a script that renames my photos",
    "What is the capital of France?",
    "What does the whole system do, with its database, API and web pages?",
    "hello",
    "",
]


RULES = '''Write this Python function:

def valid_date(date):
    """Tell whether a date is valid. It is if all of the following rules hold:
    1. The date string is not empty.
    2. The number of days is not less than 1.
    3. The months are not less than 1 or higher than 12.
    4. The format is mm-dd-yyyy.
    """
'''


def test_rules_for_one_function_are_no_list_of_things_to_make() -> None:
    assert not extent_of(RULES).large
    assert not extent_of(RULES.removesuffix('"""\n')).large
    assert extent_of(RULES.replace('"""', "").replace("def valid_date(date):", "")).large


@pytest.mark.parametrize("text", LARGE)
def test_several_deliverables_or_a_whole_system_need_a_plan(text: str) -> None:
    extent = extent_of(text)
    assert extent.large
    assert judge(text).planned


@pytest.mark.parametrize("text", SMALL)
def test_one_thing_to_make_or_to_say_needs_none(text: str) -> None:
    assert not extent_of(text).large
    assert not judge(text).planned


def test_the_reason_names_what_was_weighed() -> None:
    extent = extent_of(LARGE[0])
    assert extent.reason == (
        "a whole website, 4 components are named (accounts, API, authentication)"
    )
    reason = f"it is large, so it is planned first: {extent.reason}"
    assert judge(LARGE[0]).reason == reason
    assert extent_of("Write a haiku").reason == "one thing is asked for"


@pytest.mark.parametrize(("half", "least"), [("tuned", 0.95), ("held out", 0.92), ("fresh", 0.9)])
def test_labelled_requests_are_told_apart(half: str, least: float) -> None:
    rows = [json.loads(line) for line in REQUESTS.read_text(encoding="utf-8").splitlines()]
    mine = [row for row in rows if row["half"] == half]
    right = sum(extent_of(row["text"]).large == row["large"] for row in mine)
    assert len(mine) >= 40
    assert right >= least * len(mine)


@given(st.text())
def test_any_text_has_the_same_extent_each_time(text: str) -> None:
    assert extent_of(text) == extent_of(text)


def test_a_huge_text_is_judged_by_its_beginning() -> None:
    assert extent_of("Build a complete shop, a database and an API. " + "x, a " * 40_000).large
