"""One model that is kept resident, as others see it: where it stands, and its slots.

Everybody reports here what they saw (`failed`, `broke`, `look`), and the pure
`condition.transition` says what follows from it. Nothing here loads, recovers or unloads: `keeper`
does, woken by `stirred`. Above: `dispatch` (requests), `keeper`, `model_pool`. Below: a `Backend`.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from tale.errors import BackendFailed, BackendStalled, BackendUnavailable, ModelError
from tale.models.backend import Backend, ChatRequest, Residency, Role
from tale.models.budget_watch import BudgetWatch
from tale.models.choice import Candidate, Miss
from tale.models.condition import Broke, Condition, Event, UnloadAsked, transition
from tale.models.generation import Generation
from tale.models.pool_policy import Policy
from tale.models.pool_stats import ModelStats, ModelStatus, Sample
from tale.models.preparation import NothingToPrepare, Preparation
from tale.models.waiting import Changes
from tale.telemetry import get_logger

__all__ = ["ResidentModel"]

log = get_logger(__name__)

# A look at /proc or Ollama's /api/ps; one that takes longer tells nothing.
_LOOK_SECONDS = 5.0


class ResidentModel:
    """A model of the pool.

    Attributes:
        backend: Where it runs.
        role: Its core role; None for an optional model.
        condition: Where it stands.
        residency: How it sat in memory when last looked at.
        stats: Its figures.
        in_flight: Requests that hold it; it isn't evicted meanwhile.
        wanted: Requests that wait for it to become ready.
        used_at: Clock reading of its last use.
        heard_at: Clock reading of its last sign of life in what nobody asked for.
        preparation: What has to be done before it can load.
        stirred: Rings when its keeper has to look again.
        fresh: Nothing was computed since it was loaded.
        pulse_due: Somebody doubts that it still answers.
        pulsing: The pulse that is being taken; whatever proves more cancels it.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        kind: str,
        role: Role | None,
        slots: int,
        policy: Policy,
        clock: Callable[[], float],
        preparation: Preparation | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Describe it; nothing happens before a keeper runs.

        Args:
            backend: Where it runs.
            kind: The backend's kind, for the status.
            role: Its core role; None for an optional model.
            slots: Requests that it generates side by side.
            policy: The numbers.
            clock: Monotonic seconds.
            preparation: What has to be done first.
            on_change: Called whenever a waiter may want to look again.
        """
        self.backend = backend
        self.role: Role | None = role
        self.condition = Condition()
        self.residency = Residency(resident=False)
        self.stats = ModelStats()
        self.in_flight = 0
        self.wanted = 0
        self.used_at = clock()
        self.heard_at = clock()
        self.preparation = preparation or NothingToPrepare()
        self.stirred = Changes()
        self.fresh = True
        self.pulse_due = False
        self.pulsing: anyio.CancelScope | None = None
        self.running: set[Generation] = set()
        self._kind = kind
        self._slots = slots
        self._free = anyio.Semaphore(slots, fast_acquire=True)
        self._policy = policy
        self._clock = clock
        self._on_change = on_change
        self._since = clock()

    @property
    def key(self) -> str:
        """What it is called inside the pool: its role, or its name."""
        return self.role or self.backend.model

    @property
    def epoch(self) -> int:
        """How often it became ready: which life of the model this is."""
        return self.condition.epoch

    @property
    def ready(self) -> bool:
        """Whether a request may go to it now."""
        return self.condition.state == "ready"

    @property
    def slots(self) -> int:
        """Requests that it generates side by side."""
        return self._slots

    @property
    def busy(self) -> bool:
        """Whether requests hold all of its slots."""
        return self.in_flight >= self._slots

    @property
    def waiting(self) -> int:
        """Requests that wait for one of its slots."""
        return self._free.statistics().tasks_waiting

    # -- what is reported --------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take in what happened to it, and wake whom that concerns."""
        before = self.condition
        self.condition = transition(before, event, self._policy)
        if self.condition is before:
            return
        if "ready" in (before.state, self.condition.state):
            self._since = self.used_at = self._clock()
        if self.pulsing is not None:
            self.pulsing.cancel()
        self.stirred.notify()
        self._on_change()

    def failed(self, error: ModelError, epoch: int) -> None:
        """Hear that a request of `epoch` failed."""
        self.stats.last_error = error.message
        if isinstance(error, BackendUnavailable | BackendStalled):
            self.broke(error.message, epoch)
        elif isinstance(error, BackendFailed):
            # It answers, if badly: perhaps the request's fault. One token will tell.
            self.pulse_due = True
            self.stirred.notify()

    def broke(self, reason: str, epoch: int, *, replaced: bool = False) -> None:
        """Hear that it was seen dead, hanging, evicted or replaced in `epoch`."""
        before = self.condition
        lived = self._clock() - self._since
        self.apply(Broke(epoch, reason, lived, replaced))
        if self.condition is not before:
            self.stats.recoveries += 1
            log.warning("model.broke", model=self.key, reason=reason, lived=lived)

    def go(self) -> None:
        """Ask it to unload once no request is in flight."""
        self.apply(UnloadAsked())

    async def look(self) -> None:
        """Check that it is still the process that was loaded."""
        epoch = self.condition.epoch
        seen: Residency | None = None
        with anyio.move_on_after(_LOOK_SECONDS):
            try:
                seen = await self.backend.residency()
            except ModelError as error:
                self.stats.last_error = error.message
        if seen is None:
            # Who can't be looked at need not be gone: a busy Ollama answers late. One token tells.
            self.pulse_due = True
            self.stirred.notify()
            return
        before, self.residency = self.residency, seen
        if not self.ready or epoch != self.condition.epoch:
            return
        if not seen.resident:
            self.broke("it is no longer resident", epoch)
        elif (seen.pid, seen.starts) != (before.pid, before.starts):
            self.broke("its process was replaced", epoch, replaced=True)
        elif (waited := seen.waited - before.waited) > 0:
            # A model that gets no core is slow, not hanging: restarting it would cost more of them.
            for generation in self.running:
                generation.excuse(waited)

    # -- what is seen ------------------------------------------------------------------------------

    def candidate(self, miss: Miss | None = None) -> Candidate:
        """Show it to `choose`, for a request that it failed as `miss` says."""
        now, policy = self.condition, self._policy
        measured = self.stats.load_seconds or policy.expected_load_seconds
        missed = miss is not None and miss.epoch in (None, now.epoch)
        return Candidate(
            self.backend.model,
            self.role,
            now.state,
            usable=self.ready and not missed,
            down_for=0.0 if self.ready else self._clock() - self._since,
            expected=max(measured, policy.shortest_load_seconds),
            full=self.waiting >= policy.longest_line,
            miss=miss.what if miss and missed else "",
            refusal=now.refusal,
        )

    def standing(self) -> str:
        """Say in words where it stands, for an error."""
        now, stats = self.condition, self.stats
        usual = f" (a load takes {stats.load_seconds:.1f} s)" if stats.load_seconds else ""
        if self.ready:
            name = f"{self.key} ({self.backend.model})"
            return f"{name} is ready, {self.waiting} requests wait for it"
        why = f", {detail.rstrip('.')}" if (detail := self._detail()) else ""
        down = self._clock() - self._since
        return f"{self.key} ({self.backend.model}) is {now.state} for {down:.1f} s{usual}{why}"

    def status(self) -> ModelStatus:
        """Sum it up."""
        now, seen, stats = self.condition, self.residency, self.stats
        waiting = self.waiting
        return ModelStatus(
            role=self.role,
            name=self.backend.model,
            backend=self._kind,
            state=now.state,
            detail=self._detail(),
            resident=seen.resident,
            memory_bytes=seen.memory_bytes,
            pid=seen.pid,
            starts=seen.starts,
            context=self.backend.context,
            slots=self._slots,
            load_seconds=stats.load_seconds,
            ttft_cold_ms=stats.ttft_cold_ms,
            ttft_warm_ms=stats.ttft_warm_ms,
            tokens_per_second=stats.tokens_per_second,
            requests=stats.requests,
            fallbacks=stats.fallbacks,
            recoveries=stats.recoveries,
            last_error=stats.last_error,
            in_flight=self.in_flight - waiting,
            waiting=waiting,
        )

    def _detail(self) -> str:
        """Say why it isn't ready: what goes on now, else what happened before."""
        if self.ready:
            return ""
        return self.preparation.doing(self.backend.model) or self.condition.reason

    # -- requests ----------------------------------------------------------------------------------

    async def acquire(self, until: float) -> bool:
        """Take a slot; False if it isn't ready any more or the time ran out meanwhile."""
        self.in_flight += 1
        if self.pulsing is not None:
            self.pulsing.cancel()
        try:
            with anyio.CancelScope(deadline=until) as scope:
                await self._free.acquire()
        except BaseException:
            self._leave()
            raise
        if scope.cancelled_caught:
            self._leave()
            return False
        if not self.ready:
            self._free.release()
            self._leave()
            return False
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
        epoch = self.condition.epoch
        first, self.fresh = self.fresh, False
        self.stats.requests += 1

        def ended(sample: Sample | None) -> None:
            if sample is not None:
                self.stats.record(sample)
            self._free.release()
            self._leave()
            on_end(sample)

        return Generation(
            self.backend,
            request,
            policy=self._policy,
            clock=self._clock,
            first=first,
            until=until,
            budget=budget,
            among=self.running,
            on_failure=lambda error: self.failed(error, epoch),
            on_end=ended,
        )

    def _leave(self) -> None:
        self.in_flight -= 1
        self.used_at = self._clock()
        if self.pulse_due or self.in_flight == 0:
            self.stirred.notify()
        if self.in_flight == 0:
            self._on_change()
