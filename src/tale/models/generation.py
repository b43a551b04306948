"""One request running on one backend: the watchdog, the deadline and the measurement.

Owns the backend's chunk iterator and closes it whatever happens. It holds no slot and knows no
other model: `resident` hands out slots, `model_pool` decides what a failure leads to.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from typing import Protocol, Self, runtime_checkable

import anyio

from tale.errors import BackendFailed, BackendStalled, DeadlineExceeded, ModelError
from tale.models.backend import Backend, ChatRequest, Chunk, Usage
from tale.models.budget_watch import BudgetWatch
from tale.models.pool_policy import Policy, estimated_tokens, first_token_limit
from tale.models.pool_stats import Sample
from tale.models.written_calls import CallReader, offered_tools

__all__ = ["Generation"]

# Closing a backend's stream only drops a connection; what takes longer hangs and is left behind.
_CLOSE_SECONDS = 2.0


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> None: ...


class Generation:
    """The chunks of one answer, as an asynchronous iterator that must be closed.

    Attributes:
        sample: The measurement, once the answer ended by itself.
    """

    def __init__(
        self,
        backend: Backend,
        request: ChatRequest,
        *,
        policy: Policy,
        clock: Callable[[], float],
        first: bool = False,
        until: float = math.inf,
        budget: BudgetWatch | None = None,
        among: set[Generation] | None = None,
        on_failure: Callable[[ModelError], None] = lambda _: None,
        on_end: Callable[[Sample | None], None] = lambda _: None,
    ) -> None:
        """Prepare; nothing is asked of the backend before `start`.

        Args:
            backend: Who generates.
            request: What.
            policy: The watchdog's numbers.
            clock: Monotonic seconds, for the measurement.
            first: Whether it is the first request since the model was loaded.
            until: Deadline on `anyio.current_time`.
            budget: Says when an answer that only repeats itself has used enough.
            among: Those that run on the same model, where it stands while it runs: they excuse each
                other's silence, and whoever knows a reason for it does.
            on_failure: Hears of the backend's failure before the caller does.
            on_end: Called exactly once when nothing more comes, with the measurement if the answer
                ended by itself.
        """
        self.sample: Sample | None = None
        self._backend = backend
        self._chunks: AsyncIterator[Chunk] | None = None
        self._name = backend.model
        self._request = request
        self._policy = policy
        self._clock = clock
        self._first = first
        self._until = until
        self._budget = budget
        self._among = among
        self._on_failure = on_failure
        self._on_end = on_end
        self._wait: anyio.CancelScope | None = None
        self._silence = first_token_limit(request, policy)
        self._begun = self._first_at = self._last_at = clock()
        self._count = 0
        self._usage: Usage | None = None
        self._calls = CallReader(offered_tools(request))
        self._pending: Chunk | None = None
        self._ended = False

    async def start(self) -> None:
        """Wait for the first chunk that says something; the iteration then begins with it.

        Raises:
            ModelError: The backend failed before it gave anything; the request may go elsewhere.
            DeadlineExceeded: The time ran out.
        """
        chunk = await self._next()
        while chunk is not None and not (chunk.text or chunk.tool_calls or chunk.finish):
            chunk = await self._next()
        if chunk is None:
            error = BackendFailed(f"{self._name} ended its answer before it began.")
            self._on_failure(error)
            raise error
        self._pending = chunk

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        if self._pending is not None:
            chunk, self._pending = self._pending, None
            return chunk
        chunk = await self._next()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Stop the generation if it still runs. May be called again."""
        if self._ended:
            return
        self._ended = True
        if self._among is not None:
            self._among.discard(self)
        try:
            if isinstance(self._chunks, _Closable):
                with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                    await self._chunks.aclose()
        finally:
            self._on_end(self.sample)

    def excuse(self, seconds: float) -> None:
        """Take seconds off its present silence: its process had to wait for a core in them."""
        if self._wait is not None:
            self._wait.deadline = min(self._wait.deadline + seconds, self._until)

    def begin_silence(self, at: float) -> None:
        """Count its silence from a time on: its server worked for another request until then."""
        if self._wait is not None:
            limit = min(at + self._silence, self._until)
            self._wait.deadline = max(self._wait.deadline, limit)

    @property
    def begins_by(self) -> float:
        """When it has begun its answer or is given up, at the latest; -inf once it has begun."""
        return -math.inf if self._count or self._wait is None else self._wait.deadline

    async def _next(self) -> Chunk | None:
        """Take the next chunk off the backend, or None at the end; closes on any failure."""
        if self._ended:
            return None
        if self._budget is not None and self._budget.wasted:
            return await self._cut_off(self._budget)
        try:
            chunk = await self._watched()
        except ModelError as error:
            self._on_failure(error)
            await self.aclose()
            raise
        except BaseException:
            await self.aclose()
            raise
        if chunk is None:
            self._measure()
            await self.aclose()
            return None
        if chunk.text or chunk.tool_calls:
            self._last_at = self._clock()
            if self._count == 0:
                self._first_at = self._last_at
                self._silence = self._policy.stall_seconds
            self._count += 1
            if self._budget is not None:
                self._budget.take(chunk.text)
        self._usage = chunk.usage or self._usage
        return chunk

    async def _cut_off(self, budget: BudgetWatch) -> Chunk:
        """End the answer; who stops a stream isn't told its tokens, so the prompt's are guessed."""
        self._usage = Usage(estimated_tokens(self._request), budget.tokens)
        self._measure()
        await self.aclose()
        return Chunk(finish="length", usage=self._usage)

    async def _watched(self) -> Chunk | None:
        # A server that takes one request at a time lets the next wait in its own line, in silence.
        since = anyio.current_time()
        if self._chunks is None:
            self._chunks = self._backend.chat(self._request)
            if self._among is not None:
                since = max((since, *(other.begins_by for other in self._among)))
                self._among.add(self)
        with anyio.CancelScope(deadline=min(since + self._silence, self._until)) as self._wait:
            chunk = await anext(self._chunks, None)
            self._excuse_others()
            return self._calls.take(chunk)
        if self._wait.deadline >= self._until:
            raise DeadlineExceeded(
                f"{self._name} had given {self._count} tokens after "
                f"{self._clock() - self._begun:.1f} s when the request's time ran out.",
                hint="Allow more time, or ask for fewer tokens.",
            )
        raise BackendStalled(
            f"{self._name} gave no token for {self._silence:.0f} s "
            f"(prompt of about {estimated_tokens(self._request)} tokens, {self._count} given).",
            hint="It is being restarted.",
        )

    def _excuse_others(self) -> None:
        now = anyio.current_time()
        for other in self._among or ():
            if other is not self:
                other.begin_silence(now)

    def _measure(self) -> None:
        if self._count:
            self.sample = Sample(
                ttft=self._first_at - self._begun,
                decode=self._last_at - self._first_at,
                chunks=self._count,
                first=self._first,
                usage=self._usage,
            )
