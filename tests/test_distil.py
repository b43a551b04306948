"""Notes are distilled while nobody waits: only what was said, nothing twice, nothing left out."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from tale.errors import BackendFailed, ServiceUnavailable, TaleError
from tale.memory.distil import batch, is_supported, proposals_in, request_for, worth_distilling
from tale.memory.distilling import Distilling
from tale.memory.notes import Note, NoteStore
from tale.memory.turns import NewTurn, TurnStore
from tale.memory.words import content_words
from tale.models.backend import ChatRequest
from tale.models.caller import ScriptedModels
from tale.storage.database import Database
from tale.storage.schema import distilled

pytestmark = pytest.mark.each_database


@dataclass(frozen=True)
class Told:
    seq: int
    speaker: Literal["user", "assistant"]
    text: str
    task: str | None = None


def user(text: str, seq: int = 1) -> Told:
    return Told(seq, "user", text)


def answer(*notes: tuple[int, str, str], about: str = "") -> str:
    found = [{"turn": n, "kind": kind, "text": text, "about": about} for n, kind, text in notes]
    return json.dumps({"notes": found})


# -- what is believed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("Our server runs Debian", "Our server runs Debian, and I want short answers."),
        ("The user likes green tea", "well, i really like green tea in the morning"),
        ("The release is on 12 May", "Ok. The release is planned. It is on 12 May."),
        ("I do not eat meat", "By the way I don't eat any meat."),
    ],
)
def test_a_note_is_believed_whose_words_stand_in_its_turn(note: str, said: str) -> None:
    assert is_supported(note, user(said))


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("Our server runs Fedora", "Our server runs Debian, and I want short answers."),
        ("The release is on 13 May", "The release is on 12 May"),
        ("The capital is Paris", "Is Paris the capital of France?"),
        ("I like green tea", "I don't like green tea"),
        ("I do not like green tea", "I like green tea"),
        ("I work at Acme", "Suppose I work at Acme, what would I earn."),
        ("The user is a friendly person from Norway", "hello, how nice"),
        ("Tea", "I like tea"),
        ("", "I like tea"),
    ],
)
def test_what_nobody_said_is_not(note: str, said: str) -> None:
    assert not is_supported(note, user(said))


def test_what_tale_said_bears_out_nothing() -> None:
    assert not is_supported(
        "Our server runs Debian", Told(1, "assistant", "Our server runs Debian")
    )


TURNS = (
    user("Our server runs Debian. I want short answers.", 3),
    Told(4, "assistant", "Noted: I am Claude."),
    user("What is the capital of France?", 5),
)


def test_an_answer_is_read_and_what_its_turns_do_not_say_is_dropped() -> None:
    written = answer(
        (3, "fact", "Our server runs Debian"),
        (3, "nonsense", "I want short answers"),
        (5, "fact", "The capital of France is Paris"),
        (5, "fact", "Our server runs Debian "),
        (4, "fact", "I am Claude"),
    )
    found = proposals_in(written, TURNS)
    assert [(one.draft.kind, one.draft.text, one.turns) for one in found] == [
        ("fact", "Our server runs Debian", (3,)),
        ("fact", "I want short answers", (3,)),
    ]


def test_a_turn_that_is_not_there_is_looked_for() -> None:
    [found] = proposals_in(answer((99, "fact", "Our server runs Debian")), TURNS)
    assert found.turns == (3,)


def test_an_answer_in_prose_or_cut_off_gives_what_is_whole_in_it() -> None:
    whole = answer((3, "fact", "Our server runs Debian"), (3, "fact", "I want short answers"))
    for written in (f"Sure:\n```json\n{whole}\n```", whole[: whole.rindex(', "about"')]):
        assert proposals_in(written, TURNS)[0].draft.text == "Our server runs Debian"
    assert proposals_in("There is nothing.", TURNS) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["notes", "text", "turn", "kind"]), inner)
    ),
)
Speaker = Literal["user", "assistant"]
SPEAKERS: st.SearchStrategy[Speaker] = st.sampled_from(("user", "assistant"))
TALK = st.lists(st.tuples(SPEAKERS, st.text(max_size=80)), max_size=8).map(
    lambda said: [Told(n, speaker, text) for n, (speaker, text) in enumerate(said, 1)]
)


@given(st.text() | JSON.map(json.dumps), TALK)
def test_whatever_a_model_writes_only_what_was_said_is_noted(
    written: str, turns: list[Told]
) -> None:
    for found in proposals_in(written, turns):
        [seq] = found.turns
        turn = turns[seq - 1]
        assert turn.speaker == "user"
        assert is_supported(found.draft.text, turn)
        assert content_words(found.draft.text) & content_words(turn.text)


# -- what is asked ---------------------------------------------------------------------------------


@given(TALK.filter(bool))
def test_what_the_user_told_stands_in_the_request_as_data(turns: list[Told]) -> None:
    shown = request_for(turns).messages[-1].content
    by_number = {turn.seq: turn for turn in turns}
    for line in shown.split("\n") if shown else ():
        head, _, data = line.partition(" user: ")
        turn = by_number[int(head)]
        assert turn.speaker == "user"
        assert content_words(json.loads(data)) <= content_words(turn.text)


def test_only_what_may_be_worth_a_note_is_shown() -> None:
    pasted = "Sum this up: The mill was built in 1822. It burned down twice. " * 4
    turns = [
        user("Our server runs Debian. How do I list files?", 1),
        Told(2, "assistant", "I would use ls. We never sort by size."),
        user(pasted, 3),
        Told(4, "user", "Write a parser. It is for logs.", task="t-1"),
        user("The release is on 12 May.", 5),
    ]
    request = request_for(turns)
    assert request.messages[-1].content.split("\n") == [
        '1 user: "Our server runs Debian."',
        '5 user: "The release is on 12 May."',
    ]
    assert request.max_tokens == 120


@given(st.lists(st.integers(0, 3_000), max_size=60))
def test_a_batch_is_the_first_turns_and_small(sizes: list[int]) -> None:
    turns = [user("x" * size, n) for n, size in enumerate(sizes, 1)]
    taken = batch(turns)
    assert list(taken) == turns[: len(taken)]
    assert len(taken) >= min(1, len(turns))
    shown = request_for(taken).messages[-1].content if taken else ""
    assert len(shown) < 2_500


def test_a_model_is_asked_only_where_the_user_tells_something() -> None:
    assert worth_distilling([user("We moved the server to Hamburg.")])
    told = Told(2, "assistant", "The server is in Hamburg.")
    assert not worth_distilling([user("thanks"), told, user("Where is it?")])
    assert not worth_distilling([])


# -- in the background -----------------------------------------------------------------------------


class World:
    def __init__(self, database: Database, *spare: str | TaleError) -> None:
        self.database = database
        self.turns = TurnStore(database)
        self.models = ScriptedModels()
        self.models.spare = list(spare)
        self.pauses: list[float] = []
        self.on_pause: Callable[[], Awaitable[object]] = anyio.lowlevel.checkpoint
        self.distilling = Distilling(database, self.models, pause=self.pause)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self.on_pause()
        await anyio.lowlevel.checkpoint()

    async def say(self, *texts: str, session: str | None = None) -> str:
        for text in texts:
            session = (await self.turns.add(session, NewTurn("user", text))).session
        self.distilling.said()
        assert session is not None
        return session

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.distilling.run)
                yield
                tasks.cancel_scope.cancel()

    async def marks(self) -> dict[str, int]:
        def read_all(connection: Connection) -> dict[str, int]:
            rows = connection.execute(select(distilled.c.session, distilled.c.through))
            return {session: int(through) for session, through in rows}

        return await self.database.read(read_all)

    async def gone_through(self, **marks: int) -> None:
        while await self.marks() != marks:
            await anyio.lowlevel.checkpoint()

    async def notes(self) -> list[Note]:
        return await NoteStore(self.database).listed(99)


class FirstTurn(ScriptedModels):
    """Notes the first turn that it is shown."""

    async def in_spare_time(
        self, request: ChatRequest, target: str, deadline_s: float
    ) -> str | None:
        seq, _, said = request.messages[-1].content.split("\n")[0].partition(" user: ")
        return answer((int(seq), "fact", json.loads(said)))


def of(session: str, through: int) -> dict[str, int]:
    return {session: through}


@pytest.mark.anyio
async def test_what_was_said_is_distilled_with_the_turns_it_came_from(database: Database) -> None:
    world = World(database, answer((1, "fact", "Our server runs Debian"), about="server system"))
    session = await world.say("Our server runs Debian. How do I list files?")
    async with world.running():
        await world.gone_through(**of(session, 1))
    [note] = await world.notes()
    [turn] = await world.turns.turns(session)
    assert (note.text, note.source) == ("Our server runs Debian", "conversation")
    assert (note.session, note.turns, note.said) == (session, (1,), turn.at)
    [asked] = world.models.asked_in_spare_time
    assert "Our server runs Debian." in asked.messages[-1].content


@pytest.mark.anyio
async def test_turns_in_which_nothing_is_told_cost_no_model_call(database: Database) -> None:
    world = World(database)
    session = await world.say("hi", "thanks", "And where is it?")
    async with world.running():
        await world.gone_through(**of(session, 3))
    assert world.models.asked_in_spare_time == []


@pytest.mark.anyio
async def test_what_follows_is_distilled_once_the_conversation_rests(database: Database) -> None:
    world = World(database)
    session = await world.say("The first server runs Debian.")
    async with world.running():
        await world.gone_through(**of(session, 1))
        await world.say("The second server runs Fedora.", session=session)
        await world.gone_through(**of(session, 2))
    first, second = world.models.asked_in_spare_time
    assert "Debian" in first.messages[-1].content
    assert "Debian" not in second.messages[-1].content
    assert world.pauses[:2] == [20.0, 20.0]


@pytest.mark.anyio
async def test_while_people_talk_nothing_is_asked(database: Database) -> None:
    world = World(database)
    session = await world.say("The first server runs Debian.")
    more = iter(["The second server runs Fedora.", "The third server runs Arch."])

    async def go_on() -> None:
        if text := next(more, ""):
            await world.say(text, session=session)
            assert world.models.asked_in_spare_time == []

    world.on_pause = go_on
    async with world.running():
        await world.gone_through(**of(session, 3))
    assert len(world.models.asked_in_spare_time) == 1


@pytest.mark.anyio
async def test_where_somebody_needs_the_model_it_is_asked_again_later(database: Database) -> None:
    world = World(database, answer((1, "fact", "Our server runs Debian")))
    world.models.busy = 3
    session = await world.say("Our server runs Debian.")
    async with world.running():
        await world.gone_through(**of(session, 1))
    assert world.pauses == [20.0, 5.0, 10.0, 20.0]
    assert len(await world.notes()) == 1


@pytest.mark.anyio
async def test_without_a_models_server_nothing_is_passed_over(database: Database) -> None:
    away = [ServiceUnavailable("away") for _ in range(5)]
    world = World(database, *away, answer((1, "fact", "Our server runs Debian")))
    session = await world.say("Our server runs Debian.")
    async with world.running():
        await world.gone_through(**of(session, 1))
    assert len(await world.notes()) == 1


@pytest.mark.anyio
async def test_turns_on_which_the_model_fails_twice_are_passed_over(database: Database) -> None:
    world = World(database, BackendFailed("no"), BackendFailed("no"))
    session = await world.say("Our server runs Debian.")
    async with world.running():
        await world.gone_through(**of(session, 1))
    assert await world.notes() == []
    assert len(world.models.asked_in_spare_time) == 2


@pytest.mark.anyio
async def test_after_a_crash_nothing_is_noted_twice_and_nothing_left_out(
    database: Database,
) -> None:
    texts = [f"Server number {n} runs Debian {n}." for n in range(30)]
    life = World(database)
    session = await life.say(*texts)
    for _ in range(30):  # each life ends at the first mark that it makes
        life = World(database)
        life.distilling = Distilling(database, FirstTurn(), pause=life.pause)
        before = (await life.marks()).get(session, 0)
        if before == 30:
            break
        async with life.running():
            while (await life.marks()).get(session, 0) == before:
                await anyio.lowlevel.checkpoint()
    noted = [note.turns for note in await life.notes()]
    assert sorted(noted) == [(1,), (13,), (25,)], "one of each batch"


@pytest.mark.anyio
async def test_what_was_forgotten_meanwhile_is_not_noted(database: Database) -> None:
    world = World(database)
    session = await world.say("Our server runs Debian.")

    class Forgetful(ScriptedModels):
        async def in_spare_time(
            self, request: ChatRequest, target: str, deadline_s: float
        ) -> str | None:
            await database.write(lambda c: c.exec_driver_sql("DELETE FROM turns"))
            return answer((1, "fact", "Our server runs Debian"))

    world.distilling = Distilling(database, Forgetful(), pause=world.pause)
    async with world.running():
        await world.gone_through(**of(session, 1))
    assert await world.notes() == []
