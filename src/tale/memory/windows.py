"""The windows of all conversations: where each begins now, and the next one computed ahead.

A window that has moved has a beginning that no model has computed: two thousand tokens take the
embedded ux model twenty seconds. So the old one is used as long as it fits, and the new one
computed meanwhile, whenever the model has nothing to do. Where a window begins is kept in memory
only: after a restart it is where it would be had everything been computed in time. Above:
`conversation`; `servers.ux` runs it. Below: `context` (decides), the models server.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import anyio

from tale.errors import TaleError
from tale.memory.context import (
    MESSAGE_TOKENS,
    CountTokens,
    beginning,
    room_after,
    tokens_from,
    window,
)
from tale.memory.token_counts import TokenCounts
from tale.memory.turns import Turn
from tale.models.backend import Message, Role
from tale.models.caller import ModelCaller
from tale.telemetry import get_logger

__all__ = ["Windows"]

log = get_logger(__name__)

_ROLE: Final[Role] = "ux"
_SESSIONS: Final = 1024
"""Conversations whose beginning is remembered; of others it is worked out."""
_PAUSE_SECONDS: Final = 1.0
"""Between two tries, where somebody else needed the model."""
_AHEAD_SECONDS: Final = 300.0


class Windows:
    """Gives each turn its window."""

    def __init__(
        self,
        models: ModelCaller,
        system: str,
        *,
        budget: int,
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Make them.

        Args:
            models: Who counts tokens and computes ahead.
            system: The system prompt of all of them.
            budget: Tokens that a whole prompt may have.
            pause: Waits between two tries.
        """
        self._models = models
        self._system = system
        self._budget = budget
        self._pause = pause
        self._counts = TokenCounts(models)
        self._begins: OrderedDict[str, int] = OrderedDict()
        self._grown: dict[str, Sequence[Turn]] = {}
        self._stirred = anyio.Event()

    async def of(self, session: str, turns: Sequence[Turn]) -> tuple[Message, ...]:
        """Give the window in which the last turn of a conversation is answered."""
        count = await self._count(turns)
        room = room_after(self._system, self._budget, count)
        begins = beginning(turns, room=room, count_tokens=count)
        now = self._begins.get(session, begins)
        if now < begins and tokens_from(now, turns, count) > room:
            log.info("window.moved_in_need", session=session, begins=begins)
            now = begins
        self._remember(session, now)
        return window(self._system, turns, begins=now)

    def grown(self, session: str, turns: Sequence[Turn]) -> None:
        """Hear that a turn was answered: the window may have to move before the next one."""
        self._grown.pop(session, None)
        self._grown[session] = turns
        self._stirred.set()

    def forget(self, sessions: Iterable[str]) -> None:
        """Hear that turns of these conversations are gone."""
        for session in sessions:
            self._begins.pop(session, None)
            self._grown.pop(session, None)

    async def run(self) -> None:
        """Compute the windows that conversations will move to, until cancelled."""
        while True:
            while not self._grown:
                self._stirred = anyio.Event()
                await self._stirred.wait()
            session, turns = next(iter(self._grown.items()))
            done = await self._computed(session, turns)
            if done and self._grown.get(session) is turns:
                del self._grown[session]
            elif not done:
                await self._pause(_PAUSE_SECONDS)

    async def _computed(self, session: str, turns: Sequence[Turn]) -> bool:
        """Move a window if it has to; False where the model had no time for it."""
        count = await self._count(turns)
        room = room_after(self._system, self._budget, count)
        begins = beginning(turns, room=room, count_tokens=count)
        if begins <= self._begins.get(session, begins):
            return True
        try:
            messages = window(self._system, turns, begins=begins)
            if not await self._models.compute_ahead(messages, _ROLE, _AHEAD_SECONDS):
                return False
        except TaleError as error:
            log.info("window.not_computed", session=session, reason=error.message)
            return True
        log.info("window.moved", session=session, begins=begins)
        self._remember(session, begins)
        return True

    async def _count(self, turns: Sequence[Turn]) -> CountTokens:
        texts = (self._system, *(turn.text for turn in turns))
        room = self._budget // 2 - MESSAGE_TOKENS * len(texts)
        return await self._counts.of(_ROLE, texts, room=room)

    def _remember(self, session: str, begins: int) -> None:
        self._begins[session] = begins
        self._begins.move_to_end(session)
        while len(self._begins) > _SESSIONS:
            self._begins.popitem(last=False)
