"""Keeps the index of what was said up to date in the background, and makes a damaged one anew.

What a stopped process left waiting is taken in at its next start; nothing else is done again.
Above: `servers.ux` runs it. Below: `retrieval`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from tale.errors import TaleError
from tale.memory.index import Taken
from tale.memory.retrieval import Retrieval
from tale.telemetry import get_logger

__all__ = ["Indexing"]

log = get_logger(__name__)

_PAUSE_SECONDS: Final = 5.0
"""Before another try, where the database could not be written."""


class Indexing:
    """Takes in what was said.

    Args:
        retrieval: Whose index it is.
        pause: Waits between two tries.

    Attributes:
        made: Part of the turns that are in an index that is made anew; None where none is.
    """

    def __init__(
        self, retrieval: Retrieval, *, pause: Callable[[float], Awaitable[None]] = anyio.sleep
    ) -> None:
        self.made: float | None = None
        self._retrieval = retrieval
        self._pause = pause
        self._stirred = anyio.Event()

    def stir(self) -> None:
        """Hear that something was said, or that the index was found to be damaged."""
        self._stirred.set()

    async def run(self) -> None:
        """Take in what waits, and whatever comes, until cancelled."""
        ready = False
        while True:
            self._stirred = anyio.Event()
            try:
                if not ready:
                    await self._retrieval.get_ready()
                    ready = True
                await self._take_in()
            except TaleError as error:
                log.warning("memory.not_indexed", reason=error.message)
                await self._pause(_PAUSE_SECONDS)
                continue
            await self._stirred.wait()

    async def _take_in(self) -> None:
        while (await self._retrieval.keep_up()).turns:
            pass
        if not self._retrieval.damaged:
            return
        self.made, done = 0.0, 0

        def progress(taken: Taken) -> None:
            nonlocal done
            done += taken.turns
            self.made = done / (done + taken.waiting)

        try:
            await self._retrieval.make_anew(progress)
        finally:
            self.made = None
        log.info("memory.index_made", turns=done)
