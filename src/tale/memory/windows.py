"""The windows of all conversations: where each begins now, and the next one computed ahead.

A window that has moved has a beginning that no model has computed: two thousand tokens take the
embedded ux model twenty seconds. So the old one is used as long as it fits, while what the next one
leaves out is summed up and the next one computed, whenever the model has nothing to do. Where a
window begins is kept in memory only: after a restart it is where it would be had everything been
computed in time. Above: `conversation`; `servers.ux` runs it. Below: `talk` and `context` (decide),
`summarising`, `recalling`, `notes`, the models server.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import anyio

from tale.errors import TaleError
from tale.memory.context import Head, Window, assemble
from tale.memory.notes import NoteStore
from tale.memory.recall import Recalled, written
from tale.memory.recalling import Recalling
from tale.memory.sizes import Sizes, sizes_of
from tale.memory.summarising import Outcome, Summarising
from tale.memory.summary import cover, rolling
from tale.memory.talk import (
    JOINT_TOKENS,
    MESSAGE_TOKENS,
    CountTokens,
    beginning,
    fitting,
    fitting_lines,
    room_after,
    tokens_from,
)
from tale.memory.token_counts import TokenCounts
from tale.memory.turns import Turn
from tale.models.backend import Message, Role
from tale.models.caller import ModelCaller
from tale.telemetry import get_logger

__all__ = ["FRESH_TOKENS", "Shown", "Windows"]

log = get_logger(__name__)

FRESH_TOKENS: Final = 64
"""What may be recalled for one request: it is computed before the first word, at 110 tokens a
second on two cores, beside a question of some 25."""
_ROLE: Final[Role] = "ux"
_MOST_PINNED: Final = 50
"""More than any window has room for."""
_SESSIONS: Final = 1024
"""Conversations whose beginning is remembered; of others it is worked out."""
_PAUSE_SECONDS: Final = (1.0, 60.0)
"""First and longest pause between two tries, where somebody else needed the model; it doubles."""
_AHEAD_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A window to be looked at.

    Attributes:
        budget: Tokens that it may have.
        summed_up: Whether its summary tells of all that was said before it.
    """

    window: Window
    budget: int
    summed_up: bool


@dataclass(slots=True)
class _Live:
    """A conversation's window as it is now; what was recalled last, and for which turn."""

    head: Head
    quotes: dict[int, str]
    summed_up: bool
    recalled: tuple[int, tuple[Recalled, ...]] = (0, ())


@dataclass(frozen=True, slots=True)
class _Measure:
    """How a window is measured: by whose tokens, under which budget."""

    budget: int
    sizes: Sizes
    count: CountTokens

    def begins(self, turns: Sequence[Turn], quotes: Mapping[int, str]) -> int:
        return beginning(
            turns,
            room=self.sizes.turns,
            turn=self.sizes.turn,
            count_tokens=self.count,
            quotes=quotes,
        )

    def fits(self, live: _Live, turns: Sequence[Turn]) -> bool:
        taken = tokens_from(
            live.head.begins,
            turns,
            turn=self.sizes.turn,
            count_tokens=self.count,
            quotes=live.quotes,
        )
        block = live.head.block
        return taken + (self.count(block) if block else 0) <= self.sizes.room


class Windows:
    """Gives each turn its window."""

    def __init__(
        self,
        models: ModelCaller,
        system: str,
        *,
        budget: int,
        fresh: int | None = FRESH_TOKENS,
        summarising: Summarising | None = None,
        recalling: Recalling | None = None,
        notes: NoteStore | None = None,
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Make them.

        Args:
            models: Who counts tokens and computes ahead.
            system: The system prompt of all of them.
            budget: Tokens that a whole prompt may have.
            fresh: Tokens that may be recalled for one request; None where a model computes them
                in no time.
            summarising: Sums up what windows leave behind; without it that is gone from them.
            recalling: Looks up what requests are about; without it nothing is.
            notes: Those that are pinned are facts that every window has.
            pause: Waits between two tries.
        """
        self._models = models
        self._system = system
        self._budget = budget
        self._fresh = fresh
        self._summarising = summarising
        self._recalling = recalling
        self._notes = notes
        self._pause = pause
        self._counts = TokenCounts(models)
        self._live: OrderedDict[str, _Live] = OrderedDict()
        self._grown: dict[str, Sequence[Turn]] = {}
        self._forgotten = 0  # how often something was
        self._stirred = anyio.Event()
        self._rested = anyio.Event()

    async def of(self, session: str, turns: Sequence[Turn]) -> tuple[Message, ...]:
        """Give the window in which the last turn of a conversation is answered."""
        forgotten = self._forgotten
        live = self._live.get(session)
        if live is None:
            live = await self._worked_out(session, turns, self._budget, _ROLE)
        measure = await self._measure(turns, live)
        begins = measure.begins(turns, live.quotes)
        if live.head.begins < begins and not measure.fits(live, turns):
            log.info("window.moved_in_need", session=session, begins=begins)
            live.head, live.summed_up = await self._head(session, begins, measure.sizes)
        await self._recall(live, turns, measure)
        if forgotten == self._forgotten:
            self._remember(session, live)
        return self._assembled(live, turns, measure).messages

    async def shown(
        self, session: str, turns: Sequence[Turn], *, role: Role = _ROLE, budget: int | None = None
    ) -> Shown:
        """Give the window as it would be sent now, and what it is made of; nothing changes.

        Args:
            session: The conversation.
            turns: Its turns.
            role: The model that it is for.
            budget: Tokens that a prompt for that model may have.
        """
        own = role == _ROLE and budget is None
        live = self._live.get(session) if own else None
        if live is None:
            live = await self._worked_out(session, turns, budget or self._budget, role)
        measure = await self._measure(turns, live, budget or self._budget, role)
        return Shown(self._assembled(live, turns, measure), measure.budget, live.summed_up)

    def recalled(self, session: str, seq: int) -> tuple[Recalled, ...]:
        """Give what was recalled for a turn that was answered just now."""
        live = self._live.get(session)
        return live.recalled[1] if live and live.recalled[0] == seq else ()

    def grown(self, session: str, turns: Sequence[Turn]) -> None:
        """Hear that a turn was answered: the window may have to move before the next one."""
        self._grown.pop(session, None)
        self._grown[session] = turns
        self._stirred.set()

    async def caught_up(self) -> None:
        """Wait until the window of every conversation that has grown is ready for its next turn."""
        while self._grown:
            self._rested = anyio.Event()
            await self._rested.wait()

    def forget(self) -> None:
        """Hear that something was forgotten, which any window may hold: all are worked out anew."""
        self._forgotten += 1
        self._live.clear()
        self._grown.clear()

    async def run(self) -> None:
        """Compute the windows that conversations will move to, until cancelled."""
        seconds, longest = _PAUSE_SECONDS
        while True:
            while not self._grown:
                self._rested.set()
                self._stirred = anyio.Event()
                await self._stirred.wait()
            session, turns = next(iter(self._grown.items()))
            try:
                done = await self._computed(session, turns)
            except TaleError as error:
                log.info("window.not_computed", session=session, reason=error.message)
                done = True
            if not done:
                await self._pause(seconds)
                seconds = min(2 * seconds, longest)
                continue
            seconds = _PAUSE_SECONDS[0]
            if self._grown.get(session) is turns:
                del self._grown[session]

    async def _computed(self, session: str, turns: Sequence[Turn]) -> bool:
        """Move a window if it has to; False where the model had no time for it."""
        live = self._live.get(session)
        if live is None:
            return True
        before = live.head
        measure = await self._measure(turns, live)
        begins = max(before.begins, measure.begins(turns, live.quotes))
        if begins == before.begins and live.summed_up:
            return True
        if await self._sum_up(session, begins, measure.sizes) == "busy":
            return False
        head, summed_up = await self._head(session, begins, measure.sizes)
        if head == before:
            return True
        messages = self._assembled(replace(live, head=head), turns, measure).messages
        if not await self._models.compute_ahead(messages, _ROLE, _AHEAD_SECONDS):
            return False
        if live.head is before:
            log.info("window.moved", session=session, begins=begins)
            live.head, live.summed_up = head, summed_up
        return True

    async def _sum_up(self, session: str, begins: int, sizes: Sizes) -> Outcome:
        if self._summarising is None:
            return "done"
        return await self._summarising.up_to(session, begins, chunk=sizes.chunk, prose=sizes.prose)

    async def _worked_out(
        self, session: str, turns: Sequence[Turn], budget: int, role: Role
    ) -> _Live:
        """Give a window as it would be had everything been computed in time."""
        live = _Live(Head(), {}, summed_up=True)
        if self._recalling and turns:
            try:
                live.quotes = await self._recalling.before(session, turns[0].seq - 1)
            except TaleError as error:
                log.info("memory.not_read", session=session, reason=error.message)
        measure = await self._measure(turns, live, budget, role)
        begins = measure.begins(turns, live.quotes)
        live.head, live.summed_up = await self._head(session, begins, measure.sizes)
        return live

    async def _head(self, session: str, begins: int, sizes: Sizes) -> tuple[Head, bool]:
        """Give what stands before the turns, and whether all that was said before is in it."""
        try:
            pinned = await self._notes.pinned(_MOST_PINNED) if self._notes else ()
            facts = fitting_lines([one.text for one in pinned], sizes.facts)
            if self._summarising is None or begins <= 1:
                return Head(begins, facts), True
            parts = cover(await self._summarising.of(session), before=begins)
        except TaleError as error:
            log.info("memory.not_read", session=session, reason=error.message)
            return Head(begins), False
        whole = bool(parts) and parts[-1].last >= begins - 1
        return Head(begins, facts, rolling(parts, sizes.summary)), whole

    async def _recall(self, live: _Live, turns: Sequence[Turn], measure: _Measure) -> None:
        request = turns[-1]
        if self._recalling is None or request.seq in live.quotes:
            return
        shown = [one for one in turns if one.seq >= live.head.begins]
        window = self._assembled(live, turns, measure)
        room = min(measure.sizes.recalled, self._budget - window.tokens - JOINT_TOKENS)
        there = "\n".join((live.head.block, *(live.quotes.get(one.seq, "") for one in shown)))
        if found := await self._recalling.of(request, shown, there, room):
            live.quotes[request.seq] = written(found)
            live.recalled = (request.seq, found)

    def _assembled(self, live: _Live, turns: Sequence[Turn], measure: _Measure) -> Window:
        return assemble(
            self._system,
            turns,
            budget=measure.budget,
            sizes=measure.sizes,
            head=live.head,
            quotes=live.quotes,
            count_tokens=measure.count,
        )

    async def _measure(
        self,
        turns: Sequence[Turn],
        live: _Live,
        budget: int | None = None,
        role: Role = _ROLE,
    ) -> _Measure:
        """Have counted what a window may be made of."""
        budget = budget or self._budget
        sizes = self._sizes(budget)
        texts = (
            self._system,
            live.head.block,
            *live.quotes.values(),
            *(fitting(turn.text, sizes.turn) for turn in turns),
        )
        room = budget // 2 - MESSAGE_TOKENS * len(texts)
        return _Measure(budget, sizes, await self._counts.of(role, texts, room=room))

    def _sizes(self, budget: int) -> Sizes:
        """Give what the parts may have, always the same for a budget: so it is estimated."""
        sizes = sizes_of(room_after(self._system, budget), self._fresh)
        if self._summarising is None and self._notes is None:
            return replace(sizes, facts=0, summary=0, turns=sizes.room)
        return sizes

    def _remember(self, session: str, live: _Live) -> None:
        self._live[session] = live
        self._live.move_to_end(session)
        while len(self._live) > _SESSIONS:
            self._live.popitem(last=False)
