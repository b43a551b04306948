"""Decides about each chat completion, by the models as they stand and by what was learned.

The router is pure and the pool does as it is told; between them stands this: it puts the facts
together, keeps what was learned, and turns the decision into an order. Above: `openai_api` and
`chat_completions`. Below: `models.router`, `ModelPool`; the `Ledger` tells it how requests ended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast, get_args

from tale.models.assess import Kind
from tale.models.backend import ChatRequest
from tale.models.checks import check_for
from tale.models.estimates import Estimates
from tale.models.model_pool import ModelPool
from tale.models.order import Order
from tale.models.pool_policy import estimated_tokens
from tale.models.preferences import Preferences
from tale.models.router import Decision, Refusal, RouteRequest, route
from tale.servers.openai_shapes import ChatCall

__all__ = ["Asked", "Routing", "kind_named"]

_KINDS = frozenset(get_args(Kind))


@dataclass(frozen=True, slots=True)
class Asked:
    """What the headers of a call say about it.

    Attributes:
        kind: What is asked for, where the caller knows.
        session: The conversation or task that it belongs to. Who names one leaves the length of
            the answer to tale, up to the `max_tokens` of the call.
        repeatable: The same request may be given the same answer.
        deadline: Seconds until the answer is of no use.
    """

    kind: Kind | None = None
    session: str | None = None
    repeatable: bool = False
    deadline: float | None = None


class Routing:
    """The router with the pool that it decides for.

    Attributes:
        estimates: What was learned; whoever hears how a request ended adds it.
    """

    def __init__(self, pool: ModelPool, preferences: Preferences | None = None) -> None:
        self.estimates = Estimates()
        self._pool = pool
        self._preferences = preferences or Preferences()

    def decide(self, request: RouteRequest) -> Decision:
        """Decide who answers.

        Raises:
            TaleError: Nobody can; the message says why, with the figures.
        """
        found = route(request, self._pool.facts(), self._preferences, self.estimates.of)
        if isinstance(found, Refusal):
            raise found.error
        return found

    def plan(self, call: ChatCall, asked: Asked) -> tuple[Decision, Order, ChatRequest]:
        """Decide about a call; gives the order for the pool, and the request as it is to be sent.

        Raises:
            TaleError: As `decide` does.
        """
        decision = self.decide(_request_of(call, asked))
        chosen = call.model == "auto"
        order = Order(decision.key, decision.chain, seconds=decision.time_limit)
        request = call.request
        if chosen or asked.session:
            # Both limits are within the caller's own, which has done its part by that.
            request = replace(request, max_tokens=None)
            limits = decision.budget
            order = replace(order, budget=limits.limit, raised=limits.raised)
        if chosen and decision.cascade:
            order = replace(order, check=check_for(decision.kind))
        return decision, replace(order, cacheable=asked.repeatable), request


def kind_named(name: str | None) -> Kind | None:
    """Read the name of a kind; None for any other word."""
    return cast("Kind", name) if name in _KINDS else None


def _request_of(call: ChatCall, asked: Asked) -> RouteRequest:
    options = call.request.options
    return RouteRequest(
        call.last_user_text,
        wants_tools=bool(options.get("tools")),
        wants_json="response_format" in options,
        model=call.model,
        kind=asked.kind,
        prompt_tokens=estimated_tokens(call.request),
        max_tokens=call.request.max_tokens,
        deadline=asked.deadline,
        checkable=not call.stream,
    )
