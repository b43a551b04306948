"""What is worth keeping is noted, and a newer note takes the place of an older one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, delete

from tale.errors import NoteNotFound
from tale.memory.hearing import note_plainly
from tale.memory.notes import Draft, Kind, Note, NoteStore, Origin, add_note, is_newer
from tale.memory.plain_notes import plain_notes
from tale.memory.same_subject import replaced_in, subject_of, supersedes
from tale.memory.turns import NewTurn, TurnStore
from tale.memory.words import content_words
from tale.storage.database import Database
from tale.storage.schema import notes

pytestmark = pytest.mark.each_database

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


# -- what is said plainly --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind", "noted"),
    [
        ("Hi! My name is Ada.", "fact", "My name is Ada."),
        ("call me Bob, please", "fact", "Call me Bob, please"),
        ("I live in Berlin now", "fact", "I live in Berlin now"),
        ("I\N{RIGHT SINGLE QUOTATION MARK}m allergic to nuts", "fact", "I'm allergic to nuts"),
        ("Our project's deadline is on Monday", "fact", "Our project's deadline is on Monday"),
        ("remember that the deadline is Friday", "fact", "The deadline is Friday"),
        ("Please remember: I prefer tea", "preference", "I prefer tea"),
        ("ok, I prefer tabs over spaces.", "preference", "I prefer tabs over spaces."),
        ("from now on, answer in German", "preference", "From now on, answer in German"),
        ("Always use type hints!", "preference", "Always use type hints!"),
        (
            "We decided to use SQLite v3.45 here.",
            "decision",
            "We decided to use SQLite v3.45 here.",
        ),
        ("Let's go with FastAPI for the API", "decision", "Let's go with FastAPI for the API"),
        ("We no longer use Redis", "decision", "We no longer use Redis"),
        ("What's up? I hate mondays.", "preference", "I hate mondays."),
    ],
)
def test_what_the_user_says_plainly_is_noted_in_their_words(
    said: str, kind: Kind, noted: str
) -> None:
    [draft] = plain_notes(said)
    assert (draft.kind, draft.text) == (kind, noted)


@pytest.mark.parametrize(
    "said",
    [
        "What is my name?",
        "Can you remember that?",
        "I love this",
        "call me back later",
        "If I live in Berlin, what then.",
        "Write a poem: my name is Bob",
        "Translate: I prefer tea to coffee",
        "thanks, that is right",
        "```\nmy name is Bob\n```",
        "> my name is Bob",
        "My name is Ada. " + "x" * 4_000,
        "",
    ],
)
def test_questions_orders_suppositions_and_what_was_pasted_are_not(said: str) -> None:
    assert plain_notes(said) == ()


@given(st.text())
def test_any_text_can_be_looked_at(text: str) -> None:
    for draft in plain_notes(text):
        assert draft.text
        assert content_words(draft.text) <= content_words(text)


# -- what is about the same thing ------------------------------------------------------------------


@dataclass(frozen=True)
class About:
    text: str
    kind: str = "fact"
    said: str = ""

    @property
    def subject(self) -> str:
        return subject_of(self.text, self.said)

    @property
    def replaces(self) -> str:
        return replaced_in(self.text)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("My name is Ada", "Please call me Countess"),
        ("I live in Berlin", "I moved to Paris"),
        ("The deadline is Friday", "Our deadline is on Monday now"),
        ("My cat is called Tom", "my cat's name is Felix"),
        ("We use SQLite for the storage", "We decided to use PostgreSQL for storage"),
        ("We decided to use SQLite", "We decided to use PostgreSQL instead of SQLite"),
        ("We use Redis as a cache", "We don't use Redis any more"),
        ("I drink coffee at night", "I no longer drink coffee"),
    ],
)
def test_a_newer_note_about_the_same_thing_takes_its_place(older: str, newer: str) -> None:
    assert supersedes(About(newer), About(older))


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("My name is Ada", "My cat's name is Tom"),
        ("The project is called tale", "The project is due on Friday"),
        ("I prefer tea", "I prefer tabs over spaces"),
        ("I live in Berlin", "My sister lives in Rome"),
        ("We decided to use SQLite", "We decided to use tabs"),
        ("I am 30 years old", "I am 30 minutes late"),
        ("I do not like tea", "I like coffee, not juice"),
        ("I love tea", "I love coffee"),
    ],
)
def test_notes_about_two_things_both_hold(older: str, newer: str) -> None:
    assert not supersedes(About(newer), About(older))


def test_what_a_model_calls_it_counts_where_two_of_its_words_stand_in_the_note() -> None:
    older = About("Backups run at night", said="backups run time")
    assert supersedes(About("Backups run at noon", said="backups run"), older)
    assert subject_of("Backups run at night", "user preference") == ""
    assert subject_of("Backups run at night", "backups") == ""


ASCII = st.characters(max_codepoint=127)


@given(st.text(ASCII, max_size=12), st.text(ASCII))
def test_a_subject_is_the_same_however_it_is_spelt(text: str, said: str) -> None:
    assert subject_of(text, said) == subject_of(text, said.upper())
    assert subject_of(f"My {text} is red") == subject_of(f"my {text} is blue")


# -- the store -------------------------------------------------------------------------------------


@pytest.fixture
def store(database: Database) -> NoteStore:
    return NoteStore(database, now=lambda: NOON)


async def noted(
    database: Database, text: str, said: datetime = NOON, kind: Kind = "fact", **origin: object
) -> Note:
    where = Origin("conversation", said, **origin)  # type: ignore[arg-type]
    return await database.write(lambda c: add_note(c, Draft(kind, text), where, NOON))


@pytest.mark.anyio
async def test_a_note_comes_back_as_it_was_added(store: NoteStore) -> None:
    note = await store.add(Draft("preference", "  I like\n tea ", 7.0, pinned=True))
    assert (note.text, note.importance, note.pinned) == ("I like tea", 1.0, True)
    assert (note.source, note.said, note.recorded, note.holds) == ("user", NOON, NOON, True)
    assert await store.get(note.id) == note
    assert await store.listed(9) == await store.pinned(9) == [note]
    with pytest.raises(NoteNotFound, match="n-none") as caught:
        await store.get("n-none")
    assert "tale memory show" in caught.value.hint


@pytest.mark.anyio
async def test_an_older_note_is_marked_and_kept(database: Database, store: NoteStore) -> None:
    old = await noted(database, "I live in Berlin")
    new = await noted(database, "I moved to Paris", NOON + timedelta(days=1))
    assert await store.listed(9) == [new]
    marked = await store.get(old.id)
    assert (marked.superseded_by, marked.superseded_at, marked.text) == (new.id, NOON, old.text)
    assert await store.listed(9, outdated=True) == [new, marked]


@pytest.mark.anyio
async def test_what_was_said_earlier_and_is_noted_later_is_outdated_from_the_start(
    database: Database, store: NoteStore
) -> None:
    new = await noted(database, "I moved to Paris")
    old = await noted(database, "I live in Berlin", NOON - timedelta(days=9))
    assert old.superseded_by == new.id
    assert await store.listed(9) == [new]


@pytest.mark.anyio
async def test_within_a_conversation_turns_count_and_not_the_clock(database: Database) -> None:
    session = (await TurnStore(database).add(None, NewTurn("user", "hi"))).session
    first = await noted(database, "I live in Berlin", session=session, turns=(1,))
    past = NOON - timedelta(days=400)
    second = await noted(database, "I moved to Paris", past, session=session, turns=(3,))
    assert (first.holds, second.holds) == (True, True)
    assert is_newer(second, first)
    assert [n.id for n in await NoteStore(database).listed(9)] == [second.id]


@pytest.mark.anyio
async def test_what_is_said_again_is_noted_once(store: NoteStore) -> None:
    first = await store.add(Draft("fact", "My name is Ada."))
    again = await store.add(Draft("fact", "my name is Ada", pinned=True))
    assert again.id == first.id
    assert again.pinned, "it was asked for"
    assert len(await store.listed(9)) == 1


@pytest.mark.anyio
async def test_what_is_to_be_remembered_counts_for_all_work_though_it_was_noted_before(
    database: Database, store: NoteStore
) -> None:
    turns = TurnStore(database, now=lambda: NOON, also=note_plainly)
    await turns.add(None, NewTurn("user", "I prefer tabs over spaces."))
    assert await store.standing(9) == []
    await turns.add(None, NewTurn("user", "Remember that I prefer tabs over spaces."))
    await turns.add(None, NewTurn("user", "I prefer tabs over spaces."))
    assert [note.text for note in await store.standing(9)] == ["I prefer tabs over spaces."]
    assert len(await store.listed(9)) == 1


@pytest.mark.anyio
async def test_what_was_said_before_it_was_said_again_does_not_take_its_place(
    database: Database, store: NoteStore
) -> None:
    session = (await TurnStore(database).add(None, NewTurn("user", "hi"))).session
    vim = "My editor is vim"
    first = await noted(database, vim, session=session, turns=(1,))
    again = await noted(database, vim, session=session, turns=(5,))
    assert (again.id, again.turns) == (first.id, (1, 5))
    # Noted by a model, some time later.
    between = await noted(database, "At work, my editor is emacs", session=session, turns=(3,))
    assert between.superseded_by == first.id

    last = await noted(database, vim, NOON + timedelta(days=2))
    assert last.said == NOON + timedelta(days=2)
    elsewhere = await noted(database, "My editor is nano", NOON + timedelta(days=1))
    assert elsewhere.superseded_by == first.id
    assert [note.text for note in await store.listed(9)] == [vim]


@pytest.mark.anyio
async def test_what_holds_again_is_a_new_note(database: Database, store: NoteStore) -> None:
    for day, city in enumerate(("Berlin", "Paris", "Berlin")):
        await noted(database, f"I live in {city}", NOON + timedelta(days=day))
    [holds] = await store.listed(9)
    assert holds.text == "I live in Berlin"
    assert len(await store.listed(9, outdated=True)) == 3


@pytest.mark.anyio
async def test_what_is_said_plainly_is_durable_with_its_turn(database: Database) -> None:
    turns = TurnStore(database, now=lambda: NOON, also=note_plainly)
    said = "Hello! My name is Ada. I prefer short answers. What time is it?"
    turn = await turns.add(None, NewTurn("user", said))
    await turns.add(turn.session, NewTurn("assistant", "My name is tale."))
    found = await NoteStore(database).listed(9)
    assert {note.text for note in found} == {"My name is Ada.", "I prefer short answers."}
    assert {(note.session, note.turns, note.said) for note in found} == {(turn.session, (1,), NOON)}


@pytest.mark.anyio
async def test_what_holds_does_not_depend_on_the_order_in_which_it_is_noted(
    database: Database,
) -> None:
    told = ("I live in Berlin", "I live in Paris", "I moved to Rome", "My name is Ada")

    def note_all(connection: Connection, order: Sequence[int]) -> None:
        connection.execute(delete(notes))
        for index in order:
            said = Origin("user", NOON + timedelta(days=index))
            add_note(connection, Draft("fact", told[index]), said, NOON)

    for order in permutations(range(len(told))):
        await database.write(partial(note_all, order=order))
        held = await NoteStore(database).listed(9)
        assert {note.text for note in held} == {told[2], told[3]}, order
