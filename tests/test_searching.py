"""Turns and notes are found together, and the index follows what is said."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio
import pytest

from tale.memory.forgetting import BySession, Forgetting
from tale.memory.indexing import Indexing
from tale.memory.note_search import NoteSearch
from tale.memory.notes import Draft, NoteStore
from tale.memory.retrieval import Retrieval
from tale.memory.searching import MemoryFinder
from tale.memory.turns import NewTurn, TurnStore
from tale.storage.database import Database

pytestmark = [pytest.mark.anyio, pytest.mark.each_database]

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


async def indexed(database: Database, retrieval: Retrieval) -> None:
    """Run the background work until nothing waits."""
    indexing = Indexing(retrieval)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(indexing.run)
        while retrieval.damaged or await database.read(
            lambda connection: connection.exec_driver_sql(
                "SELECT count(*) FROM remembered WHERE pending"
            ).scalar()
        ):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


async def test_what_was_forgotten_is_not_found(database: Database) -> None:
    turns = TurnStore(database)
    first = await turns.add(None, NewTurn("user", "The safe opens with 4711."))
    retrieval = Retrieval(database)
    await indexed(database, retrieval)
    finder = MemoryFinder(retrieval, NoteSearch(database))
    assert "4711" in (await finder.find("How does the safe open?", limit=5, now=NOW))[0].text
    await Forgetting(database).forget(BySession(first.session))
    assert await finder.find("How does the safe open?", limit=5, now=NOW) == []


async def test_turns_and_notes_are_found_on_one_scale(database: Database) -> None:
    turns = TurnStore(database)
    first = await turns.add(None, NewTurn("user", "My dentist is Dr. Okafor in Mill Road."))
    await turns.add(first.session, NewTurn("assistant", "Noted."))
    await turns.add(None, NewTurn("user", "What goes into a good stock for ramen?"))
    await NoteStore(database).add(Draft("fact", "The dentist has moved to Park Street."))
    retrieval = Retrieval(database)
    await indexed(database, retrieval)
    found = await MemoryFinder(retrieval, NoteSearch(database)).find(
        "Where is my dentist?", limit=5, now=NOW
    )
    assert {found[0].speaker, found[1].speaker} == {"note", "user"}
    assert {"dentist" in one.text for one in found[:2]} == {True}
    for one in found:
        assert one.score == pytest.approx(sum(one.shares.values()))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_what_a_damaged_index_lost_is_taken_in_anew(database: Database) -> None:
    turns = TurnStore(database)
    await turns.add(None, NewTurn("user", "The spare key lies under the blue pot."))
    retrieval = Retrieval(database)
    await indexed(database, retrieval)
    await database.write(
        lambda connection: connection.exec_driver_sql("DELETE FROM remembered_words_data")
    )
    finder = MemoryFinder(retrieval, NoteSearch(database))
    assert "blue pot" in (await finder.find("spare key", limit=1, now=NOW))[0].text
    assert retrieval.damaged
    await indexed(database, retrieval)
    assert not retrieval.damaged
    found = await finder.find("spare key", limit=1, now=NOW)
    assert "blue pot" in found[0].text
    assert found[0].shares["words"] > 0
