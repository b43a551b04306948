"""Conversations are summed up in spare time, once, and what is written stays written."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, delete

from tale.errors import ServiceUnavailable
from tale.memory.particulars import Particular
from tale.memory.summaries import SummaryStore, forget_summaries
from tale.memory.summarising import Outcome, Summarising
from tale.memory.summary import Summary
from tale.memory.turns import NewTurn, TurnStore
from tale.models.caller import ScriptedModels
from tale.storage.database import Database
from tale.storage.schema import sessions

pytestmark = [pytest.mark.anyio, pytest.mark.each_database]


class World:
    def __init__(self, database: Database, *answers: str) -> None:
        self.models = ScriptedModels()
        self.models.spare = [*answers]
        self.turns = TurnStore(database)
        self.store = SummaryStore(database)
        self.summarising = Summarising(self.models, self.turns, self.store)

    async def talk(self, turns: int) -> str:
        """Have a conversation in which each turn has some 30 tokens."""
        session: str | None = None
        for number in range(1, turns + 1):
            speaker = "user" if number % 2 else "assistant"
            text = f"Turn {number} is about door {number * 1111}. " + "And so on. " * 5
            session = (await self.turns.add(session, NewTurn(speaker, text))).session
        assert session
        return session

    async def sum_up(self, session: str, before: int) -> Outcome:
        return await self.summarising.up_to(session, before, chunk=100, prose=32)

    async def spans(self, session: str) -> list[tuple[int, int, int]]:
        return [(one.first, one.last, one.level) for one in await self.store.of(session)]


async def test_all_before_the_window_is_summed_up_and_then_the_summaries(
    database: Database,
) -> None:
    world = World(database, *(f"Part {n}." for n in "abcd"), "They talked about doors.")
    session = await world.talk(20)
    assert await world.sum_up(session, 17) == "done"
    assert await world.spans(session) == [
        (1, 4, 0),
        (1, 16, 1),
        (5, 8, 0),
        (9, 12, 0),
        (13, 16, 0),
    ]
    whole = (await world.store.of(session))[1]
    assert whole.prose == "They talked about doors."
    assert {str(n * 1111) for n in range(1, 17)} <= {one.key for one in whole.kept}
    asked = world.models.asked_in_spare_time
    assert [request.max_tokens for request in asked] == [32] * 5
    assert await world.sum_up(session, 17) == "done"
    assert len(asked) == 5, "what is summed up is not summed up again"


async def test_it_goes_on_where_somebody_needed_the_model(database: Database) -> None:
    world = World(database)
    session = await world.talk(8)
    world.models.busy = 1
    assert await world.sum_up(session, 9) == "busy"
    assert await world.spans(session) == []
    assert await world.sum_up(session, 9) == "done"
    assert await world.spans(session) == [(1, 4, 0), (5, 8, 0)]


async def test_what_was_written_before_a_crash_is_taken_up(database: Database) -> None:
    first = World(database, "Part a.")
    session = await first.talk(8)
    first.models.spare.append(ServiceUnavailable("killed"))
    assert await first.sum_up(session, 9) == "failed"
    again = World(database, "Part b.")
    assert await again.sum_up(session, 9) == "done"
    assert [one.prose for one in await again.store.of(session)] == ["Part a.", "Part b."]
    [request] = again.models.asked_in_spare_time
    assert "door 5555" in request.messages[1].content


async def test_ramblings_are_not_kept(database: Database) -> None:
    world = World(database, "They talked of doors." + " And doors of doors." * 60)
    session = await world.talk(4)
    await world.sum_up(session, 5)
    assert len((await world.store.of(session))[0].prose) < 100


async def test_forgotten_turns_are_in_no_summary_and_the_others_are_summed_up_again(
    database: Database,
) -> None:
    world = World(database)
    session = await world.talk(20)
    await world.sum_up(session, 17)

    def forget(connection: Connection) -> None:
        forget_summaries(connection, session, 6, 7)

    await database.write(forget)
    assert await world.spans(session) == [(1, 4, 0), (9, 12, 0), (13, 16, 0)]
    await world.sum_up(session, 17)
    assert (5, 8, 0) in await world.spans(session)


async def test_nothing_is_recorded_of_turns_that_were_forgotten_meanwhile(
    database: Database,
) -> None:
    world = World(database)
    session = await world.talk(8)
    told = Summary(1, 4, 0, "Short.")
    assert not await world.store.add(session, told, of=[1, 2, 3, 4, 99])
    assert await world.store.add(session, told, of=[1, 2, 3, 4])
    wide = Summary(1, 8, 1, "Short.")
    assert not await world.store.add(session, wide, of=[told, Summary(5, 8, 0, "")])
    assert await world.spans(session) == [(1, 4, 0)]


async def test_summaries_come_back_as_they_were_and_go_with_their_conversation(
    database: Database,
) -> None:
    world = World(database)
    session = await world.talk(2)
    kept = (Particular("number", "8443", "port 8443"), Particular("decision", "tea", "tea"))
    summary = Summary(1, 2, 0, "Short.", kept)
    await world.store.add(session, Summary(1, 2, 0, "Older."))
    await world.store.add(session, summary)
    assert await world.store.of(session) == [summary]
    await database.write(
        lambda connection: connection.execute(delete(sessions).where(sessions.c.id == session))
    )
    assert await world.store.of(session) == []
