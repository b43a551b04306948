"""The window of a conversation moves without anybody waiting for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import anyio
import pytest
from sqlalchemy import Connection, insert

from tale.errors import ServiceUnavailable
from tale.memory.finding import Found
from tale.memory.forgetting import BySession, Forgetting
from tale.memory.notes import Draft, NoteStore
from tale.memory.recalling import Recalling, forget_recalled
from tale.memory.summaries import SummaryStore
from tale.memory.summarising import Summarising
from tale.memory.turns import NewTurn, Turn, TurnStore
from tale.memory.windows import Windows
from tale.models.backend import ChatRequest, Message
from tale.models.caller import ScriptedModels
from tale.storage.database import Database
from tale.storage.schema import sessions, turns

pytestmark = pytest.mark.anyio

BUDGET = 400
NOW = datetime(2026, 5, 4, tzinfo=UTC)


def talk(turns: int) -> list[Turn]:
    """Make a conversation of turns with 20 tokens each, message and template."""
    return [
        Turn("s-1", n, "user" if n % 2 else "assistant", f"{n} " + "word " * 14, NOW)
        for n in range(1, turns + 1)
    ]


def first_of(messages: tuple[Message, ...]) -> int:
    """Give the number of the turn that a window begins with."""
    return int(messages[1].content.split()[0])


class World:
    def __init__(self, models: ScriptedModels | None = None) -> None:
        self.models = models or ScriptedModels()
        self.pauses = 0
        self.windows = Windows(self.models, "be kind", budget=BUDGET, pause=self._pause)

    async def _pause(self, seconds: float) -> None:
        assert seconds > 0
        self.pauses += 1

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.windows.run)
            yield
            tasks.cancel_scope.cancel()

    async def answer(self, turns: int) -> int:
        """Answer the last of so many turns; gives the first one that the model was sent."""
        said = talk(turns)
        begins = first_of(await self.windows.of("s-1", said))
        self.windows.grown("s-1", talk(turns + 1))
        await anyio.wait_all_tasks_blocked()
        return begins


async def test_a_window_that_fills_up_is_computed_before_it_is_needed() -> None:
    world = World()
    async with world.running():
        begins = [await world.answer(turns) for turns in range(1, 18, 2)]
        assert begins[:-1] == [1] * 8
        [computed] = world.models.ahead
        assert first_of(tuple(computed)) == begins[-1] > 1
        assert computed[-1].content == talk(16)[-1].text, "up to the last answer"
        sent = await world.windows.of("s-1", talk(17))
        assert list(sent[: len(computed)]) == list(computed)


async def test_while_the_new_window_is_not_computed_the_old_one_is_used_as_long_as_it_fits() -> (
    None
):
    world = World()
    begins = [await world.answer(turns) for turns in range(1, 24, 2)]
    assert begins[:10] == [1] * 10, "19 turns of 20 tokens fit"
    assert begins[10] > 1
    assert world.models.ahead == []


async def test_computing_is_tried_again_when_somebody_else_needed_the_model() -> None:
    models = ScriptedModels()
    models.busy = 2
    world = World(models)
    async with world.running():
        await world.answer(15)
    assert len(models.ahead) == 3
    assert world.pauses == 2
    assert first_of(await world.windows.of("s-1", talk(17))) > 1


async def test_without_a_models_server_the_window_moves_when_it_has_to() -> None:
    class Away(ScriptedModels):
        async def compute_ahead(
            self, messages: Sequence[Message], target: str, deadline_s: float
        ) -> bool:
            raise ServiceUnavailable("away")

    world = World(Away())
    async with world.running():
        assert await world.answer(15) == 1
        assert await world.answer(17) == 1
        assert await world.answer(23) > 1


async def test_after_a_restart_a_window_begins_where_it_would_have_moved_to() -> None:
    world = World()
    async with world.running():
        for turns in range(1, 18, 2):
            await world.answer(turns)
        before = await world.windows.of("s-1", talk(17))
    assert await World().windows.of("s-1", talk(17)) == before


# -- with a memory -------------------------------------------------------------------------------


class Written:
    """Sums up in fixed words."""

    def __init__(self) -> None:
        self.busy = 0
        self.missing: ServiceUnavailable | None = None
        self.asked = 0

    async def in_spare_time(
        self, request: ChatRequest, target: str, deadline_s: float
    ) -> str | None:
        self.asked += 1
        if self.missing:
            raise self.missing
        self.busy -= 1
        return None if self.busy >= 0 else f"Summary number {self.asked}."


OSLO = Found("s-00000000", 7, "user", "Maja lives in Oslo.", NOW, 1.0)


async def say_elsewhere(database: Database) -> None:
    """Have `OSLO` said in another conversation."""

    def say(connection: Connection) -> None:
        other = {"id": "s-00000000", "title": "Oslo", "turns": 7, "created": NOW, "updated": NOW}
        connection.execute(insert(sessions).values(other))
        said = {"session": "s-00000000", "seq": 7, "speaker": "user", "text": OSLO.text, "at": NOW}
        connection.execute(insert(turns).values(said))

    await database.write(say)


class Memory:
    def __init__(self, *finds: Found) -> None:
        self.finds = finds
        self.asked: list[str] = []
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def find(
        self, question: str, *, limit: int, now: datetime, around: int = 0
    ) -> Sequence[Found]:
        self.asked.append(question)
        if self.meanwhile is not None:
            await self.meanwhile()
        return self.finds[:limit]


PINNED = (
    Draft("fact", "The user is called Ada.", importance=0.9, pinned=True),
    Draft("fact", "x" * 5000, importance=0.95, pinned=True),
)
"""The second one has no room in any window, and takes nothing from the first."""


class Remembering:
    """A conversation of turns with some 20 tokens each, whose windows have a memory."""

    def __init__(self, database: Database, *finds: Found, session: str = "") -> None:
        self.models = ScriptedModels()
        self.written = Written()
        self.turns = TurnStore(database, now=lambda: NOW)
        self.notes = NoteStore(database)
        self.memory = Memory(*finds)
        self.pauses = 0
        self.session = session
        self.windows = Windows(
            self.models,
            "be kind",
            budget=BUDGET,
            summarising=Summarising(self.written, self.turns, SummaryStore(database)),
            recalling=Recalling(database, self.memory, least=0.5, now=lambda: NOW),
            notes=self.notes,
            pause=self._pause,
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses += 1
        self.written.busy = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.windows.run)
            yield
            tasks.cancel_scope.cancel()

    async def say(self, text: str = "") -> tuple[Message, ...]:
        """Say something and have it answered; gives what the model was sent."""
        for each in PINNED:
            await self.notes.add(each)
        number = 1 + len(await self.turns.turns(self.session))
        text = text or f"turn {number} is about door {number * 1111} and so on"
        turn = await self.turns.add(self.session or None, NewTurn("user", text))
        self.session = turn.session
        said = await self.turns.turns(self.session)
        sent = await self.windows.of(self.session, said)
        answer = await self.turns.add(
            self.session, NewTurn("assistant", "word " * 12 + str(number))
        )
        self.windows.grown(self.session, [*said, answer])
        await anyio.wait_all_tasks_blocked()
        return sent


async def settled(world: Remembering) -> None:
    """Wait until what goes on in the background has come to its end."""
    with anyio.fail_after(20):
        await world.windows.caught_up()


async def test_what_leaves_the_window_is_summed_up_before_it_moves(database: Database) -> None:
    world = Remembering(database)
    async with world.running():
        before = await world.say()
        moves = 0
        for _ in range(15):
            computed = len(world.models.ahead)
            now = await world.say()
            moves += before != now[: len(before)]
            assert moves == computed, "each was computed before it was needed"
            before = now
            await settled(world)
    head = before[1].content
    assert moves >= 1
    assert "Summary number" in head
    assert "1111" in head, "what the model left out is added"
    assert "The user is called Ada." in head


async def test_what_stands_in_front_of_the_turns_is_not_recalled_beside_it(
    database: Database,
) -> None:
    pinned = Found(None, None, "note", "The user is called Ada.", NOW, 1.0, note="n-1")
    world = Remembering(database, pinned, replace(OSLO, text="Ada lives in Oslo."))
    await say_elsewhere(database)
    [_, asked] = await world.say("What is Ada's name, and where does she live?")
    assert asked.content.count("The user is called Ada.") == 1
    assert "Ada lives in Oslo." in asked.content


async def test_nobody_waits_for_a_summary(database: Database) -> None:
    world = Remembering(database)
    world.written.missing = ServiceUnavailable("away")
    async with world.running():
        sent = await world.say()
        for _ in range(16):
            sent = await world.say()
            await settled(world)
            assert sum(len(one.content.split()) + 5 for one in sent) <= BUDGET
        assert "Earlier in this conversation" not in sent[1].content
        world.written.missing = None
        await world.say()
        await settled(world)
        assert "Earlier in this conversation" in (await world.say())[1].content


async def test_it_is_tried_again_when_somebody_needed_the_model(database: Database) -> None:
    world = Remembering(database)
    world.written.busy = 1
    async with world.running():
        for _ in range(16):
            await world.say()
            await settled(world)
    assert world.pauses == 1
    assert await SummaryStore(database).of(world.session)


async def test_after_a_restart_the_window_is_as_it_was(database: Database) -> None:
    world = Remembering(database)
    await say_elsewhere(database)
    async with world.running():
        for _ in range(16):
            await world.say()
            await settled(world)
        world.memory.finds = (OSLO,)
        before = await world.say("where does Maja live?")
        await settled(world)
    again = Remembering(database, session=world.session)
    after = await again.say("and her brother?")
    assert after[: len(before)] == before
    assert "Maja lives in Oslo." in before[-1].content


async def test_what_is_recalled_stays_with_its_turn_and_is_not_recalled_again(
    database: Database,
) -> None:
    world = Remembering(database, OSLO)
    await say_elsewhere(database)
    first = await world.say("where does Maja live?")
    [found] = world.windows.recalled(world.session, 1)
    assert found.text.endswith("Maja lives in Oslo.")
    second = await world.say("is Maja happy there?")
    assert world.windows.recalled(world.session, 3) == ()
    assert second[: len(first)] == first
    assert "Maja lives in Oslo." in first[-1].content
    assert second[-1].content == "is Maja happy there?"
    assert world.memory.asked == ["where does Maja live?", "is Maja happy there?"]


async def test_thanks_is_not_looked_up(database: Database) -> None:
    world = Remembering(database, OSLO)
    assert (await world.say("thank you!"))[-1].content.endswith("thank you!")
    assert world.memory.asked == []


async def test_what_is_forgotten_is_in_no_window(database: Database) -> None:
    world = Remembering(database, OSLO)
    await say_elsewhere(database)
    await world.say("where does Maja live?")

    def forget(connection: Connection) -> None:
        forget_recalled(connection, "s-00000000", 1, 9)

    await database.write(forget)
    world.windows.forget()
    world.memory.finds = ()
    sent = await world.say("is Maja happy there?")
    assert not any("Oslo" in one.content for one in sent)


async def test_what_is_forgotten_while_it_is_recalled_is_not_kept(database: Database) -> None:
    world = Remembering(database, OSLO)
    await say_elsewhere(database)
    world.memory.meanwhile = partial(Forgetting(database).forget, BySession("s-00000000"))
    await world.say("where does Maja live?")
    assert world.windows.recalled(world.session, 1) == ()
    world.memory.finds = ()
    sent = await world.say("is Maja happy there?")
    assert not any("Oslo" in one.content for one in sent)


async def test_a_window_that_was_made_while_something_was_forgotten_is_made_anew(
    database: Database,
) -> None:
    world = Remembering(database, OSLO)
    await say_elsewhere(database)

    async def forget() -> None:
        world.windows.forget()

    world.memory.meanwhile = forget
    await world.say("where does Maja live?")
    await Forgetting(database).forget(BySession("s-00000000"))
    world.memory.finds = ()
    sent = await world.say("is Maja happy there?")
    assert not any("Oslo" in one.content for one in sent)


async def test_what_is_shown_is_what_would_be_sent(database: Database) -> None:
    world = Remembering(database)
    async with world.running():
        for _ in range(16):
            await world.say()
            await settled(world)
        turns = await world.turns.turns(world.session)
        shown = await world.windows.shown(world.session, turns)
        sent = await world.say()
    assert shown.window.messages == sent[:-1]
    assert shown.summed_up
    assert shown.window.left_out == shown.window.begins - 1 > 0
    wide = await world.windows.shown(world.session, turns, role="task", budget=100_000)
    assert wide.window.left_out == 0
