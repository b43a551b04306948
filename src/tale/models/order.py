"""What was decided about a request, as the pool takes it: who answers, who else, and how long.

A value; whoever decides (`router`) makes it, `dispatch` and `whole` carry it out. Plain names are
orders too: `as_order("task")`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tale.models.answer import Completion

__all__ = ["Check", "Order", "as_order"]

Check = Callable[["Completion"], str]
"""Tells what is wrong with a whole answer, in words after the model's name; empty if nothing."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to happen to a request.

    Attributes:
        target: `ux`, `task` or a model's name: who is to answer.
        chain: Who else, in this order; roles or names, those nobody knows are passed over. None is
            the other core model; empty is nobody.
        budget: Tokens that the answer should do with, where the caller set no limit.
        raised: Tokens that it may take if it isn't done by then; None cuts it off at the budget.
        seconds: Time from the first token on, after which a whole answer is asked of the next of
            the chain; None leaves the model the time that the request has.
        check: Judges a whole answer; one that fails it is asked of the next in the chain. Streams
            are not checked: what was read can't be taken back.
        cacheable: The same request may be given the same answer without a model. Never set for a
            conversation.
    """

    target: str
    chain: tuple[str, ...] | None = None
    budget: int | None = None
    raised: int | None = None
    seconds: float | None = None
    check: Check | None = None
    cacheable: bool = False


def as_order(target: str | Order) -> Order:
    """Read a plain name as an order: that model, and the other core model should it fail."""
    return Order(target) if isinstance(target, str) else target
