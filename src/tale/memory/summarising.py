"""Has summaries written: by the small model, while it has nothing else to do.

Whoever speaks meanwhile goes first, and it begins again later. What is written is durable at once,
so nothing is summed up twice, whatever is killed. Above: `windows`.
Below: `summary` (what to ask, what to keep), `summaries`, the models server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from tale.errors import TaleError
from tale.memory.summaries import SummaryStore
from tale.memory.summary import (
    Summary,
    merged,
    next_chunk,
    next_merge,
    summed_up,
    to_merge,
    to_sum_up,
)
from tale.memory.turns import Turns
from tale.models.backend import ChatRequest, Message, Role
from tale.models.caller import SpareTime
from tale.models.runaway import before_rambling
from tale.telemetry import get_logger

__all__ = ["Outcome", "Summarising"]

log = get_logger(__name__)

Outcome = Literal["done", "busy", "failed"]
"""All that had to be is summed up; somebody else needed the model; nobody was there to do it."""

_ROLE: Final[Role] = "ux"
_DEADLINE_SECONDS: Final = 300.0


class Summarising:
    """Sums conversations up."""

    def __init__(self, models: SpareTime, turns: Turns, store: SummaryStore) -> None:
        """Make one.

        Args:
            models: Who writes.
            turns: What was said.
            store: Where summaries are kept.
        """
        self._models = models
        self._turns = turns
        self._store = store

    async def of(self, session: str) -> list[Summary]:
        """Give the summaries of a conversation that there are."""
        return await self._store.of(session)

    async def up_to(self, session: str, before: int, *, chunk: int, prose: int) -> Outcome:
        """Sum up all that was said before a turn; goes on where it was the last time.

        Args:
            session: The conversation.
            before: Number of the turn that the window will begin with.
            chunk: Tokens of turns that are summed up at a time.
            prose: Tokens of what is written about them.
        """
        try:
            return await self._up_to(session, before, chunk, prose)
        except TaleError as error:
            log.info("summary.not_made", session=session, reason=error.message)
            return "failed"

    async def _up_to(self, session: str, before: int, chunk: int, prose: int) -> Outcome:
        done = await self._store.of(session)
        after = _summed_up_to(done)
        said = [one for one in await self._turns.turns(session, after=after) if one.seq < before]
        while True:
            turns = next_chunk(said, done, before=before, tokens=chunk)
            parts = () if turns else next_merge(done)
            if not turns and not parts:
                return "done"
            prompt = to_sum_up(turns, chunk) if turns else to_merge(parts)
            answer = await self._written(prompt, prose)
            if answer is None:
                return "busy"
            made = summed_up(turns, answer) if turns else merged(parts, answer)
            seqs = [turn.seq for turn in turns]
            if not await self._store.add(session, made, of=seqs or parts):
                return "busy"  # something of it was forgotten meanwhile: begin anew
            log.info(
                "summary.made", session=session, first=made.first, last=made.last, depth=made.level
            )
            done.append(made)

    async def _written(self, prompt: Sequence[Message], prose: int) -> str | None:
        """Have a prompt answered; None where somebody else needed the model."""
        request = ChatRequest(tuple(prompt), max_tokens=prose, temperature=0.0)
        text = await self._models.in_spare_time(request, _ROLE, _DEADLINE_SECONDS)
        if text is None:
            return None
        sense = before_rambling(text)
        return text if sense is None else sense


def _summed_up_to(done: Sequence[Summary]) -> int:
    """Give the number of the turn up to which, from the first, all is summed up."""
    last = 0
    for one in sorted((one for one in done if one.level == 0), key=lambda one: one.first):
        if one.first > last + 1:
            break
        last = max(last, one.last)
    return last
