"""An embedded backend over real llama.cpp processes with a real small model."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
import anyio.abc
import pytest
from aiohttp import ClientSession
from anyio.streams.buffered import BufferedByteReceiveStream

from tale.errors import BackendFailed, BackendUnavailable, ContextExceeded
from tale.models.backend import ChatRequest, Chunk, Message
from tale.models.embedded import EmbeddedBackend
from tale.models.launcher import same_process
from tale.models.model_pool import ModelPool
from tale.models.openai_http import OpenAIBackend, open_session
from tale.models.order import Order
from tale.wire.leash import Peer

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

NAME = "model-ux"
CONTEXT = 512
HELLO = ChatRequest(messages=(Message("user", "Say hello."),), max_tokens=8, temperature=0)
ENDLESS = ChatRequest(
    messages=(Message("user", "Count to ten thousand."),),
    temperature=0,
    options={"ignore_eos": True},
)


class ProcessLauncher:
    """Starts llama.cpp without a supervisor, and announces what the process prints."""

    def __init__(self) -> None:
        self.process: anyio.abc.Process | None = None
        self._args: tuple[str, ...] = ()
        self._peer: Peer | None = None
        self._starts = 0

    async def start(self, name: str, module_args: Sequence[str], nice: int) -> None:
        del name
        self._args = (*module_args, f"--nice={nice}")
        if self.process is None or self.process.returncode is not None:
            await self._spawn()

    async def restart(self, name: str, reason: str) -> None:
        del name, reason
        await self.kill()
        await self._spawn()

    async def stop(self, name: str) -> None:
        del name
        await self.kill()

    async def keep_only(self, names: Collection[str]) -> None:
        if self._peer and self._peer.name not in names:
            await self.kill()

    async def wait_ready(self, name: str, *, after: Peer | None = None) -> Peer:
        if self._peer is None or same_process(self._peer, after):
            assert self.process is not None
            assert self.process.stdout is not None
            lines = BufferedByteReceiveStream(self.process.stdout)
            url = (await lines.receive_until(b"\n", 1 << 16)).decode().strip()
            pid = self.process.pid
            self._peer = Peer(service=name, name=name, url=url, pid=pid, starts=self._starts)
        return self._peer

    def peer(self, name: str) -> Peer | None:
        return self._peer if self._peer and self._peer.name == name else None

    async def kill(self) -> None:
        """Kill the process as the kernel does when memory runs out."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def aclose(self) -> None:
        await self.kill()
        if self.process is not None:
            await self.process.aclose()

    async def _spawn(self) -> None:
        if self.process is not None:
            await self.process.aclose()
        module = ["-m", "tale.models.llama_server", "--standalone", *self._args]
        self.process = await anyio.open_process(
            [sys.executable, *module], stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
        )
        self._starts += 1


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def launcher() -> AsyncIterator[ProcessLauncher]:
    async with aclosing(ProcessLauncher()) as opened:
        yield opened


@pytest.fixture
async def backend(
    small_model: Path, launcher: ProcessLauncher, session: ClientSession
) -> EmbeddedBackend:
    args = [f"--model={small_model}", "--alias=smol", f"--context={CONTEXT}", "--threads=2"]
    loaded = EmbeddedBackend(
        NAME,
        "smol",
        CONTEXT,
        launcher=launcher,
        module_args=args,
        token="any",
        session=session,
    )
    with anyio.fail_after(60):
        await loaded.load()
    return loaded


async def collect(backend: EmbeddedBackend | OpenAIBackend, request: ChatRequest) -> list[Chunk]:
    with anyio.fail_after(60):
        return [chunk async for chunk in backend.chat(request)]


async def drain(chunks: AsyncIterator[Chunk]) -> None:
    async for _ in chunks:
        pass


async def test_a_real_model_answers_and_its_prefix_is_cached(backend: EmbeddedBackend) -> None:
    first, second = await collect(backend, HELLO), await collect(backend, HELLO)
    assert first[0] == Chunk()
    assert "".join(chunk.text for chunk in first)
    assert [chunk.text for chunk in first if chunk.text] == [
        chunk.text for chunk in second if chunk.text
    ]
    before, after = first[-1].usage, second[-1].usage
    assert before is not None
    assert after is not None
    assert before.prompt == after.prompt > 0
    assert after.cached == after.prompt - 1
    assert 0 < after.completion <= 8
    residency = await backend.residency()
    assert residency.resident
    assert residency.memory_bytes is not None
    assert residency.memory_bytes > 100 << 20


async def test_tokens_are_counted_as_the_prompt_counts_them(backend: EmbeddedBackend) -> None:
    async def prompt_tokens(text: str) -> int:
        request = ChatRequest(messages=(Message("user", text),), max_tokens=1)
        chunks = await collect(backend, request)
        return next(chunk.usage.prompt for chunk in chunks if chunk.usage)

    short, long = "Hi", "Hi, naïve reader: def f(x): return x ** 2  # 平方"
    more = await prompt_tokens(long) - await prompt_tokens(short)
    assert await backend.count_tokens(long) - await backend.count_tokens(short) == more
    assert await backend.count_tokens("") == 0


async def test_tokens_are_counted_while_the_only_slot_generates(backend: EmbeddedBackend) -> None:
    async with aclosing(backend.chat(ENDLESS)) as chunks:
        async for chunk in chunks:
            if chunk.text:
                break
        assert await backend.count_tokens("one two three") >= 3


async def test_the_same_process_serves_as_any_openai_url(
    backend: EmbeddedBackend, launcher: ProcessLauncher, session: ClientSession
) -> None:
    del backend
    peer = launcher.peer(NAME)
    assert peer is not None
    other = OpenAIBackend("smol", CONTEXT, f"{peer.url}/v1", session=session)
    await other.load()
    chunks = await collect(other, HELLO)
    assert chunks[-1].finish in {"stop", "length"}
    assert chunks[-1].usage is not None


async def test_an_answer_raised_past_its_budget_reads_as_if_it_had_had_none(
    backend: EmbeddedBackend,
) -> None:
    order = Order("ux", budget=8, raised=24)
    async with ModelPool({"ux": backend, "task": backend}) as pool:
        with anyio.fail_after(60):
            await pool.complete("ux", replace(ENDLESS, max_tokens=1))  # its prompt is cached now
            uncut = await pool.complete("ux", replace(ENDLESS, max_tokens=24))
            raised = await pool.complete(order, ENDLESS)
    assert (raised.text, raised.finish, raised.usage) == (uncut.text, "length", uncut.usage)


async def test_too_long_a_prompt_is_refused_with_its_figures(backend: EmbeddedBackend) -> None:
    long = ChatRequest(messages=(Message("user", "word " * 800),))
    with pytest.raises(ContextExceeded, match=rf"\d+ tokens.* {CONTEXT}\."):
        await collect(backend, long)


async def test_closing_the_iterator_frees_the_only_slot(backend: EmbeddedBackend) -> None:
    async with aclosing(backend.chat(ENDLESS)) as chunks:
        async for chunk in chunks:
            if chunk.text:
                break
    assert (await collect(backend, HELLO))[-1].finish


async def test_a_killed_process_fails_its_answer_and_comes_back(
    backend: EmbeddedBackend, launcher: ProcessLauncher
) -> None:
    async with aclosing(backend.chat(ENDLESS)) as chunks:
        async for chunk in chunks:
            if chunk.text:
                break
        await launcher.kill()
        with pytest.raises(BackendFailed):
            await drain(chunks)
    assert not (await backend.residency()).resident
    with pytest.raises(BackendUnavailable):
        await collect(backend, HELLO)
    # The supervisor's part: it starts again what died.
    await launcher.restart(NAME, "it died")
    with anyio.fail_after(60):
        await backend.recover("it died")
    assert (await backend.residency()).starts == 2
    assert (await collect(backend, HELLO))[-1].finish


async def test_a_process_that_stopped_moving_is_replaced(
    backend: EmbeddedBackend, launcher: ProcessLauncher
) -> None:
    assert launcher.process is not None
    launcher.process.send_signal(signal.SIGSTOP)  # SIGSTOP: alive, announced, and silent
    async with aclosing(backend.chat(HELLO)) as chunks:
        with anyio.move_on_after(0.3) as patience:
            await anext(chunks)
    assert patience.cancelled_caught
    with anyio.fail_after(60):
        await backend.recover("no token for 0.3 s")
    assert (await backend.residency()).starts == 2
    assert (await collect(backend, HELLO))[-1].finish
