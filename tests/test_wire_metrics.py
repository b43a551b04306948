"""Counting the calls of the wire: windows, percentiles, edges; without a clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tale.wire.metrics import Recorder, Window


def test_percentiles_are_of_the_calls_of_the_last_minute() -> None:
    window = Window()
    for _ in range(100):
        window.add(0, 9.0)
    for number in range(1, 101):
        window.add(50, number / 100)
    assert window.percentiles(50).p50 == 1.0
    late = window.percentiles(61)
    assert late.seen == 100
    assert (late.p50, late.p95, late.p99) == (0.5, 0.95, 0.99)
    assert window.percentiles(200).seen == 0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_percentiles_are_durations_that_were_seen_and_grow(durations: list[float]) -> None:
    window = Window()
    for seconds in durations:
        window.add(0, seconds)
    seen = window.percentiles(0)
    assert min(durations) <= seen.p50 <= seen.p95 <= seen.p99 <= max(durations)
    assert {seen.p50, seen.p95, seen.p99} <= set(durations)


def test_recent_percentiles_lag_by_a_few_calls_only() -> None:
    window = Window()
    window.add(0, 1.0)
    assert window.recent(0).p50 == 1.0
    for _ in range(200):
        window.add(0, 5.0)
        window.recent(0)
    assert window.recent(0).p50 == 5.0


def test_an_edge_counts_calls_and_errors_by_kind_and_times_only_what_was_answered() -> None:
    recorder = Recorder()
    edge = recorder.edge("gateway", "show")
    for error in ("", "busy", "busy", "task_not_found"):
        edge.began()
        edge.ended(1.0, 0.5, error)
    edge.began()
    (view,) = recorder.view(1.0)
    assert (view.calls, view.in_flight) == (4, 1)
    assert view.errors == {"busy": 2, "task_not_found": 1}
    assert view.percentiles.seen == 1


def test_the_same_tool_has_one_edge_and_edges_come_in_order() -> None:
    recorder = Recorder()
    assert recorder.edge("ux", "chat") is recorder.edge("ux", "chat")
    recorder.edge("gateway", "show")
    assert [(one.service, one.tool) for one in recorder.view(0)] == [
        ("gateway", "show"),
        ("ux", "chat"),
    ]
