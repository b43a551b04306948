"""How many tokens a text has for a model: counted by its own tokenizer, and remembered.

A window needs hundreds of counts, most of them of texts that were counted before. Nobody waits for
them where an estimate, which errs on the large side, already says that everything fits. Above:
`conversation`. Below: the models server, through a `ModelCaller`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from typing import Final

from tale.errors import TaleError
from tale.memory.talk import CountTokens, estimate_tokens
from tale.models.backend import Role
from tale.models.caller import ModelCaller
from tale.telemetry import get_logger

__all__ = ["TokenCounts"]

log = get_logger(__name__)

_KEPT: Final = 8192
"""Counts that are remembered: a few conversations' worth, in under a megabyte."""
_SECONDS: Final = 0.5
"""A count takes a millisecond; an answer doesn't wait longer than this for one."""


class TokenCounts:
    """Counts by role and text; estimates what was not counted."""

    def __init__(self, models: ModelCaller) -> None:
        self._models = models
        self._counts: OrderedDict[tuple[Role, int, int], int] = OrderedDict()

    async def of(self, role: Role, texts: Iterable[str], *, room: int) -> CountTokens:
        """Give a function that counts these texts.

        Args:
            role: Whose tokenizer counts.
            texts: What it will be asked for.
            room: Tokens there are for all of them; where the estimates fit, they are enough.
        """
        texts = tuple(texts)
        if sum(map(estimate_tokens, texts)) <= room:
            return estimate_tokens
        missing = [text for text in dict.fromkeys(texts) if _key(role, text) not in self._counts]
        if missing:
            await self._count(role, missing)
        return partial(self._known, role)

    async def _count(self, role: Role, texts: list[str]) -> None:
        try:
            counts = await self._models.count_tokens(texts, role, _SECONDS)
        except TaleError as error:
            log.info("tokens.estimated", role=role, texts=len(texts), reason=error.message)
            return
        self._counts.update((_key(role, text), n) for text, n in zip(texts, counts, strict=False))
        while len(self._counts) > _KEPT:
            self._counts.popitem(last=False)

    def _known(self, role: Role, text: str) -> int:
        return self._counts.get(_key(role, text), estimate_tokens(text))


def _key(role: Role, text: str) -> tuple[Role, int, int]:
    # A hash takes no memory for long texts; with the length, two that collide are no worry.
    return role, len(text), hash(text)
