"""A model file that was damaged: real processes refuse it, and it is healed or named."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from aiohttp import ClientSession
from pydantic import JsonValue

from tale.config import ModelsSettings, RoleSettings
from tale.errors import LoadFailed
from tale.models.backend import ChatRequest, Message, Role
from tale.models.catalog import CATALOG
from tale.models.embedded import EmbeddedBackend
from tale.models.embedded_pair import EmbeddedPair, server_name
from tale.models.fetch_sources import InMemorySource
from tale.models.gguf import read_gguf
from tale.models.launcher import LeashLauncher
from tale.models.model_pool import ModelPool
from tale.models.model_store import mark_verified
from tale.models.openai_http import open_session
from tale.models.pool_stats import ModelStatus
from tale.orchestration.leashes import answer
from tale.orchestration.owned import OwnedProcesses
from tale.orchestration.server_manager import ServerManager
from tale.orchestration.spawn import OsSpawner
from tale.orchestration.specs import ServerSpec
from tale.paths import Paths
from tale.wire.leash import Call, Peers

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(180)]

MODEL = CATALOG["smollm2-135m"]
TOKEN = "token-of-the-test"
HELLO = ChatRequest((Message("user", "Say hello."),), max_tokens=4)


class Line:
    """A line to the supervisor without a process at its other end."""

    def __init__(self, manager: ServerManager) -> None:
        self._manager = manager
        self._caller = ServerSpec("models", "models", (), may_manage=True)
        self.peers = manager.peers

    async def wait_change(self) -> Peers:
        before = self.peers

        def changed() -> Peers | None:
            return self._manager.peers if self._manager.peers is not before else None

        self.peers = await self._manager.until(changed)
        return self.peers

    async def call(self, operation: str, **arguments: JsonValue) -> JsonValue:
        call = Call(id=1, operation=operation, arguments=arguments)
        reply = await answer(OwnedProcesses(self._manager), self._manager, self._caller, call)
        if reply.error:
            raise reply.error.error()
        return reply.result


class World:
    """A pool over real model processes, whose files come from memory."""

    def __init__(self, home: Path, good: bytes) -> None:
        self.paths = Paths.from_environment({"TALE_HOME": str(home)})
        self.source = InMemorySource({MODEL.name: good})
        self.paths.models.mkdir(parents=True)
        self.file = self.paths.models / MODEL.file

    @asynccontextmanager
    async def running(self, name: str = MODEL.name) -> AsyncGenerator[ModelPool]:
        settings = ModelsSettings(
            directory=self.paths.models,
            ux=RoleSettings(name=name, context=512),
            task=RoleSettings(name=name, context=512),
        )
        manager = ServerManager([], OsSpawner(self.paths), token=TOKEN)
        with anyio.fail_after(120):
            async with manager.running(), open_session() as session:
                launcher = LeashLauncher(Line(manager))
                self.pair = EmbeddedPair(
                    settings, self.paths, launcher, token=TOKEN, sources=[self.source]
                )
                core: dict[Role, EmbeddedBackend] = {
                    model.role: self._backend(model.role, session) for model in self.pair.models
                }
                async with ModelPool(core, preparation=self.pair) as pool:
                    yield pool

    def _backend(self, role: Role, session: ClientSession) -> EmbeddedBackend:
        return EmbeddedBackend(
            server_name(role),
            self.pair.models[0].file.name,
            512,
            launcher=self.pair.launcher,
            module_args=(),
            token=TOKEN,
            session=session,
        )


@pytest.fixture
def good(small_model: Path) -> bytes:
    return small_model.read_bytes()


async def status(pool: ModelPool, role: Role) -> ModelStatus:
    return next(model for model in (await pool.status()).models if model.role == role)


def damaged(good: bytes) -> bytes:
    """Spoil a tensor's name: the header still makes sense, but llama.cpp misses the tensor."""
    assert good.count(b"blk.7.attn_q.weight") == 1
    return good.replace(b"blk.7.attn_q.weight", b"blk.7.attn_\xff.weight")


async def test_a_file_that_only_llama_cpp_finds_damaged_is_moved_aside_and_fetched_again(
    tmp_path: Path, good: bytes
) -> None:
    world = World(tmp_path, good)
    world.file.write_bytes(damaged(good))
    read_gguf(world.file)
    mark_verified(MODEL, world.file)
    async with world.running() as pool:
        for role in ("ux", "task"):
            assert (await pool.complete(role, HELLO)).text
        assert "llama.cpp refuses" in (await status(pool, "ux")).last_error
        assert world.source.fetched == [MODEL.name]
        assert world.file.read_bytes() == good
        (aside,) = world.paths.models.glob("*.damaged-*")
        assert aside.read_bytes() == damaged(good)
        # A good file that is refused for another reason is not hashed a second time.
        marker = world.file.with_name(f"{world.file.name}.verified")
        noted = marker.stat().st_mtime_ns
        await world.pair.mend(MODEL.name, LoadFailed("too little memory."))
        assert marker.stat().st_mtime_ns == noted


async def test_a_file_that_vanished_while_its_model_was_resident_is_fetched_again(
    tmp_path: Path, good: bytes
) -> None:
    world = World(tmp_path, good)
    world.file.write_bytes(good)
    mark_verified(MODEL, world.file)
    async with world.running() as pool:
        await pool.ensure_ready("ux")
        world.file.unlink()
        await world.pair.launcher.restart("model-ux", "as if it had crashed")
        with anyio.fail_after(60):
            while not world.source.fetched:  # noqa: ASYNC110 - a download tells nobody
                await anyio.sleep(0.05)
        # Until it is loaded again, the other role's model would answer.
        await pool.ensure_ready("ux", 60)
        assert (await pool.complete("ux", HELLO)).text
    assert world.file.read_bytes() == good


async def test_a_users_own_file_that_llama_cpp_refuses_is_named_in_the_status(
    tmp_path: Path, good: bytes
) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(damaged(good))
    world = World(tmp_path / "home", b"")
    async with world.running(str(own)) as pool:
        while not (detail := (await status(pool, "task")).detail):
            await anyio.lowlevel.checkpoint()
    assert f"llama.cpp refuses {own}" in detail
    assert "tale logs" in detail
    assert world.source.fetched == []
    assert own.read_bytes() == damaged(good)
