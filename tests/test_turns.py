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
from tale.memory.context import (
    beginning,
    estimate_tokens,
    first_needed,
    room_after,
    tokens_from,
    window,
)
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
    seq: int
    speaker: Literal["user", "assistant"]
    text: str
    task: str | None = None


def talk(*sizes: int) -> list[Said]:
    """Make a conversation whose turns have so many tokens each."""
    return said(*("x" * size for size in sizes))


def said(*texts: str) -> list[Said]:
    """Make a conversation in which the user and tale take turns."""
    return [Said(n, "user" if n % 2 else "assistant", text) for n, text in enumerate(texts, 1)]


def sent(turns: list[Said], budget: int) -> tuple[Message, ...]:
    room = room_after("", budget, len)
    return window("", turns, begins=beginning(turns, room=room, count_tokens=len))


def test_a_short_conversation_is_sent_whole_after_the_system_prompt() -> None:
    assert window("be kind", said("hi", "hello", "how are you?")) == (
        Message("system", "be kind"),
        Message("user", "hi"),
        Message("assistant", "hello"),
        Message("user", "how are you?"),
    )


def test_what_one_said_in_a_row_is_one_message() -> None:
    turns = [Said(1, "user", "a"), Said(2, "user", "b"), Said(3, "assistant", "c")]
    turns.append(Said(4, "user", "d"))
    assert [one.content for one in sent(turns, 1000)] == ["", "a\n\nb", "c", "d"]


def test_what_became_a_task_is_not_sent_with_the_talk_that_follows() -> None:
    talk = [Said(3, "user", "thanks"), Said(4, "assistant", "My pleasure."), Said(5, "user", "bye")]
    turns = [Said(1, "user", "Write a poem"), Said(2, "assistant", "I've begun.", "t-1"), *talk]
    assert [one.content for one in sent(turns, 2000)[1:]] == [one.text for one in talk]


def test_a_long_text_that_was_talked_about_is_sent_whole() -> None:
    text = "It rained all day. " * 40
    assert sent(said(text, "How sad.", "why?"), 2000)[1].content == text


def test_a_request_that_is_still_to_be_answered_is_sent_whole() -> None:
    order = "Write a program. " * 40
    assert sent(said(order), 2000)[-1].content == order


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


@given(SIZES, st.integers(60, 400))
def test_a_window_moves_after_an_answer_as_long_as_there_is_time(
    sizes: list[int], budget: int
) -> None:
    turns, room = talk(*sizes), budget - 5

    def begins(end: int) -> int:
        return beginning(turns[:end], room=room, count_tokens=len)

    for end in range(3, len(turns) + 1, 2):
        request = len(turns[end - 1].text) + 5
        after_answer = begins(end - 1)
        # One that begins with the answer itself has nothing else that fits.
        if request < room // 4 and turns[after_answer - 1].speaker == "user":
            assert begins(end) == after_answer, "the request itself did not move it"


@given(SIZES, st.integers(60, 400))
def test_what_a_window_takes_is_counted_as_it_is_sent(sizes: list[int], begins: int) -> None:
    turns = talk(*sizes)
    messages = window("", turns, begins=begins % len(turns))
    taken = sum(len(one.content) + 5 for one in messages[1:])
    assert tokens_from(begins % len(turns), turns, len) == taken


@given(st.text(st.characters()))
def test_every_text_has_some_tokens(text: str) -> None:
    assert estimate_tokens(text) >= 1 + len(text) // 3


def test_the_window_is_computed_from_a_turn_that_seldom_changes() -> None:
    assert first_needed(0) == first_needed(511) == 0
    assert first_needed(512) == first_needed(767) == 256
    assert all(count - first_needed(count) < 512 for count in range(5000))
