"""A limit of tale's own on an answer, raised once where the answer deserves it. Pure.

The model is given the raised limit from the start, and its answer is looked at when it has used its
budget up: one that repeats itself ends there, any other goes on. So nothing is begun anew, no
prompt is sent twice, and a reader sees one stream, on every backend. llama.cpp can also be asked to
continue a message (one token of the prompt is computed again); but the slot is given up in between,
what was said comes once more, and no other backend does it reliably. Above: `dispatch`,
`generation`. Below: `order`.
"""

from __future__ import annotations

from dataclasses import replace

from tale.models.backend import ChatRequest
from tale.models.order import Order
from tale.models.runaway import before_rambling, runs_away

__all__ = ["BudgetWatch", "limited", "watch_for"]


class BudgetWatch:
    """Looks at an answer once, when its budget is used up.

    A chunk counts as a token, as nearly all backends send them.

    Attributes:
        tokens: The budget.
        wasted: The budget is used up, and the answer only repeats itself.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.wasted = False
        self._said: list[str] = []
        self._looked = False

    def take(self, text: str) -> None:
        """Hear the next token of the answer."""
        if self._looked:
            return
        self._said.append(text)
        if len(self._said) >= self.tokens:
            whole = "".join(self._said)
            self.wasted = runs_away(whole) or before_rambling(whole) is not None
            self._looked = True
            self._said.clear()


def limited(order: Order, request: ChatRequest) -> ChatRequest:
    """Set the limit that a backend is given; a caller's own stands."""
    if request.max_tokens is not None or order.budget is None:
        return request
    return replace(request, max_tokens=max(order.budget, order.raised or 0))


def watch_for(order: Order, request: ChatRequest) -> BudgetWatch | None:
    """Give what looks at the answer; None where there is nothing to raise."""
    if request.max_tokens is not None or order.budget is None:
        return None
    return BudgetWatch(order.budget) if order.raised and order.raised > order.budget else None
