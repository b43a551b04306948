"""Prompts are computed ahead in small strides, and whoever asks for an answer goes first."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.models.ahead import SpareAnswer, strides
from tale.models.backend import Backend, ChatRequest, Chunk, Message, Role, Usage
from tale.models.memory_backend import InMemoryBackend
from tale.models.model_pool import ModelPool
from tale.models.pool_policy import Policy
from tale.servers.recording import own_entry

CALM = Policy(pulse_seconds=3600, check_seconds=3600, wait_seconds=60)
LONG = (Message("system", "be kind"), Message("user", "long " * 200))

MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(["user", "assistant"]), st.text(max_size=40)), min_size=1
)


@given(MESSAGES, st.integers(1, 50))
def test_each_stride_goes_on_where_the_last_one_ended_up_to_the_whole(
    messages: list[Message], size: int
) -> None:
    prompts = [request.messages for request in strides(messages, size)]
    lengths = [sum(len(one.content) for one in prompt) for prompt in prompts]
    assert all(0 < after - before <= size for before, after in pairwise(lengths))
    assert lengths[0] <= size
    texts = ["\0".join(one.content for one in prompt) for prompt in prompts]
    assert all(after.startswith(before) for before, after in pairwise(texts))
    whole = "".join(message.content for message in messages)
    assert "".join(one.content for one in prompts[-1]) == whole


@asynccontextmanager
async def pool_of(ux: InMemoryBackend) -> AsyncGenerator[ModelPool]:
    with anyio.fail_after(20):
        async with ModelPool({"ux": ux, "task": InMemoryBackend("large")}, policy=CALM) as pool:
            await pool.ensure_ready("ux")
            yield pool


@pytest.mark.anyio
async def test_an_idle_model_computes_all_of_it_a_token_at_a_time() -> None:
    ux = InMemoryBackend("small")
    async with pool_of(ux) as pool:
        assert await pool.compute_ahead("ux", LONG)
        status = (await pool.status()).models[0]
    assert len(ux.requests) == 4
    assert all(request.max_tokens == 1 for request in ux.requests)
    assert ux.requests[-1].messages == LONG
    assert status.requests == 0, "nobody asked for anything"


@pytest.mark.anyio
async def test_what_computes_needs_no_pulse() -> None:
    now = 0.0
    ux = InMemoryBackend("small")
    models: dict[Role, Backend] = {"ux": ux, "task": InMemoryBackend("large")}
    policy = replace(CALM, pulse_seconds=30)
    with anyio.fail_after(20):
        async with ModelPool(models, policy=policy, clock=lambda: now) as pool:
            await pool.ensure_ready("ux")
            model = pool._roster.core_named("ux")  # pyright: ignore[reportPrivateUsage]
            assert model is not None
            before, now = len(ux.requests), 100.0
            assert await pool.compute_ahead("ux", LONG)
            model.stirred.notify()
            await anyio.wait_all_tasks_blocked()
    assert all(request.messages[0] == LONG[0] for request in ux.requests[before:])


@pytest.mark.anyio
async def test_it_gives_way_to_whoever_asks() -> None:
    ux = InMemoryBackend("small")
    async with pool_of(ux) as pool:
        ux.inject("stall", times=1)
        answer = await pool.chat("ux", ChatRequest((Message("user", "hello there"),)))
        assert not await pool.compute_ahead("ux", LONG)
        assert len(ux.requests) == 1
        ux.mend()
        assert [chunk.text async for chunk in answer.chunks][-1] == ""
        assert await pool.compute_ahead("ux", LONG)


@pytest.mark.anyio
async def test_an_answer_that_nobody_waits_for_is_given_up_as_soon_as_somebody_asks() -> None:
    ux = InMemoryBackend("small")
    asked = ChatRequest((Message("user", "one two three four five six"),), max_tokens=20)
    async with pool_of(ux) as pool:
        answer = await pool.answer_in_spare_time("ux", asked)
        assert answer is not None
        assert "one two three" in answer.text
        assert (answer.model, answer.role, answer.finish) == ("small", "ux", "stop")
        assert (await pool.status()).models[0].requests == 0, "nobody asked for anything"
        ux.inject("stall", times=1)
        waited_for = await pool.chat("ux", ChatRequest((Message("user", "hello there"),)))
        assert await pool.answer_in_spare_time("ux", asked) is None
        ux.mend()
        assert [chunk.text async for chunk in waited_for.chunks][-1] == ""


def test_what_tale_asked_for_itself_is_counted_as_its_own() -> None:
    answer = SpareAnswer("three", "small", "ux", "stop", Usage(8, 1, 3))
    entry = own_entry(ChatRequest(LONG), answer, 100.0, 2.5)
    assert (entry.own, entry.model, entry.usage, entry.seconds) == (
        True,
        "small",
        answer.usage,
        2.5,
    )
    assert entry.error == ""


class Slow(InMemoryBackend):
    """Waits in the middle of the answer that was asked for in spare time."""

    def __init__(self) -> None:
        super().__init__("small")
        self.begun, self.go = anyio.Event(), anyio.Event()

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        async for chunk in super().chat(request):
            yield chunk
            if request.max_tokens == 20:
                self.begun.set()
                await self.go.wait()


@pytest.mark.anyio
async def test_it_gives_way_in_the_middle_of_an_answer_too() -> None:
    ux = Slow()
    asked = ChatRequest((Message("user", "one two three four five six"),), max_tokens=20)
    given: list[object] = []
    async with pool_of(ux) as pool, anyio.create_task_group() as tasks:

        async def ask() -> None:
            given.append(await pool.answer_in_spare_time("ux", asked))

        tasks.start_soon(ask)
        await ux.begun.wait()
        waited_for = await pool.chat("ux", ChatRequest((Message("user", "hello there"),)))
        ux.go.set()
        assert "hello" in "".join([chunk.text async for chunk in waited_for.chunks])
    assert given == [None]


@pytest.mark.anyio
async def test_a_model_that_fails_or_is_not_there_computes_nothing() -> None:
    ux = InMemoryBackend("small")
    async with pool_of(ux) as pool:
        ux.inject("fail", times=1)
        assert not await pool.compute_ahead("ux", LONG)
        assert not await pool.compute_ahead("nobody", LONG)
