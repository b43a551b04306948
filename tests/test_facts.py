"""What a process takes of the machine, now and over time."""

from __future__ import annotations

import os
import threading
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter

from tale.orchestration.facts import NOTHING, Gauge, History, Moment, Sample, ServerStatus

MEGABYTE = 1 << 20


def test_a_process_that_is_gone_takes_nothing() -> None:
    assert Gauge(1 << 22).read() == NOTHING


def test_a_living_process_has_memory_a_share_of_the_processor_descriptors_and_threads() -> None:
    gauge = Gauge(os.getpid())
    before = gauge.read()
    assert before.rss > 0
    assert before.cpu > 0
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    with open(os.devnull):  # noqa: PTH123  a descriptor more
        after = gauge.read()
    over.set()
    thread.join()
    assert (after.fds - before.fds, after.threads - before.threads) == (1, 1)


class TestHistory:
    def test_the_latest_moments_are_kept_with_their_time_since_the_first(self) -> None:
        history = History(kept=2)
        for n in range(4):
            history.add(100.0 + n, Sample(rss=n, cpu=n / 2))
        assert history.moments() == [Moment(2.0, 1.0, 2), Moment(3.0, 1.5, 3)]

    def test_a_minute_of_samples_is_kept_by_default(self) -> None:
        history = History()
        for n in range(1000):
            history.add(n, NOTHING)
        assert len(history.moments()) == 60

    @pytest.mark.parametrize("times", [[], [5.0], [5.0, 5.0]], ids=["none", "one", "at once"])
    def test_without_time_there_is_no_trend(self, times: list[float]) -> None:
        history = History()
        for n, now in enumerate(times):
            history.add(now, Sample(rss=n))
        assert history.trend() == 0.0

    @given(st.integers(-1000, 1000), st.integers(0, 1 << 40), st.floats(0, 1e9), st.integers(2, 90))
    def test_steady_growth_is_told_exactly(
        self, a_second: int, base: int, begun: float, count: int
    ) -> None:
        history = History()
        for n in range(count):
            history.add(begun + n, Sample(rss=base + n * a_second))
        assert history.trend() == pytest.approx(3600 * a_second, rel=1e-3, abs=1e-6)

    def test_one_burst_is_not_taken_for_a_leak_as_large(self) -> None:
        history = History()
        for n in range(60):
            history.add(n, Sample(rss=100 * MEGABYTE + (50 * MEGABYTE if n == 59 else 0)))
        assert 0 < history.trend() < 3600 * 50 * MEGABYTE / 59 / 5

    def test_what_goes_up_and_down_has_no_trend(self) -> None:
        history = History()
        for n in (0, 1, 2, 1, 0):
            history.add(len(history.moments()), Sample(rss=n))
        assert history.trend() == 0.0


def test_a_status_needs_no_history_and_can_be_written_as_json() -> None:
    status = ServerStatus("a", "a", "ready", 1, "", 0, 1, 1.0, 1, 1.0, None)
    assert (status.fds, status.threads, status.history, status.exits) == (0, 0, [], [])
    told = replace(status, history=[Moment(0.0, 1.0, 2)], exits=["exit 1"])
    json: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
    written = json.validate_python(asdict(told))
    assert isinstance(written, dict)
    assert written["history"] == [{"at": 0.0, "cpu": 1.0, "rss": 2}]
