"""What changed between two overviews, put into the first, gives the second."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tale.wire.contracts import TaskView
from tale.wire.overview_change import HISTORY_SECONDS, MOST_REQUESTS, change_between, joined, merged
from tale.wire.overview_contracts import (
    DaemonView,
    HistoryView,
    MachineView,
    MemoryPoint,
    ModelView,
    Overview,
    ProposedPlan,
    RequestPoint,
    ServerView,
    TokensView,
)

START = 1_800_000_000.0
WORDS = st.sampled_from(["ready", "starting", "backoff"])


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def history(seconds: int) -> HistoryView:
    """What is known at a second, where a request ends and memory is looked at each second."""
    return HistoryView(
        requests=tuple(
            RequestPoint(number=n, at=START + n, model="small", speed=1.0 * n)
            for n in range(seconds)
        ),
        memory=tuple(
            MemoryPoint(at=START + n, models={"small": n}, servers=n) for n in range(seconds)
        ),
    )


@st.composite
def overviews(draw: st.DrawFn, seconds: int) -> Overview:
    servers = draw(st.lists(st.sampled_from("abcd"), unique=True))
    tasks = draw(st.lists(st.sampled_from("stuv"), unique=True))
    return Overview(
        at=at(seconds),
        daemon=DaemonView(verdict=draw(WORDS)),
        machine=MachineView(cores=draw(st.integers(1, 2))),
        servers=tuple(ServerView(name=one, state=draw(WORDS)) for one in servers),
        models=tuple(
            ModelView(name="small", state=draw(WORDS)) for _ in range(draw(st.integers(0, 2)))
        ),
        tasks=tuple(
            TaskView(id=one, text=draw(WORDS), state="running", workspace="", created=at(0))
            for one in tasks
        ),
        plans=tuple(
            ProposedPlan(task=one, digest=draw(WORDS), parts=())
            for one in draw(st.lists(st.sampled_from("st"), unique=True))
        ),
        tokens=TokensView(prompt=draw(st.integers(0, 3))),
        history=history(seconds),
        troubles=tuple(draw(st.lists(WORDS, max_size=2))),
    )


@given(overviews(3), overviews(5))
def test_a_change_put_into_the_overview_before_gives_the_one_after(
    before: Overview, after: Overview
) -> None:
    assert merged(before, change_between(before, after)) == after


@given(overviews(4))
def test_nothing_changes_between_an_overview_and_itself(one: Overview) -> None:
    assert change_between(one, one).empty


@given(overviews(3), overviews(5))
def test_a_change_has_only_the_servers_and_tasks_that_differ(
    before: Overview, after: Overview
) -> None:
    change = change_between(before, after)
    assert not set(map(repr, change.servers)) & set(map(repr, before.servers))
    assert not set(map(repr, change.tasks)) & set(map(repr, before.tasks))


@given(st.integers(0, 2 * MOST_REQUESTS), st.integers(0, 8000))
def test_a_history_is_bounded_in_time_and_number(count: int, passed: int) -> None:
    kept = joined(HistoryView(), history(count), START + passed)
    assert len(kept.requests) <= MOST_REQUESTS
    assert all(point.at >= START + passed - HISTORY_SECONDS for point in kept.requests)
    assert all(point.at >= START + passed - HISTORY_SECONDS for point in kept.memory)
