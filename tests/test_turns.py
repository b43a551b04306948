"""Conversations are kept turn by turn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from tale.errors import SessionNotFound
from tale.memory.turns import NewTurn, TurnStore
from tale.storage.database import Database

pytestmark = [pytest.mark.anyio, pytest.mark.each_database]

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def store(database: Database) -> TurnStore:
    return TurnStore(database)


async def test_a_first_turn_makes_a_session_that_is_called_after_it(store: TurnStore) -> None:
    turn = await store.add(None, NewTurn("user", "  Hello\n\nworld " + "x" * 100))
    session = await store.get(turn.session)
    assert turn.seq == 1
    assert session.turns == 1
    assert session.title.startswith("Hello world xxx")
    assert session.title.endswith("…")
    assert len(session.title) == 60


async def test_turns_come_back_as_they_were_told(store: TurnStore) -> None:
    first = await store.add(None, NewTurn("user", "do it"))
    answer = NewTurn("assistant", "on it", "model", "t-1", interrupted=True)
    second = await store.add(first.session, answer)
    assert second.seq == 2
    assert await store.turns(first.session) == [first, second]
    assert (second.model, second.task, second.interrupted) == ("model", "t-1", True)


async def test_the_last_turns_are_given_oldest_first(store: TurnStore) -> None:
    session = (await store.add(None, NewTurn("user", "1"))).session
    for number in range(2, 7):
        await store.add(session, NewTurn("user", str(number)))
    assert [turn.text for turn in await store.turns(session, limit=2)] == ["5", "6"]
    assert [turn.text for turn in await store.turns(session, after=3)] == ["4", "5", "6"]


async def test_turns_at_once_get_numbers_without_a_gap(store: TurnStore) -> None:
    session = (await store.add(None, NewTurn("user", "1"))).session
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(store.add, session, NewTurn("user", "more"))
    assert [turn.seq for turn in await store.turns(session)] == list(range(1, 12))


async def test_a_session_nobody_knows_is_named(store: TurnStore) -> None:
    for attempt in (store.add("s-none", NewTurn("user", "hi")), store.get("s-none")):
        with pytest.raises(SessionNotFound, match="s-none") as caught:
            await attempt
        assert "tale sessions" in caught.value.hint
    assert await store.latest(9) == []


async def test_sessions_are_listed_by_their_last_use(database: Database) -> None:
    times = iter([0, 1, 2, 3, -9])
    store = TurnStore(database, now=lambda: NOON + timedelta(minutes=next(times)))
    one = (await store.add(None, NewTurn("user", "one"))).session
    two = (await store.add(None, NewTurn("user", "two"))).session
    await store.add(one, NewTurn("user", "again"))
    assert [session.id for session in await store.latest(9)] == [one, two]
    assert [session.id for session in await store.latest(1)] == [one]
    await store.add(two, NewTurn("user", "later"))
    await store.add(two, NewTurn("user", "by a clock that stepped back"))
    assert (await store.get(two)).updated == NOON + timedelta(minutes=3)


async def test_what_databases_refuse_is_replaced(store: TurnStore) -> None:
    turn = await store.add(None, NewTurn("assistant", "a\0\ud800"))
    assert (await store.turns(turn.session)) == [turn]
    assert turn.text == "a�?"
