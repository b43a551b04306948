"""Names, numbers, code and decisions are found by their form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.memory.particulars import Particular, is_told, particulars, prose_sentences, unknown


def found(text: str, kind: str) -> list[str]:
    return [one.text for one in particulars([text]) if one.kind == kind]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("My sister Maja Lindqvist lives in Göteborg.", ["Maja Lindqvist", "Göteborg"]),
        ("Maja called. Yes, the one from Oslo.", ["Maja", "Oslo"]),
        ("I met Ludwig van Beethoven and Ada.", ["Ludwig van Beethoven", "Ada"]),
        ("The cat sleeps. Maybe it dreams. Writing helps.", []),
        ("We use the NATO alphabet for Maja's radio.", ["NATO", "Maja"]),
    ],
)
def test_names_are_found_and_the_beginnings_of_sentences_are_none(
    text: str, names: list[str]
) -> None:
    assert found(text, "name") == names


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("The budget is 12,400 euros.", ["budget 12,400 euros"]),
        ("It listens on port 8443 since 14:30.", ["port 8443", "14:30"]),
        ("Version v2.1.3 costs $4.99", ["Version v2.1.3 costs", "$4.99"]),
        ("15% less", ["15% less"]),
        ("no number at all", []),
    ],
)
def test_numbers_are_found_with_the_words_beside_them(text: str, numbers: list[str]) -> None:
    assert found(text, "number") == numbers


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Call parse_dates() in src/tale/ids.py.", ["parse_dates()", "src/tale/ids.py"]),
        ("Run `pip install foo==1.2` with --force", ["pip install foo==1.2", "--force"]),
        ("See https://example.org/a?b=1.", ["https://example.org/a?b=1"]),
        ("The maxRetries of HttpClient", ["maxRetries", "HttpClient"]),
        ("Write to a.b@c.de or ~/notes/todo.md", ["a.b@c.de", "~/notes/todo.md"]),
        ("```python\ndef parse_it():\n    pass\n```", ["parse_it"]),
        ("Either this and/or", ["and/or"]),
    ],
)
def test_identifiers_paths_and_commands_are_found(text: str, code: list[str]) -> None:
    assert found(text, "code") == code


@pytest.mark.parametrize(
    ("text", "decided"),
    [
        ("Let's go with the blue logo.", True),
        ("We'll use PostgreSQL instead of MySQL.", True),
        ("I'd prefer tea.", True),
        ("Never push to main.", True),
        ("We decided on Friday.", True),
        ("Should we use Redis?", False),
        ("The sky is blue.", False),
        ("Let's see.", False),
    ],
)
def test_decisions_are_found_and_questions_are_none(text: str, decided: bool) -> None:
    assert found(text, "decision") == ([text] if decided else [])


def test_the_same_thing_is_found_once() -> None:
    assert len(particulars(["Port 8443 for Ada.", "It was port 8443, Ada."])) == 2


def test_a_number_is_told_as_a_whole_only() -> None:
    port = Particular("number", "8443", "port 8443")
    assert is_told(port, "It is on 8443.")
    assert not is_told(port, "It is on 18443.")


def test_a_decision_is_told_where_its_words_are() -> None:
    decision = Particular("decision", "x", "Let's go with the blue logo.")
    assert is_told(decision, "They talked. They chose to go with a blue logo.")
    assert not is_told(decision, "They chose a logo.")


def test_what_nobody_said_is_found() -> None:
    known = ["Maja pays 40 euros."]
    assert [one.key for one in unknown("So Maja pays Tom 50 euros.", known)] == ["50", "tom"]
    assert unknown("So Maja pays 40 euros.", known) == []


def test_code_in_fences_is_no_sentence() -> None:
    assert prose_sentences("So:\n```\nx = 1. y = 2.\n```\nDone.") == ["So:", "Done."]


@given(st.text(st.sampled_from("aA1_.-/` \n'@:$€<>"), max_size=400) | st.text(max_size=200))
def test_any_text_has_particulars_that_it_tells(text: str) -> None:
    for one in particulars([text]):
        assert one.text
        assert len(one.text) <= 200
        if one.kind in {"name", "code"} and "…" not in one.text:
            assert one.key in text.lower()


@pytest.mark.parametrize(
    "piece", ["A ", "a/", "a.", "-", "_a", "1-", "`", "```\n", "a", "1", "@a."]
)
def test_a_megabyte_of_anything_is_read_in_time_that_grows_with_its_length(piece: str) -> None:
    # One that grew with the square would take minutes.
    assert len(particulars([piece * 1_000_000])) <= 400
