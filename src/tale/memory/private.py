"""A private conversation: its turns live in the memory of this process, and nowhere else.

No turn is stored, nothing is noted or indexed, and no work is kept for later. Work that is handed
over is a task like any other, without a word of where it came from. Above: `servers.ux`, which
makes a second `Conversations` of these. Beside: `turns.TurnStore`, whose twin this is.
"""

from __future__ import annotations

import secrets
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from tale.errors import ServiceUnavailable, SessionNotFound
from tale.memory.exchange import Standing, TaskGateway, Work
from tale.memory.turns import NewTurn, Turn

__all__ = ["PREFIX", "PRIVATE_BEGUN", "Discreet", "NoOutbox", "PrivateTurns"]

PREFIX: Final = "private-"
"""How the id of a private conversation begins; no other's does."""
PRIVATE_BEGUN: Final = (
    "I'm on it. What I am to do and what comes of it are kept with the task, and remembered "
    "nowhere else."
)
_MOST_SESSIONS: Final = 64
"""Those that were used last; each may hold megabytes."""


class PrivateTurns:
    """Keeps the turns of private conversations until this process ends."""

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._sessions: OrderedDict[str, list[Turn]] = OrderedDict()

    async def add(self, session: str | None, new: NewTurn) -> Turn:
        """Take a turn, in a new session where none is given.

        Raises:
            SessionNotFound: There is no such session, or none any more.
        """
        identity = session or f"{PREFIX}{secrets.token_hex(8)}"
        said = self._sessions.setdefault(identity, []) if session is None else self._of(identity)
        turn = Turn(
            identity,
            len(said) + 1,
            new.speaker,
            new.text,
            self._now(),
            new.model,
            new.task,
            new.interrupted,
        )
        said.append(turn)
        self._sessions.move_to_end(identity)
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return turn

    async def turns(self, identity: str, *, after: int = 0, limit: int | None = None) -> list[Turn]:
        """Give the turns of a session beyond number `after`, oldest first; the last `limit`."""
        found = self._sessions.get(identity, [])[after:]
        return found if limit is None else found[-limit:] if limit else []

    async def tasks(self, identity: str, limit: int) -> list[str]:
        """List the tasks that came of a session's turns, the newest first."""
        found = [turn.task for turn in self._sessions.get(identity, []) if turn.task]
        return found[::-1][:limit]

    def _of(self, identity: str) -> list[Turn]:
        said = self._sessions.get(identity)
        if said is None:
            raise SessionNotFound(
                "This private conversation is over: it was held in memory only.",
                hint="`tale chat --private` begins another one.",
            )
        return said


class NoOutbox:
    """Keeps no work."""

    async def keep(self, work: Work, told: NewTurn) -> Turn:
        """Refuse it.

        Raises:
            ServiceUnavailable: Always.
        """
        del work, told
        raise ServiceUnavailable(
            "The part of tale that runs tasks does not answer just now, and a private conversation "
            "keeps no work for later.",
            hint="Look at `tale tasks`: it may have been taken. If not, say it again in a while.",
        )


class Discreet:
    """Hands work over without saying where it came from."""

    def __init__(self, gateway: TaskGateway) -> None:
        self._gateway = gateway

    async def submit(self, work: Work) -> str:
        """Record a task and give its id."""
        return await self._gateway.submit(
            replace(work, session="", key=uuid.uuid4().hex, private=True)
        )

    async def stands(self, task: str) -> Standing:
        """Say how a task stands."""
        return await self._gateway.stands(task)
