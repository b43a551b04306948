"""Programs of steps begin one after the other where memory is not free for them side by side.

What a program may take is limited for each alone, and the limits of several add up to more than
many machines have. Then the kernel ends some process, and perhaps a model. So a program begins once
its limit is free beside those of the programs that run; where none runs it begins in any case, as
its limit is more than most programs ever take. All steps pass here, whichever execution server they
are handed to. Above: `tasks.recorded_hands`, whose `Workers` it is. Below: those that do it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio

from tale.tasks.hands import Action, Outcome, Question, Reply, RunCommand, RunPython
from tale.tasks.recorded_hands import Workers
from tale.tasks.task import Report, Step
from tale.telemetry import get_logger

__all__ = ["InTurn"]

log = get_logger(__name__)


class InTurn:
    """Workers that hold programs up until there is memory for them, first come, first served."""

    def __init__(self, workers: Workers, *, memory: int, available: Callable[[], int]) -> None:
        """Make them.

        Args:
            workers: Who does it.
            memory: What a program may take, in bytes.
            available: Gives the memory that is free now, in bytes; looked at only where others run.
        """
        self._workers = workers
        self._memory = memory
        self._available = available
        self._running = 0
        self._line = anyio.Lock()
        self._ended = anyio.Event()

    async def ask(self, step: Step, question: Question, report: Report) -> Reply:
        """Ask a model, at once."""
        return await self._workers.ask(step, question, report)

    async def act(self, step: Step, action: Action, report: Report, *, repeatable: bool) -> Outcome:
        """Do something, a program once it is its turn; raises what the workers raise."""
        if not isinstance(action, RunCommand | RunPython):
            return await self._workers.act(step, action, report, repeatable=repeatable)
        async with self._turn(step):
            return await self._workers.act(step, action, report, repeatable=repeatable)

    @asynccontextmanager
    async def _turn(self, step: Step) -> AsyncGenerator[None]:
        async with self._line:
            while self._running and not self._has_room():
                log.info("program.waits_for_memory", step=step.id, running=self._running)
                self._ended = anyio.Event()
                await self._ended.wait()
            self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._ended.set()

    def _has_room(self) -> bool:
        """Say whether another fits; what the others take already is not free, and counts twice."""
        return self._available() >= self._memory * (self._running + 1)
