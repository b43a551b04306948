"""Tale's own limits on answers, and what happens when they are used up."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.models.backend import ChatRequest, Message, Usage
from tale.models.budget_watch import BudgetWatch, limited, watch_for
from tale.models.memory_backend import InMemoryBackend
from tale.models.model_pool import ModelPool
from tale.models.order import Order

pytestmark = pytest.mark.anyio

NEW = " ".join(f"word{chr(97 + n % 26)}{n}" for n in range(400))
IDLE = "so it goes " * 200


def ask(max_tokens: int | None = None) -> ChatRequest:
    return ChatRequest((Message("user", "go"),), max_tokens)


@asynccontextmanager
async def pool_of(text: str) -> AsyncGenerator[tuple[ModelPool, InMemoryBackend]]:
    ux = InMemoryBackend("small", answer=lambda _: text)
    with anyio.fail_after(20):
        async with ModelPool({"ux": ux, "task": InMemoryBackend("large")}) as pool:
            yield pool, ux


async def test_an_answer_with_more_to_say_goes_on_past_its_budget_in_one_stream() -> None:
    async with pool_of(NEW) as (pool, ux):
        answer = await pool.chat(Order("ux", budget=100, raised=300), ask())
        chunks = [chunk async for chunk in answer.chunks]
    assert "".join(chunk.text for chunk in chunks) == " ".join(NEW.split()[:300])
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["length"]
    assert chunks[-1].usage == Usage(1, 300)
    assert [request.max_tokens for request in ux.requests] == [300]


async def test_an_answer_that_repeats_itself_ends_at_its_budget() -> None:
    async with pool_of(IDLE) as (pool, ux):
        answer = await pool.complete(Order("ux", budget=100, raised=300), ask())
        assert (answer.text, answer.finish) == (" ".join(IDLE.split(" ")[:100]), "length")
        assert answer.usage is not None
        assert answer.usage.completion == 100
        status = (await pool.status()).models[0]
    assert (ux.cancelled, status.in_flight) == (1, 0)


async def test_without_a_raise_an_answer_ends_at_its_budget() -> None:
    async with pool_of(NEW) as (pool, _):
        answer = await pool.complete(Order("ux", budget=10), ask())
        assert (len(answer.text.split()), answer.finish) == (10, "length")


async def test_a_callers_own_limit_stands() -> None:
    async with pool_of(IDLE) as (pool, _):
        answer = await pool.complete(Order("ux", budget=10, raised=20), ask(max_tokens=150))
        assert (answer.usage, answer.finish) == (Usage(1, 150), "length")


LIMIT = st.none() | st.integers(1, 4000)


@given(LIMIT, LIMIT, LIMIT)
def test_a_limit_is_the_callers_or_the_larger_of_tales(
    own: int | None, budget: int | None, raised: int | None
) -> None:
    order = Order("ux", budget=budget, raised=raised)
    given_limit = limited(order, ask(own)).max_tokens
    if own is not None or budget is None:
        assert given_limit == own
        assert watch_for(order, ask(own)) is None
    else:
        assert given_limit == max(budget, raised or 0)
        watch = watch_for(order, ask(own))
        assert (watch is not None) == (raised is not None and raised > budget)


@given(st.integers(1, 50), st.lists(st.sampled_from(("a ", "b ", "c ")), max_size=200))
def test_an_answer_is_looked_at_once(budget: int, tokens: list[str]) -> None:
    watch = BudgetWatch(budget)
    seen: list[bool] = []
    for token in tokens:
        watch.take(token)
        seen.append(watch.wasted)
    assert not any(seen[: budget - 1])
    assert len(set(seen[budget - 1 :])) <= 1
