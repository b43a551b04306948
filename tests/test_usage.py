"""What is counted: the naive loop's share, the sums, and what `tale usage` makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.cli.usage import parse_since, saving_lines
from tale.cli.usage_view import NaiveView, UsageLine, UsageView
from tale.errors import ConfigError
from tale.models import usage
from tale.models.naive import History, Naive, Spent, naive
from tale.models.usage import Tally, merged, report

counts = st.integers(0, 10_000)
tallies = st.builds(
    Tally,
    st.sampled_from(["small", "large"]),
    st.sampled_from(["ux", "task", None]),
    st.sampled_from(["talk", "code"]),
    *[counts] * 8,
)


def spent(rest: int, said: int, completion: int, own: bool) -> Spent:
    return Spent(rest + said, said, completion, in_session=True, own=own)


spents = st.builds(
    spent,
    counts,
    counts,
    counts,
    st.booleans(),
)


def turns(*requests: Spent) -> list[Naive]:
    shares: list[Naive] = []
    history: History | None = None
    for each in requests:
        share, history = naive(each, history)
        shares.append(share)
    return shares


class TestNaive:
    def test_each_request_of_a_session_carries_all_before_it(self) -> None:
        first = Spent(120, 20, 30, in_session=True, own=False)
        # tale sent a window of 90 tokens; the loop sends system, two messages, two answers, this.
        second = Spent(90, 10, 40, in_session=True, own=False)
        third = Spent(80, 5, 6, in_session=True, own=False)
        assert turns(first, second, third) == [
            Naive(120, 30, 50),
            Naive(100 + 50 + 10, 40, 50),
            Naive(100 + 50 + 50 + 5, 6, 11),
        ]

    def test_a_caller_with_its_own_history_sends_what_the_loop_would(self) -> None:
        spent = Spent(500, 40, 10, in_session=False, own=False)
        assert naive(spent, None) == (Naive(500, 10, 50), None)

    def test_what_tale_asks_for_itself_the_loop_would_not(self) -> None:
        spent = Spent(500, 40, 10, in_session=True, own=True)
        assert naive(spent, History(100, 7)) == (Naive(), History(100, 7))

    def test_a_request_that_was_never_sent_changes_nothing(self) -> None:
        spent = Spent(0, 40, 0, in_session=True, own=False)
        assert naive(spent, None) == (Naive(), None)

    @given(st.lists(spents))
    def test_the_loop_never_sends_less_than_is_said_nor_less_than_before(
        self, requests: list[Spent]
    ) -> None:
        ours = [each for each in requests if not each.own and each.prompt]
        shares = [share for share in turns(*requests) if share != Naive()]
        assert len(shares) == len(ours)
        told = 0
        for each, share in zip(ours, shares, strict=True):
            assert share.prompt >= told + each.said
            assert share.computed == each.said + each.completion
            assert share.computed <= share.prompt + share.completion
            told += each.said + each.completion
        assert sum(share.completion for share in shares) == sum(e.completion for e in ours)


class TestReport:
    @given(st.lists(tallies), st.randoms(use_true_random=False))
    def test_order_and_grouping_change_no_sum(self, parts: list[Tally], random: Random) -> None:
        shuffled = random.sample(parts, len(parts))
        cut = len(parts) // 2
        batches = [*merged(shuffled[:cut]), *merged(shuffled[cut:])]
        assert report(batches, None) == report(parts, None)

    @given(st.lists(tallies))
    def test_the_total_is_the_sum_of_the_lines(self, parts: Sequence[Tally]) -> None:
        made = report(parts, None)
        for name in ("requests", "failed", "prompt", "cached", "computed", "completion"):
            assert getattr(made.total, name) == sum(getattr(line, name) for line in made.lines)

    def test_the_saving_is_a_share_of_the_loops_tokens(self) -> None:
        made = report(
            [
                Tally("small", "ux", "talk", 2, 0, 100, 40, 20, 600, 20, 40),
                Tally("large", "task", "code", 1, 0, 150, 50, 30, 380, 200, 300),
            ],
            since=7.0,
        )
        assert made.sent_saved == pytest.approx(1 - 300 / 1200)
        assert made.large_computed == 130
        assert made.computed_saved == pytest.approx(1 - 130 / 340)
        assert [line.model for line in made.lines] == ["large", "small"]

    def test_without_a_loop_there_is_no_share(self) -> None:
        made = report([Tally("small", "ux", "talk", 1, 0, 100, 0, 20)], None)
        assert (made.sent_saved, made.computed_saved) == (None, None)


class TestSince:
    NOW = datetime(2026, 11, 24, 15, 30, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("text", "begin"),
        [
            ("30m", NOW - timedelta(minutes=30)),
            ("24h", NOW - timedelta(hours=24)),
            ("7d", NOW - timedelta(days=7)),
            ("2w", NOW - timedelta(weeks=2)),
            ("today", datetime(2026, 11, 24, tzinfo=UTC)),
            ("yesterday", datetime(2026, 11, 23, tzinfo=UTC)),
            ("2026-11-01T14:30+00:00", datetime(2026, 11, 1, 14, 30, tzinfo=UTC)),
            ("999999m", NOW - timedelta(minutes=999_999)),
        ],
    )
    def test_it_is_a_span_a_day_or_a_time(self, text: str, begin: datetime) -> None:
        assert parse_since(text, lambda: self.NOW) == begin.timestamp()

    def test_a_date_begins_at_local_midnight(self) -> None:
        begin = datetime.fromtimestamp(parse_since("2026-11-01", lambda: self.NOW), tz=None)  # noqa: DTZ006 - local
        assert (begin.day, begin.hour, begin.minute) == (1, 0, 0)

    @pytest.mark.parametrize("text", ["soon", "7", "7y", "-3d", "2026-13-01", "999999w", "7 d"])
    def test_anything_else_is_refused_with_what_is_allowed(self, text: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_since(text, lambda: self.NOW)
        assert text in caught.value.message
        assert "7d" in caught.value.hint


class TestWords:
    LINE = UsageLine("", None, "", 4, 0, 900, 300, 600, 100)

    def view(self, sent: float | None, computed: float | None, failed: int = 0) -> UsageView:
        total = dataclasses.replace(self.LINE, failed=failed)
        return UsageView(None, (), total, 250, NaiveView(1800, 200, 500), sent, computed)

    def test_the_saving_is_told_in_figures(self) -> None:
        assert saving_lines(self.view(0.5, 0.501)) == [
            "A single large model with full history would have taken 2,000 tokens for the same",
            "work, in and out; tale took 1,000: 50 % fewer.",
            "The large model computed 250 of them; that one, with a perfect",
            "prefix cache, 500: 50 % fewer.",
        ]

    def test_more_is_told_as_more(self) -> None:
        text = "\n".join(saving_lines(self.view(-0.25, 0.001)))
        assert "1,000: 25 % more." in text
        assert "500: as many." in text

    def test_nothing_to_compare_with_is_said(self) -> None:
        assert saving_lines(self.view(None, None)) == [
            "Nothing yet that a single large model would have been asked too."
        ]

    def test_failures_are_counted(self) -> None:
        last = saving_lines(self.view(0.5, None, failed=1))[-1]
        assert last == "1 request failed. `tale logs models` says why."


def test_the_view_has_the_fields_of_the_report() -> None:
    for view, shape in (
        (UsageView, usage.UsageReport),
        (UsageLine, usage.UsageLine),
        (NaiveView, usage.NaiveSum),
    ):
        assert set(view.__dataclass_fields__) == set(shape.__dataclass_fields__)
