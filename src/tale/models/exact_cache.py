"""Answers to calls that were made before in exactly these words: plans, summaries, labels.

Only for calls that say they may be answered from here (`Order.cacheable`), never in a conversation.
Nothing is matched by meaning: a question and its opposite mean nearly the same. In memory, bounded,
the least recently used goes first. Above: `whole`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Final

import anyio
import orjson

from tale.models.answer import Completion
from tale.models.backend import ChatRequest, Usage

__all__ = ["ExactCache", "OneAtATime", "key_of"]

# What an entry takes beside its text: two objects, a key, and their places in a dict.
_OVERHEAD: Final = 600


def key_of(model: str, request: ChatRequest, *marks: object) -> bytes:
    """Name a call by all that its answer depends on.

    Args:
        model: The real name of the model asked.
        request: What it is asked.
        marks: What else makes it another call.
    """
    call = (
        model,
        [(turn.role, turn.content, turn.extra) for turn in request.messages],
        request.max_tokens,
        request.temperature,
        request.stop,
        request.options,
        marks,
    )
    return sha256(orjson.dumps(call, default=dict, option=orjson.OPT_SORT_KEYS)).digest()


class ExactCache:
    """Whole answers by `key_of` their calls.

    Args:
        entries: Most answers that are kept.
        size: Most bytes that they take together.
    """

    def __init__(self, entries: int = 512, size: int = 8 << 20) -> None:
        self._most = entries
        self._room = size
        self._kept: OrderedDict[bytes, Completion] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes) -> Completion | None:
        """Give the answer to a call that was made before; it cost no token of anybody."""
        answer = self._kept.get(key)
        if answer is None:
            return None
        self._kept.move_to_end(key)
        prompt = answer.usage.prompt if answer.usage else 0
        return replace(
            answer,
            reason="the same was asked before",
            usage=Usage(prompt=prompt, cached=prompt),
            tries=(),
        )

    def put(self, key: bytes, answer: Completion) -> None:
        """Keep an answer if it ended by itself and nothing is wrong with it."""
        taken = _size(answer)
        if answer.finish != "stop" or answer.fault or answer.tool_calls or taken > self._room:
            return
        if (old := self._kept.pop(key, None)) is not None:
            self.size -= _size(old)
        self._kept[key] = answer
        self.size += taken
        while len(self._kept) > self._most or self.size > self._room:
            _, oldest = self._kept.popitem(last=False)
            self.size -= _size(oldest)


class OneAtATime:
    """Has the same call made by one at a time, so that the others find its answer kept."""

    def __init__(self) -> None:
        self._locks: dict[bytes, anyio.Lock] = {}
        self._users: Counter[bytes] = Counter()

    @asynccontextmanager
    async def of(self, key: bytes, until: float) -> AsyncGenerator[None]:
        """Wait for one's turn, until the time (on `anyio.current_time`) has come, and take it."""
        lock = self._locks.setdefault(key, anyio.Lock())
        self._users[key] += 1
        held = False
        try:
            with anyio.CancelScope(deadline=until):
                await lock.acquire()
                held = True
            yield
        finally:
            if held:
                lock.release()
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]


def _size(answer: Completion) -> int:
    return len(answer.text.encode(errors="replace")) + _OVERHEAD
