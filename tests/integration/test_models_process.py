"""A real models server under the real supervisor, with a real small model in both roles."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import pytest
from aiohttp import ClientSession
from openai import AsyncOpenAI, AuthenticationError
from pydantic import BaseModel

from leash_end import leashed
from tale.config import Settings
from tale.orchestration.own_servers import default_specs
from tale.orchestration.server_manager import ServerManager
from tale.orchestration.spawn import OsSpawner
from tale.paths import Paths
from tale.wire.leash import Call

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(180)]

MODEL = "smollm2-135m"
TOKEN = "token-of-the-test"
T = TypeVar("T")


class Model(BaseModel):
    """What these tests look at in a model's status."""

    role: str
    name: str
    state: str
    resident: bool
    memory_bytes: int | None
    pid: int | None
    starts: int
    load_seconds: float | None
    recoveries: int
    fallbacks: int


class Pool(BaseModel):
    """The pool's status."""

    models: tuple[Model, ...]


class Tale:
    """The supervisor with the models server alone."""

    def __init__(self, manager: ServerManager, session: ClientSession) -> None:
        self.manager = manager
        self._session = session

    @property
    def url(self) -> str:
        return self.manager.peers.of("models")[0].url

    def client(self, token: str = TOKEN) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=token, max_retries=0, timeout=60)

    async def pool(self) -> dict[str, Model]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self._session.get(f"{self.url}/pool", headers=headers) as reply:
            found = Pool.model_validate_json(await reply.read())
        return {model.role: model for model in found.models}

    async def both_ready(self) -> dict[str, Model]:
        async def look() -> dict[str, Model] | None:
            models = await self.pool()
            ready = all(model.state == "ready" for model in models.values())
            return models if ready else None

        return await eventually(look)


async def eventually(look: Callable[[], Awaitable[T | None]]) -> T:
    """Look again until something is found; only a test of other processes has to."""
    with anyio.fail_after(60):
        while (found := await look()) is None:  # noqa: ASYNC110 - another process tells nobody
            await anyio.sleep(0.05)
        return found


async def say(client: AsyncOpenAI, model: str, text: str = "Say hello.") -> tuple[str, str, str]:
    """Ask, and give the text, the model, and the role that answered."""
    raw = await client.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": text}],
        max_tokens=8,
        temperature=0,
        extra_headers={"x-tale-deadline": "60"},
    )
    answer = raw.parse()
    return answer.choices[0].message.content or "", answer.model, raw.headers["x-tale-role"]


@pytest.fixture
async def tale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model: Path
) -> AsyncGenerator[Tale]:
    directory = small_model.parent
    monkeypatch.setenv("TALE_HOME", str(tmp_path))
    paths = Paths.from_environment()
    paths.config_file.write_text(
        f"""
        [model_server]
        port = 0
        [models]
        backend = "embedded"
        directory = "{directory}"
        ux = {{ name = "{MODEL}", context = 1024 }}
        task = {{ name = "{MODEL}", context = 1024 }}
        """
    )
    specs = [spec for spec in default_specs(Settings()) if spec.name == "models"]
    manager = ServerManager(specs, OsSpawner(paths), token=TOKEN)
    async with ClientSession() as session, manager.running():
        with anyio.fail_after(60):
            await manager.ready("models")
        yield Tale(manager, session)


async def test_with_models_elsewhere_the_processes_of_an_earlier_pair_are_ended(
    tmp_path: Path,
) -> None:
    (tmp_path / "tale.toml").write_text(
        """
        [model_server]
        port = 0
        [models]
        backend = "ollama"
        ollama_url = "http://127.0.0.1:1"
        """
    )
    async with leashed(["-m", "tale.servers.models"], name="models", home=tmp_path) as end:
        with anyio.fail_after(30):
            call = await end.receive()
        assert isinstance(call, Call)
        assert (call.operation, call.arguments) == ("keep_models", {"names": []})
        await end.reply(call)
        await end.ready()


async def test_the_official_client_streams_and_completes_and_both_models_are_resident(
    tale: Tale,
) -> None:
    await tale.both_ready()  # before that whoever is there first answers
    async with tale.client() as client:
        text, model, role = await say(client, "auto", "hello world")
        assert text
        assert (model, role) == (MODEL, "ux")
        stream = await client.chat.completions.create(
            model="task",
            messages=[{"role": "user", "content": "Count to ten."}],
            max_tokens=16,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        assert len([c for c in chunks if c.choices and c.choices[0].delta.content]) > 1
        usage = chunks[-1].usage
        assert usage is not None
        assert 0 < usage.completion_tokens <= 16
    async with tale.client("wrong") as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.models.list()
    models = await tale.both_ready()
    for model in models.values():
        assert model.resident
        assert model.memory_bytes is not None
        assert model.memory_bytes > 100 << 20
        assert model.load_seconds is not None
    assert models["ux"].pid != models["task"].pid


@pytest.mark.parametrize("role", ["ux", "task"])
async def test_after_kill_9_of_a_model_the_next_answer_comes_and_it_is_back(
    tale: Tale, role: str
) -> None:
    before = (await tale.both_ready())[role]
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    async with tale.client() as client:
        text, model, answered = await say(client, role)
    assert text
    assert model == MODEL
    assert answered in ("ux", "task")

    async def back() -> Model | None:
        found = (await tale.pool())[role]
        return found if found.state == "ready" and found.recoveries == 1 else None

    after = await eventually(back)
    assert after.pid != before.pid
    assert after.starts == before.starts + 1
    async with tale.client() as client:
        assert (await say(client, role))[2] == role


async def test_a_model_killed_in_the_middle_of_a_whole_answer_still_gives_one(tale: Tale) -> None:
    victim = (await tale.both_ready())["ux"].pid
    assert victim is not None
    replies: list[str] = []
    async with tale.client() as client, anyio.create_task_group() as tasks:

        async def ask() -> None:
            answer = await client.chat.completions.create(
                model="ux",
                messages=[{"role": "user", "content": "Count to one thousand."}],
                max_tokens=200,
                extra_body={"ignore_eos": True},
            )
            replies.append(answer.choices[0].message.content or "")

        tasks.start_soon(ask)

        async def generating() -> bool | None:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            url = f"{tale.url}/pool"
            async with ClientSession() as session, session.get(url, headers=headers) as reply:
                return True if b'"in_flight":1' in await reply.read() else None

        await eventually(generating)
        os.kill(victim, signal.SIGKILL)
    assert replies
    assert replies[0]


async def test_a_models_server_that_crashed_finds_its_models_resident(tale: Tale) -> None:
    before = await tale.both_ready()
    server = tale.manager.peers.of("models")[0]
    os.kill(server.pid, signal.SIGKILL)
    with anyio.fail_after(60):
        await tale.manager.until(
            lambda: next(
                (p for p in tale.manager.peers.of("models") if p.starts > server.starts), None
            )
        )
    after = await tale.both_ready()
    for role, model in before.items():
        assert (after[role].pid, after[role].starts) == (model.pid, model.starts)
