"""What may matter to work is found among all that is remembered: little, and to the point."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_database import KINDS, opened
from tale.memory.finding import Found
from tale.memory.forgetting import Forgetting
from tale.memory.hearing import note_plainly
from tale.memory.note_search import FoundNote, NoteSearch
from tale.memory.notes import Draft, Kind, Note, NoteStore, Origin, Source
from tale.memory.recall import CLEAR
from tale.memory.related import Related, chosen
from tale.memory.retrieval import Retrieval
from tale.memory.searching import MemoryFinder
from tale.memory.turns import NewTurn, TurnStore
from tale.servers.memory_tools import MemoryTools
from tale.storage.database import Database
from tale.wire.memory_contracts import RelatedRequest

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
REQUEST = "Build a web shop with a database and an API"


def note(identity: str, text: str, *, source: Source = "user", kind: Kind = "fact") -> Note:
    return Note(
        identity,
        kind,
        text,
        "",
        "",
        0.5,
        pinned=False,
        said=NOON,
        recorded=NOON,
        source=source,
    )


def found(identity: str, text: str, score: float = 1.0, source: Source = "user") -> FoundNote:
    return FoundNote(note(identity, text, source=source), {"words": score})


def test_what_counts_for_all_work_comes_first_and_nothing_twice() -> None:
    rule = note("n-1", "Always write tests", kind="preference")
    lines = chosen(
        REQUEST,
        [rule],
        [FoundNote(rule, {"words": 2.0}), found("n-2", "The API is REST"), found("n-3", "x", 0.2)],
        [],
        limit=8,
        most=1000,
    )
    assert [(one.id, one.kind) for one in lines] == [("n-1", "preference"), ("n-2", "fact")]


def test_the_request_itself_is_not_told_again() -> None:
    noted = [found("n-1", REQUEST), found("n-2", "A web shop with an API"), found("n-3", "In Bern")]
    lines = chosen(REQUEST, [], noted, [], limit=8, most=1000)
    assert [one.id for one in lines] == ["n-3"]


def test_of_related_results_only_the_best_are_taken() -> None:
    noted = [found(f"n-{n}", f"The user asked for shop {n}.", source="task") for n in range(5)]
    lines = chosen(REQUEST, [], [*noted, found("n-9", "The API is REST")], [], limit=8, most=1000)
    assert [(one.id, one.kind) for one in lines] == [
        ("n-0", "result"),
        ("n-1", "result"),
        ("n-9", "fact"),
    ]


@given(
    st.lists(st.builds(found, st.uuids().map(str), st.text(max_size=600)), max_size=12),
    st.integers(1, 8),
    st.integers(100, 2000),
)
def test_what_is_chosen_fits_whatever_there_is(
    noted: list[FoundNote], limit: int, most: int
) -> None:
    lines = chosen(REQUEST, [], noted, [], limit=limit, most=most)
    assert len(lines) <= limit
    assert sum(len(one.text.encode()) for one in lines) <= most
    assert all(len(one.text.splitlines()) <= 1 for one in lines)


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.turns = TurnStore(database, also=note_plainly)
        self.notes = NoteStore(database)
        self.retrieval = Retrieval(database)
        self.search = NoteSearch(database)
        self.related = Related(database, self.search, self.retrieval)
        self.tools = MemoryTools(
            database,
            MemoryFinder(self.retrieval, self.search),
            Forgetting(database),
            related=self.related,
        )

    async def lines(self, request: str = REQUEST) -> list[tuple[str, str]]:
        """Give what is told to whoever plans that: kinds and texts."""
        while (await self.retrieval.keep_up()).turns:
            pass

        async def progress(data: Mapping[str, object]) -> None:
            del data

        reply = await self.tools.related(self.related, RelatedRequest(text=request), progress)
        return [(one.kind, one.text) for one in reply.lines]


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[World]:
    async with opened(request.param, tmp_path) as database:
        yield World(database)


async def test_preferences_decisions_and_results_are_told_and_what_is_about_else_is_not(
    world: World,
) -> None:
    said = (
        "From now on use type hints. We decided to use PostgreSQL as the database of the shop.",
        "My cat is called Tom. I love hiking in the Alps.",
    )
    for text in said:
        await world.turns.add(None, NewTurn("user", text))
    result = "The user asked for “a web shop with an API”. It is done. It wrote shop.py."
    at = NOON - timedelta(days=2)
    await world.notes.add(Draft("fact", result), Origin("task", at, task="t-1"))
    lines = await world.lines()
    assert lines[0] == ("preference", "From now on use type hints.")
    assert ("decision", "We decided to use PostgreSQL as the database of the shop.") in lines
    assert ("result", result) in lines
    assert not [text for _, text in lines if "Tom" in text or "Alps" in text]


async def test_what_the_user_said_clearly_is_told_though_nobody_noted_it(world: World) -> None:
    told = await world.turns.add(
        None, NewTurn("user", "The web shop sells spare parts, its API and database run in Bern.")
    )
    await world.turns.add(told.session, NewTurn("assistant", "A web shop with an API, I see."))
    await world.turns.add(told.session, NewTurn("user", "Is a web shop with an API dear?"))
    await world.turns.add(told.session, NewTurn("assistant", "No."))
    await world.turns.add(told.session, NewTurn("user", REQUEST))
    await world.turns.add(told.session, NewTurn("user", f"{REQUEST} and an admin page"))
    await world.turns.add(told.session, NewTurn("assistant", "I'm on it.", task="t-1"))
    assert await world.lines() == [
        ("said", "The web shop sells spare parts, its API and database run in Bern.")
    ]


class _Near:
    """Finds what it is told to, as if it stood near to any question."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    async def find(
        self, question: str, *, limit: int, now: datetime, around: int = 0
    ) -> Sequence[Found]:
        del question, limit, around
        return [
            Found("s-1", number, "user", text, now, score=2 * CLEAR)
            for number, text in enumerate(self.texts, 1)
        ]


async def test_talk_that_only_stands_near_in_meaning_is_not_told(world: World) -> None:
    about = "The shop's database is on the machine in Bern."
    near = _Near("We're going to the seaside on Saturday.", about, "I work on a new application.")
    related = Related(world.database, world.search, near)
    lines = await related.to(REQUEST, limit=8, most=1000, now=NOON)
    assert [one.text for one in lines] == [about]


async def test_where_nothing_is_remembered_nothing_is_told(world: World) -> None:
    assert await world.lines() == []
    assert await world.lines("?") == []
