"""Whole answers: read to their end, checked, and asked of the next model if they are no good.

The cascade is this: a small model tries, its answer is checked, a larger one takes over. Above:
`model_pool`. Below: `dispatch` for each try, `checks` for what is wrong with an answer,
`exact_cache` for calls that were made before.
"""

from __future__ import annotations

from dataclasses import replace

import anyio
from anyio import to_thread

from tale.errors import BackendStalled, TaleError
from tale.models.answer import Completion, collect
from tale.models.backend import ChatRequest
from tale.models.checks import broken_format
from tale.models.dispatch import ELSEWHERE, Begun, Dispatch
from tale.models.exact_cache import ExactCache, OneAtATime, key_of
from tale.models.order import Order
from tale.models.trail import Trail
from tale.models.waiting import Deadline

__all__ = ["WholeAnswers"]


class WholeAnswers:
    """Has requests answered as a whole."""

    def __init__(self, dispatch: Dispatch, cache: ExactCache | None = None) -> None:
        """Without a `cache`, a new one is kept."""
        self._dispatch = dispatch
        self._cache = cache or ExactCache()
        self._turns = OneAtATime()

    async def complete(self, order: Order, request: ChatRequest, until: Deadline) -> Completion:
        """Have a request answered, or give what was answered to the very same before."""
        if not order.cacheable:
            return await self._checked(order, request, until, Trail())
        model = self._dispatch.real_name(order.target)
        key = key_of(model, request, order.budget, order.raised)
        async with self._turns.of(key, until.at):
            known = self._cache.get(key)
            if known is not None and not await _fault(order, request, known):
                return known
            trail = Trail()
            answer = await self._checked(order, request, until, trail)
            # A substitute's answer is not that of the model asked, unless that one's was no good.
            if not answer.fell_back or trail.was_rejected(model):
                self._cache.put(key, answer)
            return answer

    async def _checked(
        self, order: Order, request: ChatRequest, until: Deadline, trail: Trail
    ) -> Completion:
        """Have a request answered; each model's answer is judged once.

        If no answer is good, the last one is given all the same, with its fault: a caller can do
        more with it than with an error, and the last in the chain is the best there is.
        """
        given: Completion | None = None
        own = 0
        while True:
            try:
                begun, answer = await self._whole(order, request, until, trail)
            except TaleError:
                if given is None:
                    raise
                tries = (*trail.tries[:own], *trail.tries[own + 1 :])
                return replace(given, tries=tries)
            fault = await _fault(order, request, answer)
            if not fault:
                return answer
            own = len(trail.tries)
            trail.rejected(begun.key, answer.model, fault, answer.usage)
            told = (answer.reason, f"{answer.model} {fault}, and nobody else could do better")
            given = replace(answer, fault=fault, reason="; ".join(filter(None, told)))

    async def _whole(
        self, order: Order, request: ChatRequest, until: Deadline, trail: Trail
    ) -> tuple[Begun, Completion]:
        """Read one answer to its end; one that breaks off is met by a new try."""
        while True:
            begun = await self._dispatch.begin(order, request, until, trail)
            # Whoever stands in has until the deadline: there may be nobody after it.
            limit = None if begun.answer.fell_back or not order.chain else order.seconds
            try:
                with anyio.move_on_after(limit):
                    return begun, await collect(begun.answer)
                error = BackendStalled(f"{begun.answer.model} took more than {limit:.0f} s.")
                trail.failed(begun.key, begun.answer.model, begun.epoch, error)
            except ELSEWHERE as error:
                trail.broke_off(begun.key, begun.answer.model, begun.epoch, error)
            finally:
                await begun.answer.aclose()


async def _fault(order: Order, request: ChatRequest, answer: Completion) -> str:
    """Judge an answer; a schema in a thread, since its patterns may take any time to match."""
    if "response_format" in request.options:
        fault = await to_thread.run_sync(broken_format, request, answer, abandon_on_cancel=True)
    else:
        fault = broken_format(request, answer)
    return fault or (order.check(answer) if order.check else "")
