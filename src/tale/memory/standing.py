"""What is said of a conversation's tasks to whoever asks how far they are: facts, and no model.

Pure but for `TaskFacts`, which reads them. Above: `conversation`. Below: `how_far` (was that
asked?), `turns` (which tasks), and the gateway (how they stand).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from tale.clipped import clipped
from tale.errors import TaleError, TaskNotFound
from tale.memory.exchange import Standing, TaskGateway
from tale.memory.how_far import asked_how_far
from tale.memory.outbox import is_passing
from tale.memory.turns import Turns
from tale.telemetry import get_logger

__all__ = ["TaskFacts", "in_a_sentence", "meant"]

log = get_logger(__name__)

_LOOKED_AT: Final = 5
"""Tasks of one conversation: more hardly run at a time, and each is a call."""
_JUST_ENDED: Final = timedelta(minutes=15)
_ENDED: Final = frozenset({"done", "failed", "cancelled"})
_NAME_CHARACTERS: Final = 60
_AWAY: Final = (
    "I can't see how far it is: the part of tale that runs tasks is not there just now. The task "
    "goes on by itself once it is back; `tale status` shows why it is away."
)


class TaskFacts:
    """Answers questions of how far the tasks of a conversation are."""

    def __init__(
        self,
        turns: Turns,
        gateway: TaskGateway,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._turns = turns
        self._gateway = gateway
        self._now = now

    async def answer(self, session: str, text: str) -> str | None:
        """Answer a turn; None where it asks something else, or there is no task it could mean."""
        asked = asked_how_far(text)
        if asked is None:
            return None
        found: list[Standing] = []
        for task in await self._turns.tasks(session, _LOOKED_AT):
            try:
                found.append(await self._gateway.stands(task))
            except TaskNotFound:
                continue
            except TaleError as error:
                if not is_passing(error):
                    raise
                log.warning("facts.away", session=session, reason=error.message)
                return None if asked.about else _AWAY
        chosen = meant([one for one in found if asked.means(one.text)], self._now())
        return "\n".join(in_a_sentence(one, alone=len(chosen) == 1) for one in chosen) or None


def meant(tasks: Sequence[Standing], now: datetime) -> list[Standing]:
    """Choose the tasks that a question is about: all that have not ended, else the last one.

    Args:
        tasks: Those it may be about, the newest first.
        now: The present time; what ended long ago is not asked about.
    """
    if going := [one for one in tasks if one.state not in _ENDED]:
        return going
    last = max(tasks, key=lambda one: one.ended or now, default=None)
    if last is None or (last.ended is not None and now - last.ended > _JUST_ENDED):
        return []
    return [last]


def in_a_sentence(task: Standing, *, alone: bool) -> str:
    """Say how a task stands; it is named by the beginning of its text unless it is `alone`."""
    said = f"It {task.words}" if alone else f"“{clipped(task.text, _NAME_CHARACTERS)}” {task.words}"
    if task.state == "waiting":
        said += (
            f'\n`tale approve {task.task}` or `tale reject {task.task} "why not"` lets it go on.'
        )
    return said
