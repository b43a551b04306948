"""Distilling is killed at any point: nothing is left out, and nothing noted twice."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.streams.text import TextReceiveStream
from sqlalchemy import select

from memory_database import opened
from tale.memory.notes import NoteStore
from tale.memory.turns import NewTurn, TurnStore
from tale.storage.database import Database
from tale.storage.schema import distilled

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

HELPER = Path(__file__).parent.parent / "distiller.py"
NAMES = ("Ada", "Bob", "Cyd")


class Distiller:
    """A process that distils until it is killed."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdin
        assert process.stdout
        self._told = process.stdin
        self._says = TextReceiveStream(process.stdout)
        self._heard = ""

    async def asked(self) -> None:
        """Wait until it asks its model."""
        while "asked\n" not in self._heard:
            self._heard += await self._says.receive()
        self._heard = self._heard.replace("asked\n", "", 1)

    async def answer(self) -> None:
        """Have the model answer what it was asked."""
        await self._told.send(b"go on\n")

    async def answer_all(self) -> None:
        """Have the model answer whatever it is asked."""
        while True:
            await self.asked()
            await self.answer()


@asynccontextmanager
async def distilling(home: Path) -> AsyncGenerator[Distiller]:
    """Start it; at the end it is killed, whatever it does just then."""
    process = await anyio.open_process([sys.executable, str(HELPER), str(home)], stderr=None)
    try:
        yield Distiller(process)
    finally:
        process.kill()
        with anyio.CancelScope(shield=True):
            await process.wait()


def sentence(name: str, number: int) -> str:
    return f"Our colleague {name} works in room {number}."


async def marks(database: Database) -> dict[str, int]:
    """Give how far each conversation was gone through."""
    return await database.read(
        lambda connection: {
            row.session: row.through for row in connection.execute(select(distilled))
        }
    )


async def test_a_kill_at_any_point_leaves_nothing_out_and_notes_nothing_twice(
    tmp_path: Path,
) -> None:
    with anyio.fail_after(100):
        async with opened("sqlite", tmp_path) as database:
            turns = TurnStore(database)
            wanted: dict[str, str] = {}
            for name in NAMES:
                first = await turns.add(None, NewTurn("user", sentence(name, 1)))
                await turns.add(first.session, NewTurn("assistant", "I see."))
                await turns.add(first.session, NewTurn("user", sentence(name, 2)))
                wanted[first.session] = name
            async with distilling(tmp_path) as one:
                await one.asked()  # killed while the model thinks
            assert await marks(database) == {}
            async with distilling(tmp_path) as one:
                await one.asked()
                await one.answer()
                await one.asked()  # killed with one conversation done
            assert len(await marks(database)) == 1
            async with distilling(tmp_path) as one:
                await one.asked()
                await one.answer()  # killed before, in or after the transaction
            async with distilling(tmp_path) as one, anyio.create_task_group() as tasks:
                tasks.start_soon(one.answer_all)
                while len(await marks(database)) < len(NAMES):
                    pass
                tasks.cancel_scope.cancel()
            assert set((await marks(database)).values()) == {3}
            noted = await NoteStore(database).listed(100, outdated=True)
    assert sorted((one.session, one.turns, one.text) for one in noted) == sorted(
        (session, (turn,), sentence(name, number))
        for session, name in wanted.items()
        for turn, number in ((1, 1), (3, 2))
    )
