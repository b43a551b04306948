"""Calls that were made before in the same words are answered from memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.models.answer import Completion, Try
from tale.models.backend import ChatRequest, Message, Usage
from tale.models.exact_cache import ExactCache, key_of
from tale.models.memory_backend import InMemoryBackend
from tale.models.model_pool import ModelPool
from tale.models.order import Order

pytestmark = pytest.mark.anyio

ANSWER = Completion("small", "ux", False, "", "a plan", (), "stop", Usage(7, 2, 3))
PLAN = Order("ux", cacheable=True)


def ask(text: str = "plan this") -> ChatRequest:
    return ChatRequest((Message("user", text),), temperature=0)


class Pair:
    """A pool of two."""

    def __init__(self) -> None:
        self.ux = InMemoryBackend("small")
        self.task = InMemoryBackend("large")

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[ModelPool]:
        with anyio.fail_after(20):
            async with ModelPool({"ux": self.ux, "task": self.task}) as pool:
                await pool.ensure_ready("ux")
                await pool.ensure_ready("task")
                yield pool


@pytest.fixture
def pair() -> Pair:
    return Pair()


# -- in the pool -----------------------------------------------------------------------------------


async def test_the_same_call_is_answered_once_and_then_costs_nothing(pair: Pair) -> None:
    async with pair.running() as pool:
        first = await pool.complete(PLAN, ask())
        again = await pool.complete(PLAN, ask())
    assert (again.text, again.model, again.reason) == (
        first.text,
        "small",
        "the same was asked before",
    )
    assert first.usage == Usage(2, 2)
    assert again.usage == Usage(prompt=2, completion=0, cached=2)
    assert len(pair.ux.requests) == 1


async def test_a_call_that_is_not_marked_is_always_made(pair: Pair) -> None:
    async with pair.running() as pool:
        for _ in range(2):
            await pool.complete("ux", ask())
    assert len(pair.ux.requests) == 2


async def test_two_who_ask_the_same_at_once_share_one_answer(pair: Pair) -> None:
    texts: list[str] = []
    async with pair.running() as pool, anyio.create_task_group() as tasks:

        async def one() -> None:
            texts.append((await pool.complete(PLAN, ask())).text)

        for _ in range(5):
            tasks.start_soon(one)
    assert texts == ["plan this"] * 5
    assert len(pair.ux.requests) == 1


async def test_who_waits_for_a_first_that_fails_asks_by_itself(pair: Pair) -> None:
    async with pair.running() as pool:
        pair.ux.inject("stall", times=1)
        with anyio.CancelScope() as first:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pool.complete, PLAN, ask("one two"))
                await anyio.wait_all_tasks_blocked()
                first.cancel()
        assert (await pool.complete(PLAN, ask("one two"))).text == "one two"


async def test_a_substitutes_answer_is_not_kept_as_the_models_own(pair: Pair) -> None:
    async with pair.running() as pool:
        pair.ux.inject("fail", times=1)
        assert (await pool.complete(PLAN, ask())).model == "large"
        assert (await pool.complete(PLAN, ask())).model == "small"


async def test_a_cascade_is_not_gone_through_twice(pair: Pair) -> None:
    def check(answer: Completion) -> str:
        return "" if answer.model == "large" else "gave a poor answer"

    order = replace(PLAN, check=check)
    async with pair.running() as pool:
        assert (await pool.complete(order, ask())).tries[0].usage == Usage(2, 2)
        again = await pool.complete(order, ask())
        assert (again.model, again.fell_back, again.tries) == ("large", True, ())
    assert (len(pair.ux.requests), len(pair.task.requests)) == (1, 1)


# -- the cache -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        replace(ANSWER, finish="length"),
        replace(ANSWER, fault="gave invalid JSON"),
        replace(ANSWER, tool_calls=({"index": 0},), finish="tool_calls"),
    ],
)
def test_only_answers_that_ended_by_themselves_are_kept(answer: Completion) -> None:
    cache = ExactCache()
    cache.put(b"key", answer)
    assert cache.get(b"key") is None
    assert (len(cache), cache.size) == (0, 0)


def test_a_hit_computes_nothing_and_tells_of_no_tries() -> None:
    cache = ExactCache()
    cache.put(b"key", replace(ANSWER, tries=(Try("large", "broke off"),)))
    hit = cache.get(b"key")
    assert hit is not None
    assert (hit.text, hit.usage, hit.tries) == ("a plan", Usage(7, 0, 7), ())


def test_a_key_tells_every_call_from_every_other() -> None:
    call = ask()
    others = [
        ask("plan that"),
        replace(call, max_tokens=5),
        replace(call, temperature=1),
        replace(call, stop=("x",)),
        replace(call, options={"seed": 1}),
        replace(call, messages=(Message("system", "plan this"),)),
        replace(call, messages=(Message("user", "plan", {"name": "this"}),)),
        replace(call, messages=(*call.messages, Message("user", ""))),
    ]
    keys = {key_of("small", other) for other in (call, *others)}
    assert len(keys) == 9
    assert key_of("large", call) not in keys
    assert key_of("small", call, 10, None) not in keys
    assert key_of("small", ask()) in keys


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3000)), max_size=60))
def test_a_cache_stays_within_its_bounds_and_forgets_the_oldest(
    calls: list[tuple[int, int]],
) -> None:
    cache = ExactCache(entries=4, size=6000)
    for name, length in calls:
        cache.put(bytes([name]), replace(ANSWER, text="x" * length))
        assert len(cache) <= 4
        assert cache.size <= 6000
        kept = cache.get(bytes([name]))
        assert kept is not None
        assert len(kept.text) == length
    recent = list(dict.fromkeys(name for name, _ in reversed(calls)))
    found = [cache.get(bytes([name])) is not None for name in recent]
    assert found == sorted(found, reverse=True)
