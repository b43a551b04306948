"""A read that is late is asked a second time elsewhere: the first answer wins. Above: `pool`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from tale.errors import TaleError
from tale.wire.post import Answer, Broken, NotSent

__all__ = ["Attempt", "race"]

Attempt = Callable[[], Awaitable[Answer]]


async def race(first: Attempt, late: float, second: Callable[[], Attempt | None]) -> Answer:
    """Run an attempt, and another beside it should it be late; the loser is cancelled.

    Args:
        first: Is begun at once.
        late: Seconds after which it is.
        second: Gives the other attempt, or None where none is to be made.

    Raises:
        NotSent: What the last of them met with, where none gave an answer.
        Broken: Likewise.
        TaleError: Likewise.
    """
    answers: list[Answer] = []
    failures: list[NotSent | Broken | TaleError] = []
    ended = anyio.Event()

    async def run(attempt: Attempt) -> None:
        try:
            answers.append(await attempt())
        except (NotSent, Broken, TaleError) as error:
            failures.append(error)
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, first)
        running = 1
        with anyio.move_on_after(late):
            await ended.wait()
        if not answers and not failures and (other := second()):
            tasks.start_soon(run, other)
            running = 2
        while not answers and len(failures) < running:
            ended = anyio.Event()
            await ended.wait()
        tasks.cancel_scope.cancel()
    if answers:
        return answers[0]
    raise failures[-1]
