"""What is done about a request that fits no window: its oldest turns go, or its text is summed up.

Only for requests that are left to tale (`auto`, or with a session): who names a model gets what
that model says. Above: `chat_completions`. Below: `models.fitting`, `models.digest`, `ModelPool`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from tale.models.answer import Completion
from tale.models.assess import Kind, assess
from tale.models.backend import ChatRequest, Message
from tale.models.digest import digest
from tale.models.fitting import fit, too_long
from tale.models.model_pool import ModelPool
from tale.models.order import Order
from tale.models.pool_policy import estimated_tokens
from tale.servers.openai_shapes import ChatCall

__all__ = ["Shortened", "Shortening"]

_ANSWER_TOKENS: Final = 512
"""Kept free for the answer; the limit of an answer is smaller where the window asks for it."""
_REFUSED_WINDOWS: Final = 2.0
_DENSEST: Final = 3.0
"""What a model refused though it was estimated to fit is taken to be two windows long, since a
refusal doesn't say how long it is; but no text has more tokens than bytes, of which three were
taken for one."""
_PART_ANSWER: Final = 256
_PART_SHARE: Final = 2
"""A part takes one half of the window: its prefill is silent, and others wait for the slot."""
_PART_SYSTEM: Final = (
    "Summarise the part of a text that you are given in a few sentences. Keep names, numbers and "
    "decisions. Say nothing else."
)


@dataclass(frozen=True, slots=True)
class Shortened:
    """A request that fits. `how` says what was done, in words."""

    request: ChatRequest
    how: str


class Shortening:
    """Shortens requests, with the help of the small model where that takes a model."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    async def shorten(
        self,
        call: ChatCall,
        kind: Kind | None,
        deadline: float | None,
        spent: Callable[[Completion], None],
        *,
        refused: bool = False,
    ) -> Shortened:
        """Make a request fit the largest window of the core models.

        Args:
            call: The call that fits none.
            kind: What it asks for, where the caller said.
            deadline: Seconds that there are for each call of a model.
            spent: Told of each answer that it took.
            refused: A model has counted it, and said that it does not fit.

        Raises:
            ContextExceeded: It can't be made to fit, and is no text to be summarised.
            TaleError: No model summarises its parts.
        """
        core = [model for model in self._pool.facts() if model.role]
        window = max(model.context for model in core)
        messages = call.request.messages
        scale = _scale(estimated_tokens(call.request), window) if refused else 1.0
        tokens = [math.ceil(_tokens(message) * scale) for message in messages]
        tools = estimated_tokens(replace(call.request, messages=()))
        fitted = fit(messages, tokens, window - math.ceil(tools * scale), _ANSWER_TOKENS)
        if fitted is not None:
            request = replace(call.request, messages=fitted.messages)
            return Shortened(request, f"the oldest {fitted.left_out} messages were left out")
        text = call.last_user_text
        if (kind or assess(text).kind) != "summarise":
            windows = {model.role: model.context for model in core if model.role}
            raise too_long(estimated_tokens(call.request), _ANSWER_TOKENS, windows)
        order = Order("ux", cacheable=True)

        async def summarise(part: str) -> str:
            asked = (Message("system", _PART_SYSTEM), Message("user", part))
            request = ChatRequest(asked, max_tokens=_PART_ANSWER, temperature=0)
            answer = await self._pool.complete(order, request, deadline)
            spent(answer)
            return answer.text

        short = await digest(text, summarise, _count, window // _PART_SHARE - _PART_ANSWER)
        system = tuple(message for message in messages if message.role == "system")
        told = Message("user", f"Summarise this:\n\n{short}")
        return Shortened(
            replace(call.request, messages=(*system, told)), "the text was summarised in parts"
        )


def _scale(estimated: int, window: int) -> float:
    """Give what the estimates of a request are to be multiplied by that a model refused."""
    if not 0 < estimated < window:
        return 1.0
    return min(_DENSEST, _REFUSED_WINDOWS * window / estimated)


def _tokens(message: Message) -> int:
    return estimated_tokens(ChatRequest((message,)))


def _count(text: str) -> int:
    return estimated_tokens(ChatRequest((Message("user", text),)))
