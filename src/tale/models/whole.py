"""Whole answers: read to their end, checked, and asked of the next model if they are no good.

The cascade is this: a small model tries, its answer is checked, a larger one takes over. Above:
`model_pool`. Below: `dispatch` for each try, `checks` for what is wrong with an answer.
"""

from __future__ import annotations

from dataclasses import replace

from tale.errors import TaleError
from tale.models.answer import Completion, collect
from tale.models.backend import ChatRequest
from tale.models.checks import broken_format
from tale.models.dispatch import ELSEWHERE, Begun, Dispatch
from tale.models.order import Order
from tale.models.trail import Trail
from tale.models.waiting import Deadline

__all__ = ["WholeAnswers"]


class WholeAnswers:
    """Has requests answered as a whole."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    async def complete(self, order: Order, request: ChatRequest, until: Deadline) -> Completion:
        """Have a request answered; each model's answer is judged once.

        If no answer is good, the last one is given all the same, with its fault: a caller can do
        more with it than with an error, and the last in the chain is the best there is.
        """
        trail = Trail()
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
            fault = broken_format(request, answer)
            if not fault and order.check is not None:
                fault = order.check(answer)
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
            try:
                return begun, await collect(begun.answer)
            except ELSEWHERE as error:
                trail.broke_off(begun.key, begun.answer.model, begun.epoch, error)
            finally:
                await begun.answer.aclose()
