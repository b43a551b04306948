"""What is forgotten is gone: turns, notes, titles, kept work, and their bytes on the disk."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, select
from sqlalchemy import text as sql

from memory_database import opened, paths_in
from tale.config import Settings
from tale.errors import NoteNotFound, SessionNotFound
from tale.memory import forgetting
from tale.memory.exchange import Work
from tale.memory.forgetting import (
    ByNote,
    BySession,
    ByText,
    ByTurn,
    Forgetting,
    What,
    without_typed,
)
from tale.memory.hearing import note_plainly
from tale.memory.notes import Draft, Note, NoteStore, Origin
from tale.memory.outbox import Outbox
from tale.memory.retrieval import Retrieval
from tale.memory.summaries import SummaryStore
from tale.memory.summary import Summary
from tale.memory.turns import NewTurn, TurnStore
from tale.storage.backup import back_up
from tale.storage.database import Database
from tale.storage.schema import outbox
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task_rows import Change

pytestmark = pytest.mark.each_database

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.turns = TurnStore(database, also=note_plainly)
        self.notes = NoteStore(database)
        self.forgetting = Forgetting(database)

    async def say(self, *texts: str, session: str | None = None) -> str:
        """Record turns of the user's, each with an answer."""
        for text in texts:
            session = (await self.turns.add(session, NewTurn("user", text))).session
            await self.turns.add(session, NewTurn("assistant", f"You said: {text}"))
        assert session is not None
        return session

    async def told(self, session: str) -> list[int]:
        return [turn.seq for turn in await self.turns.turns(session)]

    async def holding(self) -> list[str]:
        return sorted(note.text for note in await self.notes.listed(99))


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.mark.anyio
async def test_a_note_goes_with_the_turns_it_came_from_and_their_answers(world: World) -> None:
    session = await world.say("hello", "My name is Ada. I live in Berlin.", "bye")
    name = next(note for note in await world.notes.listed(9) if "Ada" in note.text)
    what = ByNote(name.id)
    doomed = await world.forgetting.doomed(what)
    assert (doomed.turns, doomed.count, len(doomed.notes)) == ({session: [3, 4]}, 2, 2)
    assert await world.told(session) == [1, 2, 3, 4, 5, 6], "nothing has gone yet"
    assert (await world.forgetting.forget(what)).doomed == doomed
    assert await world.told(session) == [1, 2, 5, 6]
    assert await world.holding() == []
    with pytest.raises(NoteNotFound):
        await world.forgetting.forget(what)
    await world.say("I am back", session=session)
    assert await world.told(session) == [1, 2, 5, 6, 7, 8]


@pytest.mark.anyio
async def test_a_conversation_goes_whole_and_others_stay(world: World) -> None:
    gone = await world.say("My name is Ada", "I live in Berlin")
    stays = await world.say("I prefer short answers")
    found = await world.forgetting.forget(BySession(gone))
    assert (found.doomed.count, len(found.doomed.notes)) == (4, 2)
    assert [session.id for session in await world.turns.latest(9)] == [stays]
    assert await world.holding() == ["I prefer short answers"]
    with pytest.raises(SessionNotFound, match=gone):
        await world.forgetting.forget(BySession(gone))


@pytest.mark.anyio
async def test_a_text_goes_however_its_accents_are_written(world: World) -> None:
    composed, apart = (normalize(form, "Zo\u00eb") for form in ("NFC", "NFD"))
    assert composed != apart
    one = await world.say(f"I met {composed.upper()} in Rome")
    two = await world.say(f"Rename the file {apart}.txt")
    await world.notes.add(Draft("fact", f"{apart} pays late"))
    for text in (composed, apart):
        doomed = await world.forgetting.doomed(ByText(text))
        assert (doomed.sessions, len(doomed.notes)) == ({one, two}, 1)


@pytest.mark.anyio
async def test_work_of_a_conversation_that_is_gone_is_not_taken_for_that_of_a_new_one(
    database: Database, tmp_path: Path
) -> None:
    turns = TurnStore(database, now=lambda: NOON)  # as where the clock has stepped back
    tasks, kept = TaskStore(database, tmp_path), Outbox(database)
    sessions: list[str] = []
    for text in ("Mow the lawn", "Paint the fence", "Feed the cat"):
        session = (await turns.add(None, NewTurn("user", text))).session
        sessions.append(session)
        if text.startswith("Paint"):
            work = Work(text, None, session, f"{session}/1")
            await kept.keep(work, NewTurn("assistant", "Later."))
        else:
            change = await tasks.add(NewTask(text, key=f"{session}/1", session=session))
            assert isinstance(change, Change), "it is another one's"
        await Forgetting(database).forget(BySession(session))
    assert len({*sessions}) == 3


@pytest.mark.anyio
async def test_every_turn_and_note_that_holds_a_text_goes(world: World) -> None:
    one = await world.say("I met M\u00dcLLER in Rome", "How are you?")
    two = await world.say("My boss is Mr m\u00fcller", session=None)
    await world.notes.add(Draft("fact", "M\u00fcller pays late"))
    found = await world.forgetting.forget(ByText("m\u00fcller"))
    assert found.doomed.turns == {one: [1, 2], two: [1, 2]}
    assert found.doomed.sessions == {two}
    assert await world.told(one) == [3, 4]
    assert await world.holding() == []
    assert (await world.turns.get(one)).title == "How are you?"


@pytest.mark.anyio
async def test_a_turn_goes_with_the_answer_to_it(world: World) -> None:
    session = await world.say("one", "two")
    await world.forgetting.forget(ByTurn(session, 1))
    assert await world.told(session) == [3, 4]
    for missing in (ByTurn(session, 1), ByTurn("s-none", 1), BySession("s-none")):
        with pytest.raises(SessionNotFound):
            await world.forgetting.doomed(missing)


@pytest.mark.anyio
async def test_what_a_forgotten_note_had_replaced_gets_its_place(world: World) -> None:
    added: list[Note] = []
    for day, city in enumerate(("Berlin", "Paris", "Rome")):
        said = Origin("user", NOON + timedelta(days=day))
        added.append(await world.notes.add(Draft("fact", f"I live in {city}"), said))
    berlin, paris, rome = added
    await world.forgetting.forget(ByNote(paris.id))
    assert (await world.notes.get(berlin.id)).superseded_by == rome.id
    await world.forgetting.forget(ByNote(rome.id))
    assert await world.holding() == ["I live in Berlin"]


@pytest.mark.anyio
async def test_kept_work_that_was_delivered_goes_and_what_waits_is_still_done(
    world: World, database: Database
) -> None:
    session = await world.say("write it", "write more")
    kept = Outbox(database)
    for seq in (1, 3):
        await kept.keep(
            Work("write it", None, session, f"{session}/{seq}"), NewTurn("assistant", "kept")
        )
    await kept.delivered(await kept.oldest(), "t-1")
    found = await world.forgetting.forget(BySession(session))
    assert found.doomed.waiting == 1

    def keys(connection: Connection) -> list[str]:
        return list(connection.scalars(select(outbox.c.key)))

    assert await database.read(keys) == [f"{session}/3"]


@pytest.mark.anyio
async def test_what_was_made_of_turns_goes_in_the_same_transaction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connection: Connection) -> None:
        raise LookupError("the index is away")

    session = await world.say("one")
    with monkeypatch.context() as patched:
        patched.setattr(forgetting, "purge", refuse)
        with pytest.raises(LookupError):
            await world.forgetting.forget(BySession(session))
    assert await world.told(session) == [1, 2]
    await world.forgetting.forget(BySession(session))
    assert await world.turns.latest(9) == []


@pytest.mark.anyio
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "damage", ["DELETE FROM remembered_words_data", "DROP TABLE remembered_words_idx"]
)
async def test_a_damaged_index_keeps_nothing_from_being_forgotten(
    world: World, database: Database, damage: str
) -> None:
    gone, stays = await world.say("The code is 4711."), await world.say("I live in Rome.")
    retrieval = Retrieval(database)
    while (await retrieval.keep_up()).turns:
        pass
    await database.write(lambda connection: connection.execute(sql(damage)))
    await world.forgetting.forget(BySession(gone))
    assert [session.id for session in await world.turns.latest(9)] == [stays]
    while (await retrieval.keep_up()).turns:
        pass
    found = await retrieval.find("Where do I live?", limit=1, now=datetime.now(UTC))
    assert found[0].text == "I live in Rome."
    assert found[0].shares["words"] > 0


@pytest.mark.anyio
async def test_no_byte_of_it_is_left_beside_the_database(tmp_path: Path) -> None:
    chance = random.Random(7)
    async with opened("sqlite", tmp_path) as database:
        world = World(database)
        assert database.file is not None
        secrets: list[What] = []
        marks: list[bytes] = []
        session, first = None, ""
        for number in range(60):
            mark = f"secret{number:04}word"
            filler = "lorem " * chance.choice((1, 20, 400, 3_000))
            session = await world.say(f"My code is {mark}. {filler}", session=session)
            first = first or session
            if number % 7 == 3:
                session = None
            if number % 3 == 0:
                secrets.append(ByText(mark))
                marks.append(mark.encode())
            if number == 40:
                back_up(database.file)
                back_up(database.file)
        retrieval = Retrieval(database)
        while (await retrieval.keep_up()).turns:
            pass
        told = Summary(1, 2, 0, f"The code {marks[0].decode()} was told.")
        assert await SummaryStore(database).add(first, told, of=[1, 2])
        assert all(mark in everything(tmp_path) for mark in marks)
        for what in secrets:
            assert (await world.forgetting.forget(what)).left == []
        left = everything(tmp_path)
        assert [mark for mark in marks if mark in left] == []
        assert b"secret0001word" in left


def everything(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


@pytest.mark.anyio
async def test_who_reads_meanwhile_keeps_the_log_of_writes_and_that_is_said(
    tmp_path: Path,
) -> None:
    async with Database.open(paths_in(tmp_path), Settings(), busy_seconds=0.05) as database:
        world = World(database)
        session = await world.say("My name is Ada")
        assert database.file is not None
        with closing(sqlite3.connect(database.file, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM turns").fetchone()
            [left] = (await world.forgetting.forget(BySession(session))).left
        assert "log of writes" in left
        assert await database.scrub()


@pytest.mark.anyio
async def test_copies_that_were_set_aside_are_named(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path) as database:
        world = World(database)
        assert database.file is not None
        aside = database.file.with_name(f"{database.file.name}.damaged-1")
        aside.touch()
        session = await world.say("one")
        assert (await world.forgetting.forget(BySession(session))).left == [str(aside)]


# -- what was typed --------------------------------------------------------------------------------

LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), min_size=1)
TYPED = st.lists(LINES, min_size=1, max_size=3).map("\n".join)


def as_history(entries: list[str]) -> str:
    """Write a history as prompt_toolkit's FileHistory does."""
    return "".join(
        "\n# 2026-05-04 12:00:00.000000\n" + "".join(f"+{line}\n" for line in entry.split("\n"))
        for entry in entries
    )


@given(st.lists(TYPED, max_size=6), st.lists(TYPED, max_size=3))
def test_what_is_forgotten_goes_from_what_was_typed(kept: list[str], gone: list[str]) -> None:
    texts = frozenset(text.strip() for text in gone)
    kept = [text for text in kept if text.strip() not in texts]
    assert without_typed(as_history([*gone, *kept, *gone]), texts) == as_history(kept)
