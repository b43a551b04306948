"""What completion offers behind a command of a conversation: ids, each with what it names.

Above: `chat_prompt`, which asks in a thread. Below: `connection`, `chat_verdicts`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from tale.cli.chat_commands import Takes
from tale.cli.chat_verdicts import Verdicts
from tale.cli.connection import Connection
from tale.cli.render import one_line
from tale.cli.views import Task
from tale.errors import TaleError

__all__ = ["Offers"]

_OFFERED: Final = 20
_FRESH_SECONDS: Final = 3.0
"""How long what is offered is taken as it was: longer than it takes to type a word."""


class Offers:
    """What completion offers behind a command, looked up again after a few seconds."""

    def __init__(self, connection: Connection, verdicts: Verdicts) -> None:
        self._connection = connection
        self._verdicts = verdicts
        self._known: dict[str, tuple[float, Sequence[tuple[str, str]]]] = {}

    def of(self, takes: Takes) -> Sequence[tuple[str, str]]:
        """Give words, each with what it is; none where nobody answers."""
        if takes in ("", "words"):
            return ()
        looked, found = self._known.get(takes, (0.0, ()))
        if time.monotonic() - looked > _FRESH_SECONDS or not looked:
            try:
                found = self._look_up(takes)
            except TaleError:
                found = ()
            self._known[takes] = (time.monotonic(), found)
        return found

    def _look_up(self, takes: Takes) -> Sequence[tuple[str, str]]:
        if takes == "session":
            asked = {"limit": _OFFERED}
            reply = self._connection.call("ux", "sessions", asked, idempotent=True)
            return [
                (one.text("id"), one_line(one.text("title"))) for one in reply.records("sessions")
            ]
        reply = self._connection.call("gateway", "list", {"limit": _OFFERED}, idempotent=True)
        tasks = map(Task.read, reply.records("tasks"))
        waiting = self._verdicts.asking
        return [
            (task.id, f"{task.state}: {one_line(task.text)}")
            for task in tasks
            if takes == "task" or task.id in waiting
        ]
