"""Notes are found fast and on one scale with turns, and what they say is not said twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_database import KINDS, opened
from tale.memory.finding import Found
from tale.memory.forgetting import ByNote, Forgetting
from tale.memory.hearing import note_plainly
from tale.memory.note_search import FoundNote, NoteSearch
from tale.memory.notes import Draft, Note, NoteStore, Origin
from tale.memory.recall import written
from tale.memory.recalling import Recalling
from tale.memory.recollection import CLEAR_NOTE, Recollection, together
from tale.memory.retrieval import Retrieval
from tale.memory.turns import NewTurn, Turn, TurnStore
from tale.storage.database import Database

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


SAID = "Well, I live in Oslo, as you know."


def said(seq: int, score: float = 1.5, session: str = "s-1") -> Found:
    """Give a turn that was found."""
    return Found(session, seq, "user", SAID, NOON, score)


def noted(*turns: int, score: float = 1.5, session: str | None = "s-1", **more: str) -> FoundNote:
    identity = more.get("id", "n-1")
    source = "task" if more.get("task") else "conversation"
    note = Note(
        identity,
        "fact",
        "I live in Oslo",
        "",
        "",
        0.5,
        pinned=False,
        said=NOON,
        recorded=NOON,
        source=source,
        session=session,
        turns=turns,
        task=more.get("task"),
    )
    return FoundNote(note, {"words": score})


# -- together --------------------------------------------------------------------------------------


def test_the_turn_that_a_note_came_from_is_left_out() -> None:
    found = together([said(3), said(4), said(3, session="s-2")], [noted(3, 5)])
    assert sorted((*one.place, one.text) for one in found) == [
        ("s-1", 4, SAID),
        ("s-1", 5, "I live in Oslo"),
        ("s-2", 3, SAID),
    ]


def test_a_note_that_is_not_clearly_about_the_question_leaves_it_to_its_turn() -> None:
    assert together([said(3)], [noted(3, score=0.9)]) == [said(3)]


def test_a_note_from_no_turn_stands_under_its_own_name() -> None:
    [one] = together([], [noted(session=None)])
    assert (one.place, one.speaker, one.task) == (("n-1", 0), "note", "")
    [result] = together([], [noted(session=None, task="t-1")])
    assert result.task == "t-1"


@given(
    st.lists(st.builds(said, st.integers(1, 4), st.floats(0, 3)), max_size=6),
    st.lists(st.tuples(st.integers(1, 4), st.floats(0, 3)), max_size=6),
)
def test_the_best_comes_first_and_nothing_stands_beside_the_note_made_of_it(
    turns: list[Found], notes: list[tuple[int, float]]
) -> None:
    found = together(turns, [noted(turn, score=score) for turn, score in notes])
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    spoken_for = {turn for turn, score in notes if score >= CLEAR_NOTE}
    assert not spoken_for & {one.seq for one in found if not one.note}


# -- finding notes ---------------------------------------------------------------------------------


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.turns = TurnStore(database, also=note_plainly)
        self.notes = NoteStore(database)
        self.search = NoteSearch(database)

    async def found(self, question: str) -> list[str]:
        return [one.note.text for one in await self.search.find(question, limit=5)]


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[World]:
    async with opened(request.param, tmp_path) as database:
        yield World(database)


async def test_what_is_noted_superseded_or_forgotten_is_known_at_the_next_search(
    world: World,
) -> None:
    await world.search.get_ready()
    assert await world.found("When is the deadline?") == []
    await world.notes.add(Draft("fact", "The deadline is on Friday"), Origin("user", NOON))
    assert await world.found("When is the deadline?") == ["The deadline is on Friday"]
    later = Origin("user", NOON + timedelta(days=1))
    monday = await world.notes.add(Draft("fact", "The deadline is on Monday"), later)
    assert await world.found("When is the deadline?") == ["The deadline is on Monday"]
    await Forgetting(world.database).forget(ByNote(monday.id))
    assert await world.found("When is the deadline?") == ["The deadline is on Friday"]


async def test_a_question_about_oneself_is_more_about_a_note_than_one_about_the_world(
    world: World,
) -> None:
    await world.notes.add(Draft("fact", "I love hiking in the Alps"))
    [mine] = await world.search.find("Where do I love hiking?", limit=1)
    [other] = await world.search.find("How high are the Alps?", limit=1)
    assert mine.shares["oneself"] > other.shares["oneself"] == 0
    assert mine.score == pytest.approx(sum(mine.shares.values()))


NOTES = (
    "My name is Ada",
    "I live in Berlin",
    "I prefer FastAPI over Flask for web APIs",
    "From now on answer in German",
    "My dentist is Dr. Okafor in Mill Road",
    "I am allergic to nuts",
    "My deadline is on Friday",
    "I love hiking in the Alps",
    "My cat is called Tom",
    "I work at Acme as a data engineer",
)


@pytest.mark.parametrize(
    ("question", "recalled"),
    [
        ("What is my name?", "My name is Ada"),
        ("Where do I live?", "I live in Berlin"),
        ("Which web framework do I like?", "I prefer FastAPI over Flask for web APIs"),
        ("What language should you answer in?", "From now on answer in German"),
        ("Who is my dentist?", "My dentist is Dr. Okafor in Mill Road"),
        ("Can I eat nuts?", "I am allergic to nuts"),
        ("When is my deadline?", "My deadline is on Friday"),
        ("What is the name of my cat?", "My cat is called Tom"),
        ("Where do I work?", "I work at Acme as a data engineer"),
        ("How high are the Alps?", ""),
        ("Which nuts grow in Turkey?", ""),
        ("What is a web server?", ""),
        ("Is Flask written in Python?", ""),
        ("What is a deadline in project management?", ""),
        ("What's a good name for a boat?", ""),
        ("Tell me a joke about cats", ""),
        ("How does HTTP work?", ""),
    ],
)
@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
async def test_a_question_of_ones_own_recalls_a_note_and_one_about_the_world_does_not(
    world: World, question: str, recalled: str
) -> None:
    for text in NOTES:
        await world.notes.add(Draft("fact", text))
    found = together([], await world.search.find(question, limit=8))
    assert [one.text for one in found[:1]] == ([recalled] if recalled else [])


async def test_a_long_request_finds_a_note_by_the_notes_own_words(world: World) -> None:
    await world.notes.add(Draft("fact", "Our server runs Debian"))
    request = "Deploy to the server: " + " ".join(f"step{n}" for n in range(30))
    [short] = await world.search.find(request, limit=1)
    [told] = await world.search.find(request, limit=1, told=True)
    assert told.shares["words"] > 0.3 > short.shares["words"]
    assert await world.search.find(request, limit=1, but=frozenset({"server"})) == []


@pytest.mark.parametrize("question", ["", "?", "the", '" OR 1=1 --'])
async def test_a_question_without_words_finds_nothing(world: World, question: str) -> None:
    await world.notes.add(Draft("fact", "Our server runs Debian"))
    assert await world.found(question) == []


# -- recalled in a conversation --------------------------------------------------------------------


async def recalled(world: World, text: str, quoted: str = "") -> tuple[Turn, str]:
    """Give a turn, and what is recalled for it."""
    retrieval = Retrieval(world.database)
    while (await retrieval.keep_up()).turns:
        pass
    memory = Recollection(retrieval, world.search)
    recalling = Recalling(world.database, memory, now=lambda: NOON, seconds=60)
    turn = await world.turns.add(None, NewTurn("user", text))
    return turn, written(await recalling.of(turn, [turn], quoted, tokens=64))


async def test_a_note_that_was_added_is_recalled_and_forgotten_with_what_it_was_recalled_for(
    world: World,
) -> None:
    note = await world.notes.add(Draft("fact", "My dentist is Dr. Okafor"), Origin("user", NOON))
    turn, quote = await recalled(world, "Who is my dentist?")
    assert quote == "<memory>\n2026-05-04 user: My dentist is Dr. Okafor\n</memory>"
    recalling = Recalling(world.database, Retrieval(world.database))
    assert await recalling.before(turn.session) == {turn.seq: quote}
    await Forgetting(world.database).forget(ByNote(note.id))
    assert await recalling.before(turn.session) == {}


async def test_a_fact_is_recalled_once_though_a_turn_and_its_note_have_it(world: World) -> None:
    await world.turns.add(None, NewTurn("user", "Hello! My dentist is Dr. Okafor in Mill Road."))
    _, quote = await recalled(world, "Who is my dentist?")
    assert quote.count("Okafor") == 1


async def test_what_came_of_a_task_is_recalled_as_such(world: World) -> None:
    text = "The user asked for “a scraper for laptop prices”. It wrote scraper.py."
    await world.notes.add(Draft("fact", text), Origin("task", NOON, task="t-1"))
    _, quote = await recalled(world, "Which file did my scraper for laptop prices go to?")
    assert quote == f"<memory>\n2026-05-04 task: {text}\n</memory>"


async def test_a_pinned_note_that_the_window_has_is_not_recalled_beside_it(world: World) -> None:
    text = "My dentist is Dr. Okafor"
    await world.notes.add(replace(Draft("fact", text), pinned=True), Origin("user", NOON))
    _, quote = await recalled(world, "Who is my dentist?", f"What is known:\n{text}")
    assert quote == ""
