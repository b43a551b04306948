"""Following a task's events across whatever breaks: no gap, nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_daemon import FakeDaemon, event
from tale.cli.connection import Connection
from tale.cli.events import events_of
from tale.cli.transport import Broken
from tale.errors import DaemonUnreachable, TaskNotFound


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path).running() as fake:
        yield fake


def _stored(count: int) -> list[dict[str, object]]:
    notes = [event(n, "note", text=str(n)) for n in range(1, count)]
    return [*notes, event(count, "done", answer="x")]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(count=st.integers(1, 6), breaks=st.lists(st.integers(1, 3), max_size=2))
def test_breaks_lose_nothing_and_repeat_nothing(
    daemon: FakeDaemon, count: int, breaks: list[int]
) -> None:
    daemon.events["t1"] = _stored(count)
    daemon.breaks = list(breaks)
    seen = [e.seq for e in events_of(Connection(daemon.paths), "t1")]
    assert seen == list(range(1, count + 1))
    daemon.breaks = []


def test_it_goes_on_from_the_last_number_it_saw(daemon: FakeDaemon) -> None:
    daemon.events["t1"] = _stored(5)
    daemon.breaks = [3]
    list(events_of(Connection(daemon.paths), "t1"))
    assert daemon.event_queries == [("t1", 0), ("t1", 3)]


def test_a_server_that_repeats_itself_is_filtered(daemon: FakeDaemon) -> None:
    one, two, done = event(1, "queued"), event(2, "note", text="x"), event(3, "done")
    daemon.events["t1"] = [one, two, one, two, done]
    assert [e.seq for e in events_of(Connection(daemon.paths), "t1")] == [1, 2, 3]


def test_tokens_pass_whatever_their_number(daemon: FakeDaemon) -> None:
    token = event(1, "token", text="x")
    daemon.events["t1"] = [event(1, "queued"), token, token, event(2, "done")]
    kinds = [e.kind for e in events_of(Connection(daemon.paths), "t1")]
    assert kinds == ["queued", "token", "token", "done"]


def test_what_is_known_already_is_not_asked_for(daemon: FakeDaemon) -> None:
    daemon.events["t1"] = _stored(4)
    assert [e.seq for e in events_of(Connection(daemon.paths), "t1", after=2)] == [3, 4]


def test_an_unknown_task_ends_it_at_once(daemon: FakeDaemon) -> None:
    with pytest.raises(TaskNotFound):
        list(events_of(Connection(daemon.paths), "nope"))
    assert len(daemon.event_queries) == 1


def test_a_gateway_that_always_breaks_off_is_given_up(daemon: FakeDaemon) -> None:
    daemon.breaks = [0] * 100
    with pytest.raises(Broken):
        list(events_of(Connection(daemon.paths), "t1"))


def test_a_daemon_that_was_stopped_is_named_as_that(tmp_path: Path) -> None:
    fake = FakeDaemon(tmp_path)
    fake.events["t1"] = [event(1, "queued"), event(2, "note", text="never comes")]
    with fake.running():
        following = events_of(Connection(fake.paths), "t1")
        assert next(following).seq == 1
        assert next(following).seq == 2
    with pytest.raises(DaemonUnreachable):
        next(following)
