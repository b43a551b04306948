"""One stream of news for any number of readers."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.servers.broadcast import Broadcast

pytestmark = pytest.mark.anyio


@given(st.integers(1, 8), st.integers(0, 30), st.integers(-2, 40))
def test_a_reader_gets_all_that_came_after_its_place_or_hears_that_some_is_gone(
    kept: int, told: int, place: int
) -> None:
    news = Broadcast(kept)
    for number in range(1, told + 1):
        news.tell("n", str(number))
    after = news.after(place)
    missed = range(place + 1, told + 1)
    if place > told or len(missed) > kept or place < 0:
        assert after is None
    else:
        assert [one.data for one in after or []] == [str(number) for number in missed]


@given(st.integers(0, 1000), st.text())
def test_a_place_means_nothing_to_another_stream(number: int, text: str) -> None:
    one, other = Broadcast(), Broadcast()
    assert one.number(one.place(number)) == number
    assert other.number(one.place(number)) is None
    assert one.number(text) is None


async def test_who_waits_is_woken_by_news_and_by_the_end() -> None:
    news = Broadcast()
    woken: list[str] = []

    async def wait(name: str, number: int) -> None:
        await news.wait(number)
        woken.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "first", 0)
        tasks.start_soon(wait, "second", 1)
        await anyio.wait_all_tasks_blocked()
        news.tell("n", "1")
        await anyio.wait_all_tasks_blocked()
        assert woken == ["first"]
        news.close()
    assert woken == ["first", "second"]
