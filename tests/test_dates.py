"""Dates in questions: which days "last Tuesday" or "in May 2023" means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.memory.dates import spans

# A Friday.
NOW = datetime(2026, 11, 27, 15, 30, tzinfo=UTC)


def days(question: str, now: datetime = NOW) -> list[tuple[str, str]]:
    return [(f"{one.begin:%Y-%m-%d}", f"{one.end:%Y-%m-%d}") for one in spans(question, now)]


@pytest.mark.parametrize(
    ("question", "begin", "end"),
    [
        ("what did I say yesterday?", "2026-11-26", "2026-11-27"),
        ("what was decided the day before yesterday", "2026-11-25", "2026-11-26"),
        ("Last Tuesday we spoke of a trip", "2026-11-24", "2026-11-25"),
        ("what did I eat last Friday", "2026-11-20", "2026-11-21"),
        ("what did I eat on Friday", "2026-11-27", "2026-11-28"),
        ("two weeks ago", "2026-11-09", "2026-11-16"),
        ("3 days ago", "2026-11-24", "2026-11-25"),
        ("a few days ago", "2026-11-24", "2026-11-25"),
        ("a month ago", "2026-10-01", "2026-11-01"),
        ("last week", "2026-11-16", "2026-11-23"),
        ("last weekend", "2026-11-21", "2026-11-23"),
        ("this month", "2026-11-01", "2026-12-01"),
        ("last year", "2025-01-01", "2026-01-01"),
        ("in the past 3 days", "2026-11-24", "2026-11-28"),
        ("in May 2023", "2023-05-01", "2023-06-01"),
        ("What happened in May?", "2026-05-01", "2026-06-01"),
        ("what did we plan in December", "2025-12-01", "2026-01-01"),
        ("on 7 May 2023", "2023-05-07", "2023-05-08"),
        ("on the 7th of May, 2023", "2023-05-07", "2023-05-08"),
        ("on May 7th", "2026-05-07", "2026-05-08"),
        ("on December 24", "2025-12-24", "2025-12-25"),
        ("on 29 February", "2024-02-29", "2024-03-01"),
        ("on 2023-05-07", "2023-05-07", "2023-05-08"),
        ("during the summer of 2022", "2022-06-01", "2022-09-01"),
        ("in 2024", "2024-01-01", "2025-01-01"),
    ],
)
def test_what_a_question_means(question: str, begin: str, end: str) -> None:
    assert days(question) == [(begin, end)]


@pytest.mark.parametrize(
    "question",
    [
        "May I ask something?",
        "on 31 June",
        "on 2023-13-45",
        "who marched in the second week",
        "the sun and the moon",
        "port 2024 or version 3.11.7",
        "",
    ],
)
def test_what_names_no_day_that_there_is(question: str) -> None:
    assert days(question) == []


def test_each_date_of_a_question_counts_once_and_in_order() -> None:
    assert days("from 7 May 2023 to June 2023, or last week") == [
        ("2023-05-07", "2023-05-08"),
        ("2023-06-01", "2023-07-01"),
        ("2026-11-16", "2026-11-23"),
    ]


def test_days_begin_at_midnight_where_the_user_is() -> None:
    tokyo = timezone(timedelta(hours=9))
    (today,) = spans("today", NOW.astimezone(tokyo))
    assert today.begin == datetime(2026, 11, 28, tzinfo=tokyo)


MOMENTS = st.integers(0, 39_000).map(
    lambda days: NOW + timedelta(days=days - 13_000, hours=days % 24)
)


@given(st.text(), MOMENTS)
def test_no_text_is_too_strange(question: str, now: datetime) -> None:
    assert all(one.begin < one.end for one in spans(question, now))


WORDS = """
    in on last this the past ago two 31 30 29 0 99 999 May February Tuesday weekend week month year
    years 2023 1900 2023-02-30 summer yesterday of , st
    """.split()  # noqa: SIM905 - as they would be written


@given(
    st.lists(
        st.sampled_from(WORDS),
        max_size=12,
    ),
    MOMENTS,
)
def test_no_mixture_of_the_words_of_dates_is_too_strange(parts: list[str], now: datetime) -> None:
    assert all(one.begin < one.end for one in spans(" ".join(parts), now))


@given(MOMENTS, st.integers(0, 364))
def test_a_day_that_was_is_found_by_how_it_is_called(now: datetime, back: int) -> None:
    day = now - timedelta(days=back)
    for called in (f"{day:%-d %B %Y}", f"{day:%B %-d, %Y}", f"{day:%-d %B}", f"{day:%Y-%m-%d}"):
        (found,) = spans(f"what did I say on {called}?", now)
        assert day in found
        assert found.end - found.begin == timedelta(days=1)
    if 0 < back <= 7:
        (found,) = spans(f"what about last {day:%A}?", now)
        assert day in found
