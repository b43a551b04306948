"""A model on somebody else's server, for requests that may leave the machine.

It is never loaded, probed or waited for: what it holds and how long its line is are its server's
business. It answers only who names it, and where a chain of fallbacks does. Above: `dispatch`,
through `roster`. Below: a `Backend` that speaks to that server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio.lowlevel

from tale.errors import ModelError
from tale.models.backend import Backend, ChatRequest, Role
from tale.models.budget_watch import BudgetWatch
from tale.models.choice import Candidate, Miss
from tale.models.generation import Generation
from tale.models.pool_policy import Policy
from tale.models.pool_stats import ModelStats, ModelStatus, Sample

__all__ = ["RemoteModel"]


class RemoteModel:
    """One remote model, as a request sees it.

    Attributes:
        backend: Where it runs.
        key: What it is called inside the pool.
        stats: Its figures.
        wanted: Requests that wait for it: none do.
    """

    role: Final[Role | None] = None
    epoch: Final = 0

    def __init__(
        self, key: str, backend: Backend, *, policy: Policy, clock: Callable[[], float]
    ) -> None:
        """Describe it; nothing is asked of its server before a request is.

        Args:
            key: What it is called inside the pool.
            backend: Where it runs.
            policy: The watchdog's numbers.
            clock: Monotonic seconds.
        """
        self.backend = backend
        self.key = key
        self.stats = ModelStats()
        self.wanted = 0
        self._policy = policy
        self._clock = clock
        self._in_flight = 0

    def candidate(self, miss: Miss | None = None) -> Candidate:
        """Show it to `choose`: usable unless it failed this very request."""
        what = miss.what if miss else ""
        return Candidate(self.backend.model, None, "ready", usable=miss is None, miss=what)

    def standing(self) -> str:
        """Say in words where it stands, for an error."""
        return f"{self.key} ({self.backend.model}) is remote"

    def status(self) -> ModelStatus:
        """Sum it up."""
        stats = self.stats
        return ModelStatus(
            role=None,
            name=self.key,
            backend="remote",
            state="ready",
            detail="",
            resident=False,
            memory_bytes=None,
            pid=None,
            starts=0,
            context=self.backend.context,
            slots=0,
            load_seconds=None,
            ttft_cold_ms=stats.ttft_cold_ms,
            ttft_warm_ms=stats.ttft_warm_ms,
            tokens_per_second=stats.tokens_per_second,
            requests=stats.requests,
            fallbacks=stats.fallbacks,
            recoveries=0,
            last_error=stats.last_error,
            in_flight=self._in_flight,
            waiting=0,
        )

    async def acquire(self, until: float) -> bool:
        """Take a slot; there always is one."""
        del until
        await anyio.lowlevel.checkpoint()
        self._in_flight += 1
        return True

    def generate(
        self,
        request: ChatRequest,
        until: float,
        on_end: Callable[[Sample | None], None] = lambda _: None,
        *,
        budget: BudgetWatch | None = None,
    ) -> Generation:
        """Begin a request in the slot that `acquire` gave; its end frees the slot."""
        self.stats.requests += 1

        def ended(sample: Sample | None) -> None:
            if sample is not None:
                self.stats.record(sample)
            self._in_flight -= 1
            on_end(sample)

        def failed(error: ModelError) -> None:
            self.stats.last_error = error.message

        return Generation(
            self.backend,
            request,
            policy=self._policy,
            clock=self._clock,
            until=until,
            budget=budget,
            on_failure=failed,
            on_end=ended,
        )
