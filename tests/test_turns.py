"""Conversations are kept turn by turn, and what is sent of them fits and keeps its beginning."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.config import Settings
from tale.errors import SessionNotFound
from tale.memory.context import estimate_tokens, first_needed, window
from tale.memory.turns import NewTurn, TurnStore
from tale.models.backend import Message
from tale.paths import Paths
from tale.storage.database import Database

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    async with Database.open(paths, Settings()) as opened:
        yield opened


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


# -- windows -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    speaker: Literal["user", "assistant"]
    text: str
    task: str | None = None


def talk(*sizes: int) -> list[Said]:
    """Make a conversation whose turns have so many tokens each."""
    return [Said("assistant" if n % 2 else "user", "x" * size) for n, size in enumerate(sizes)]


def sent(turns: list[Said], budget: int) -> tuple[Message, ...]:
    return window("", turns, budget=budget, count_tokens=len)


def test_a_short_conversation_is_sent_whole_after_the_system_prompt() -> None:
    turns = [Said("user", "hi"), Said("assistant", "hello"), Said("user", "how are you?")]
    assert window("be kind", turns, budget=1000) == (
        Message("system", "be kind"),
        Message("user", "hi"),
        Message("assistant", "hello"),
        Message("user", "how are you?"),
    )


def test_what_one_said_in_a_row_is_one_message() -> None:
    turns = [Said("user", "a"), Said("user", "b"), Said("assistant", "c"), Said("user", "d")]
    assert [one.content for one in sent(turns, 1000)] == ["", "a\n\nb", "c", "d"]


def test_what_became_a_task_is_not_sent_with_the_talk_that_follows() -> None:
    talk = [Said("user", "thanks"), Said("assistant", "You're welcome."), Said("user", "bye")]
    turns = [Said("user", "Write a poem"), Said("assistant", "I've begun.", "t-1"), *talk]
    assert [one.content for one in sent(turns, 2000)[1:]] == [one.text for one in talk]


def test_a_long_text_that_was_talked_about_is_sent_whole() -> None:
    text = "It rained all day. " * 40
    turns = [Said("user", text), Said("assistant", "How sad."), Said("user", "why?")]
    assert sent(turns, 2000)[1].content == text


def test_a_request_that_is_still_to_be_answered_is_sent_whole() -> None:
    order = "Write a program. " * 40
    assert sent([Said("user", order)], 2000)[-1].content == order


def test_a_turn_that_fits_no_window_is_sent_alone() -> None:
    assert [one.content for one in sent(talk(5, 5, 500), 100)] == ["", "x" * 500]


SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=80).filter(lambda s: len(s) % 2 == 1)


@given(SIZES, st.integers(60, 400))
def test_a_window_fits_and_ends_with_the_request(sizes: list[int], budget: int) -> None:
    turns = talk(*sizes)
    messages = sent(turns, budget)
    assert sum(len(one.content) + 5 for one in messages) <= budget
    assert messages[0].role == "system"
    assert messages[1].role == "user"
    assert [one.content for one in messages[1:]] == [t.text for t in turns[1 - len(messages) :]]


@given(SIZES, st.integers(60, 400))
def test_a_window_keeps_its_beginning_for_many_turns(sizes: list[int], budget: int) -> None:
    turns = talk(*sizes)
    moves = 0
    before: tuple[Message, ...] = ()
    for end in range(1, len(turns) + 1, 2):
        now = sent(turns[:end], budget)
        moves += before != now[: len(before)]
        before = now
    spent = sum(size + 5 for size in sizes)
    # It moves once for each half of the room that is spent, not once for each turn.
    assert moves <= 2 * spent / (budget - 5) + 1


@given(st.text(st.characters()))
def test_every_text_has_some_tokens(text: str) -> None:
    assert estimate_tokens(text) >= 1 + len(text) // 3


def test_the_window_is_computed_from_a_turn_that_seldom_changes() -> None:
    assert first_needed(0) == first_needed(511) == 0
    assert first_needed(512) == first_needed(767) == 256
    assert all(count - first_needed(count) < 512 for count in range(5000))
