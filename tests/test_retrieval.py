"""What was said is found again, and what was forgotten is not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, event, select, text, update

from tale.memory.finding import Found
from tale.memory.index import Taken, purge, rows_at, turns_at
from tale.memory.retrieval import Retrieval
from tale.memory.turns import NewTurn, TurnStore
from tale.storage.database import Database
from tale.storage.schema import sessions, turns

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: Database, clock: Clock) -> TurnStore:
    return TurnStore(database, now=clock)


@pytest.fixture
def retrieval(database: Database) -> Retrieval:
    return Retrieval(database)


async def say(store: TurnStore, *told: str, session: str | None = None) -> str:
    """Record a conversation, user and assistant in turn."""
    for at, one in enumerate(told):
        turn = await store.add(session, NewTurn("assistant" if at % 2 else "user", one))
        session = turn.session
    assert session
    return session


async def keep_up(retrieval: Retrieval) -> None:
    while (await retrieval.keep_up()).turns:
        pass


async def find(
    retrieval: Retrieval, question: str, limit: int = 5, around: int = 0
) -> Sequence[Found]:
    await keep_up(retrieval)
    now = NOON + timedelta(days=1)
    return await retrieval.find(question, limit=limit, now=now, around=around)


TALK = (
    "My sister Ana moved to Lisbon and works at the harbour.",
    "How nice! Does she like it there?",
    "The deploy of the billing service failed because of an expired certificate.",
    "I can look at the logs.",
)


async def test_what_was_said_is_found_by_its_words_in_another_form(
    store: TurnStore, retrieval: Retrieval
) -> None:
    session = await say(store, *TALK)
    best = (await find(retrieval, "Why did deploying fail, which certificates were it?"))[0]
    assert (best.session, best.seq, best.speaker) == (session, 3, "user")
    assert best.text == TALK[2]
    assert best.at == NOON + timedelta(minutes=3)
    assert best.shares["words"] > 0


async def test_what_was_said_is_found_by_what_it_means(
    store: TurnStore, retrieval: Retrieval
) -> None:
    await say(store, *TALK)
    best = (await find(retrieval, "sibling abroad in Portugal"))[0]
    assert best.seq == 1
    assert "words" not in best.shares
    assert best.shares["meaning"] > 0


async def test_an_earlier_question_stands_behind_the_turn_that_answers_it(
    store: TurnStore, retrieval: Retrieval
) -> None:
    told = await say(store, "My dentist is called Dr. Okafor, in Mill Road.", "Noted.")
    asked = await say(store, "what is my dentist called", "That is Dr. Okafor.")
    places = [one.place for one in await find(retrieval, "What is my dentist called?")]
    assert places.index((told, 1)) < places.index((asked, 1))
    best = (await find(retrieval, "What did I ask about my dentist?"))[0]
    assert best.place == (asked, 1)


async def test_neighbours_of_a_find_come_along(store: TurnStore, retrieval: Retrieval) -> None:
    await say(store, *TALK)
    best = (await find(retrieval, "Lisbon", limit=1, around=2))[0]
    assert [row.seq for row in best.around] == [2, 3]
    assert best.around[0].text == TALK[1]


async def test_a_date_in_a_question_finds_what_was_said_then(
    store: TurnStore, retrieval: Retrieval, clock: Clock
) -> None:
    clock.now = NOON - timedelta(days=6)  # a Tuesday
    there = await say(store, "The boiler makes a strange noise.", "Oh.")
    clock.now = NOON - timedelta(days=90)
    await say(store, "We painted the kitchen.", "In which colour?")
    best = (await find(retrieval, "what did I tell you last Tuesday?"))[0]
    assert best.session == there
    assert best.shares["date"] > 0


async def test_a_turn_is_taken_in_once_and_only_new_ones_later(
    store: TurnStore, retrieval: Retrieval
) -> None:
    session = await say(store, *TALK)
    assert await retrieval.keep_up() == Taken(4, 0)
    assert await retrieval.keep_up() == Taken(0, 0)
    await say(store, "Her cat is called Bolt.", session=session)
    assert await retrieval.keep_up() == Taken(1, 0)
    assert (await find(retrieval, "cat Bolt"))[0].seq == 5


async def test_what_is_forgotten_is_gone_from_the_index(
    store: TurnStore, retrieval: Retrieval, database: Database
) -> None:
    session = await say(store, *TALK)
    await find(retrieval, "Lisbon")
    await database.write(lambda c: c.execute(delete(sessions).where(sessions.c.id == session)))
    assert await find(retrieval, "Lisbon harbour sister") == []
    for table in ("remembered", "remembered_words_docsize"):
        query = text(f"SELECT count(*) FROM {table}")  # noqa: S608
        assert await database.read(lambda c, query=query: c.scalar(query)) == 0


async def test_what_was_forgotten_keeps_nothing_else_from_being_found(
    database: Database, store: TurnStore, retrieval: Retrieval
) -> None:
    stays = await say(store, "Our cat had kittens in the shed.")
    gone = await say(store, *(f"A puppy is a young dog {number}" for number in range(60)))
    assert (await find(retrieval, "puppy"))[0].session == gone
    await database.write(lambda c: c.execute(delete(sessions).where(sessions.c.id == gone)))
    assert [one.place for one in await find(retrieval, "puppy")] == [(stays, 1)]


async def test_no_word_of_what_was_forgotten_is_left_in_the_index(
    store: TurnStore, retrieval: Retrieval, database: Database
) -> None:
    session = await say(store, "My password is xylophone.", "I won't tell.")
    await say(store, *TALK)
    await keep_up(retrieval)

    def forget(connection: Connection) -> None:
        connection.execute(delete(sessions).where(sessions.c.id == session))
        purge(connection)

    await database.write(forget)
    # How a word begins may be written with the one before it.
    query = text("SELECT block FROM remembered_words_data")
    blocks = await database.read(lambda c: list(c.scalars(query)))
    assert any(b"sbon" in block for block in blocks)
    assert not any(b"lophon" in block for block in blocks)


async def test_a_turn_that_is_corrected_is_found_by_its_new_words_only(
    store: TurnStore, retrieval: Retrieval, database: Database
) -> None:
    await say(store, *TALK)
    await find(retrieval, "Lisbon")
    changed = update(turns).where(turns.c.seq == 1).values(text="She moved to Porto.")
    await database.write(lambda c: c.execute(changed))
    assert all("words" not in one.shares for one in await find(retrieval, "Lisbon"))
    assert (await find(retrieval, "Porto"))[0].seq == 1


@pytest.mark.parametrize(
    "damage", ["DELETE FROM remembered_words_data", "DROP TABLE remembered_words_idx"]
)
async def test_a_damaged_index_loses_no_turn_and_is_made_anew(
    damage: str, store: TurnStore, retrieval: Retrieval, database: Database
) -> None:
    await say(store, *TALK)
    await keep_up(retrieval)
    await database.write(lambda c: c.execute(text(damage)))
    await say(store, "The turn that is said now is recorded all the same.")
    assert (await retrieval.find("Lisbon", limit=1, now=NOON))[0].text == TALK[0]
    assert retrieval.damaged
    assert (await retrieval.keep_up()).turns == 0
    steps: list[Taken] = []
    await retrieval.make_anew(steps.append)
    assert sum(step.turns for step in steps) == 5
    assert steps[-1].waiting == 0
    assert (await find(retrieval, "Lisbon"))[0].text == TALK[0]
    assert not retrieval.damaged


async def test_a_turn_of_a_megabyte_is_found_and_given_whole(
    store: TurnStore, retrieval: Retrieval
) -> None:
    huge = "The launch code is zebra. " + "x y z 1 " * 130_000
    await say(store, "hello", "hello", huge, "I see.")
    assert (await find(retrieval, "zebra launch code"))[0].text == huge


@pytest.mark.parametrize(
    "question",
    [
        '"',
        "text:Lisbon NEAR(a b, 3) AND NOT *",
        "Lisbon'; DROP TABLE turns; --",
        "^Lisbon* OR (",
        "\0\ud800",
        "(" * 2000,
        "",
        "\N{CJK UNIFIED IDEOGRAPH-4E00}",
    ],
)
async def test_nothing_in_a_question_is_taken_for_syntax(
    question: str, store: TurnStore, retrieval: Retrieval
) -> None:
    await say(store, *TALK)
    await find(retrieval, question)
    assert (await find(retrieval, "Lisbon"))[0].seq == 1


async def test_no_question_reads_all_turns(
    database: Database, store: TurnStore, retrieval: Retrieval
) -> None:
    await say(store, *TALK)
    while (await retrieval.keep_up()).turns:
        pass

    def work(connection: Connection) -> list[str]:
        said: list[tuple[str, Sequence[Any]]] = []

        @event.listens_for(connection, "before_cursor_execute")
        def note(*told: Any) -> None:  # pyright: ignore[reportUnusedFunction]
            said.append((str(told[2]), told[3]))

        places = [(one.session, one.seq) for one in connection.execute(select(turns)).all()]
        said.clear()
        assert rows_at(connection, places)
        assert turns_at(connection, places)
        cursor = connection.connection.cursor()
        steps: list[str] = []
        for statement, values in said:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            steps += [row[3] for row in cursor.fetchall()]
        return steps

    steps = await database.read(work)
    assert any("SEARCH turns" in step for step in steps)
    assert not any("SCAN turns" in step for step in steps)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(question=st.text(max_size=100))
async def test_any_question_can_be_asked(
    question: str, store: TurnStore, retrieval: Retrieval
) -> None:
    if not await store.latest(1):
        await say(store, *TALK)
    found = await find(retrieval, f"{question} Lisbon")
    assert 1 in {one.seq for one in found}


async def test_what_nobody_said_is_not_found(retrieval: Retrieval) -> None:
    assert await find(retrieval, "anything") == []
