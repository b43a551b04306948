"""The window of a conversation moves without anybody waiting for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
import pytest

from tale.errors import ServiceUnavailable
from tale.memory.turns import Turn
from tale.memory.windows import Windows
from tale.models.backend import Message
from tale.models.caller import ScriptedModels

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
