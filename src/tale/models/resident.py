"""One model that is kept resident: its keeper, its slots, its pulse.

The keeper is the only one that loads, recovers or unloads; everybody else reports what they saw
(`broke`) and the pure `pool_policy.transition` says what follows. Above: `model_pool`, which owns
the task group in which keepers run. Below: a `Backend`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import anyio
import anyio.lowlevel

from tale.errors import (
    BackendFailed,
    BackendStalled,
    BackendUnavailable,
    ModelError,
    TaleError,
)
from tale.models.backend import Backend, ChatRequest, Message, Residency, Role
from tale.models.generation import Generation
from tale.models.pool_policy import (
    Broke,
    Came,
    Candidate,
    Condition,
    Event,
    Failed,
    Policy,
    RetryDue,
    UnloadAsked,
    transition,
)
from tale.models.pool_stats import ModelStats, ModelStatus, Sample
from tale.telemetry import get_logger

__all__ = ["NothingToPrepare", "Preparation", "ResidentModel"]

log = get_logger(__name__)

# A look at /proc or Ollama's /api/ps; one that takes longer tells nothing.
_LOOK_SECONDS = 5.0
_PULSE = (Message("user", "Hi"),)


class Preparation(Protocol):
    """What has to be done before the core models can load: files fetched, a memory plan made."""

    async def ensure(self) -> None:
        """Return once all is prepared; called by each model at each attempt, bounded by itself.

        Raises:
            TaleError: It failed; the models try again after a pause.
        """
        ...

    def doing(self, model: str) -> str:
        """Say in words what is being done for a model now; empty if nothing is."""
        ...


class NothingToPrepare:
    """A preparation for models that are somewhere already."""

    async def ensure(self) -> None:
        """Return."""
        await anyio.lowlevel.checkpoint()

    def doing(self, model: str) -> str:
        """Say nothing."""
        del model
        return ""


class ResidentModel:
    """A model, and the task (`keep`) that brings it up and keeps it up.

    Attributes:
        condition: Where it stands.
        residency: How it sat in memory when last looked at.
        stats: Its figures.
        in_flight: Requests that hold it; it isn't evicted meanwhile.
        used_at: Clock reading of its last use.
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
        warm_prompts: tuple[str, ...] = (),
        preparation: Preparation | None = None,
        loading_since: float | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Describe it; nothing happens before `keep` runs.

        Args:
            backend: Where it runs.
            kind: The backend's kind, for the status.
            role: Its core role; None for an optional model.
            slots: Requests that it generates side by side.
            policy: The numbers.
            clock: Monotonic seconds.
            warm_prompts: System prompts whose prefixes are computed after each load.
            preparation: What has to be done first.
            loading_since: Clock reading at which somebody already asked for its first load.
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
        self._kind = kind
        self._slots = slots
        self._free = anyio.Semaphore(slots, fast_acquire=True)
        self._policy = policy
        self._clock = clock
        self._warm_prompts = warm_prompts
        self._preparation = preparation or NothingToPrepare()
        self._loading_since = loading_since
        self._on_change = on_change
        self._stirred = anyio.Event()
        self._since = self._heard_at = clock()
        self._fresh = True
        self._pulse_due = False
        self._pulsing: anyio.CancelScope | None = None

    @property
    def key(self) -> str:
        """What it is called inside the pool: its role, or its name."""
        return self.role or self.backend.model

    @property
    def ready(self) -> bool:
        """Whether a request may go to it now."""
        return self.condition.state == "ready"

    # -- what others see and report ----------------------------------------------------------------

    def candidate(self, failed_epoch: int | None = None) -> Candidate:
        """Show it to `choose`, for a request that failed on it in `failed_epoch`."""
        now, policy = self.condition, self._policy
        measured = self.stats.load_seconds or policy.expected_load_seconds
        return Candidate(
            self.backend.model,
            self.role,
            now.state,
            usable=self.ready and now.epoch != failed_epoch,
            down_for=0.0 if self.ready else self._clock() - self._since,
            expected=max(measured, policy.shortest_load_seconds),
            refusal=now.refusal,
        )

    def failed(self, error: ModelError, epoch: int) -> None:
        """Hear that a request of `epoch` failed."""
        self.stats.last_error = error.message
        if isinstance(error, BackendUnavailable | BackendStalled):
            self.broke(error.message, epoch)
        elif isinstance(error, BackendFailed):
            # It answers, if badly: perhaps the request's fault. One token will tell.
            self._pulse_due = True
            self._stir()

    def broke(self, reason: str, epoch: int, *, replaced: bool = False) -> None:
        """Hear that it was seen dead, hanging, evicted or replaced in `epoch`."""
        before = self.condition
        lived = self._clock() - self._since
        self._apply(Broke(epoch, reason, lived, replaced))
        if self.condition is not before:
            self.stats.recoveries += 1
            log.warning("model.broke", model=self.key, reason=reason, lived=lived)

    def go(self) -> None:
        """Ask it to unload once no request is in flight."""
        self._apply(UnloadAsked())

    async def look(self) -> None:
        """Check that it is still the process that was loaded."""
        epoch = self.condition.epoch
        seen: Residency | None = None
        with anyio.move_on_after(_LOOK_SECONDS):
            try:
                seen = await self.backend.residency()
            except ModelError as error:
                seen = Residency(resident=False)
                self.stats.last_error = error.message
        if seen is None:
            self._pulse_due = True
            self._stir()
            return
        before, self.residency = self.residency, seen
        if not self.ready or epoch != self.condition.epoch:
            return
        if not seen.resident:
            self.broke("it is no longer resident", epoch)
        elif (seen.pid, seen.starts) != (before.pid, before.starts):
            self.broke("its process was replaced", epoch, replaced=True)

    def standing(self) -> str:
        """Say in words where it stands, for an error."""
        now, stats = self.condition, self.stats
        usual = f" (a load takes {stats.load_seconds:.1f} s)" if stats.load_seconds else ""
        if self.ready:
            busy = self._free.statistics().tasks_waiting
            return f"{self.key} ({self.backend.model}) is ready, {busy} requests wait for it"
        why = f", {detail.rstrip('.')}" if (detail := self._detail()) else ""
        down = self._clock() - self._since
        return f"{self.key} ({self.backend.model}) is {now.state} for {down:.1f} s{usual}{why}"

    def status(self) -> ModelStatus:
        """Sum it up."""
        now, seen, stats = self.condition, self.residency, self.stats
        waiting = self._free.statistics().tasks_waiting
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
        return self._preparation.doing(self.backend.model) or self.condition.reason

    # -- requests ----------------------------------------------------------------------------------

    async def acquire(self, until: float) -> bool:
        """Take a slot; False if it isn't ready any more or the time ran out meanwhile."""
        self.in_flight += 1
        if self._pulsing is not None:
            self._pulsing.cancel()
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
    ) -> Generation:
        """Begin a request in the slot that `acquire` gave; its end frees the slot."""
        epoch = self.condition.epoch
        first, self._fresh = self._fresh, False
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
            on_failure=lambda error: self.failed(error, epoch),
            on_end=ended,
        )

    def _leave(self) -> None:
        self.in_flight -= 1
        self.used_at = self._clock()
        if self.in_flight == 0:
            self._stir()
            self._on_change()

    # -- the keeper --------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Bring it up and keep it up, until it is asked to go (which core models never are)."""
        while self.condition.state != "unloading":
            match self.condition.state:
                case "loading" | "recovering":
                    await self._attempt()
                case "retrying":
                    with anyio.move_on_after(self.condition.pause):
                        await self._wait_stirred(lambda: self.condition.state != "retrying")
                    self._apply(RetryDue())
                case _:
                    await self._stay_ready()
        await self._wait_stirred(lambda: self.in_flight == 0)
        with anyio.move_on_after(self._policy.load_seconds):
            try:
                await self.backend.unload()
            except ModelError as error:
                log.warning("model.unload_failed", model=self.key, reason=error.message)
        log.info("model.unloaded", model=self.key)

    async def _attempt(self) -> None:
        """Load or recover once, and warm up; what comes of it is applied as an event."""
        try:
            await self._preparation.ensure()
            await self._bring_up_in_time()
        except TaleError as error:
            self._attempt_failed(error)
        except Exception as error:
            # The keeper ends here: a backend's own fault must not take the other model down.
            log.exception("model.backend_crashed", model=self.key)
            self._attempt_failed(BackendFailed(f"{self.backend.model}: {error!r}"))
        else:
            self._apply(Came())
            log.info("model.ready", model=self.key, load_seconds=self.stats.load_seconds)

    async def _bring_up_in_time(self) -> None:
        limit = self._policy.load_seconds
        with anyio.CancelScope(deadline=anyio.current_time() + limit):
            return await self._bring_up()
        raise BackendStalled(f"{self.backend.model} was not resident after {limit:.0f} s.")

    async def _bring_up(self) -> None:
        try:
            was_resident = (await self.backend.residency()).resident
        except ModelError:
            was_resident = False
        begun = self._clock() if self._loading_since is None else self._loading_since
        if self.condition.attempt == "load":
            await self.backend.load()
        else:
            await self.backend.recover(self.condition.reason)
        loaded = self._clock()
        self.residency = await self.backend.residency()
        if not self.residency.resident:
            raise BackendUnavailable(f"{self.backend.model} went away while it was loaded.")
        # What was resident already took no time, which says nothing about the next load.
        if not was_resident or self.condition.attempt == "recover":
            self.stats.load_seconds = loaded - begun
        self._loading_since = None
        self._fresh = True
        await self._warm()

    async def _warm(self) -> None:
        """Have the stable prefixes computed, unless somebody waits: that request does it itself."""
        for prompt in self._warm_prompts:
            if self.wanted:
                return
            try:
                sample = await self._one_token(prompt)
            except (BackendUnavailable, BackendStalled):
                raise
            except ModelError as error:
                # It answers, so it is up; a prompt that is too long for it is no reason to go on.
                log.warning("model.warm_up_failed", model=self.key, reason=error.message)
                continue
            if sample is not None:
                self._fresh = False
                self.stats.record(sample)

    async def _one_token(self, system: str | None) -> Sample | None:
        """Generate one token after a system prompt."""
        prefix = (Message("system", system),) if system else ()
        request = ChatRequest((*prefix, *_PULSE), max_tokens=1, temperature=0.0)
        generation = Generation(
            self.backend, request, policy=self._policy, clock=self._clock, first=self._fresh
        )
        try:
            async for _ in generation:
                pass
        finally:
            await generation.aclose()
        return generation.sample

    async def _stay_ready(self) -> None:
        """Watch over a ready model; returns when it has to be looked at again."""
        idle = self._clock() - max(self._heard_at, self.used_at)
        pause = math.inf if self.in_flight else max(0.0, self._policy.pulse_seconds - idle)
        if not self._pulse_due and pause > 0:
            # In flight, the watchdog looks; idle, the pulse does when it is due.
            with anyio.CancelScope(deadline=anyio.current_time() + pause):
                await self._stirred.wait()
            self._stirred = anyio.Event()
            return
        await self._pulse()

    async def _pulse(self) -> None:
        """Ask for one token. A real request that comes meanwhile cancels it, and proves more."""
        epoch = self.condition.epoch
        await self.look()
        self._pulse_due = False
        if not self.ready:
            return
        try:
            with anyio.CancelScope() as self._pulsing:
                await self._one_token(self._warm_prompts[0] if self._warm_prompts else None)
        except ModelError as error:
            self.stats.last_error = error.message
            self.broke(f"its pulse failed: {error.message}", epoch)
        except Exception as error:
            log.exception("model.backend_crashed", model=self.key)
            self.broke(f"its pulse failed: {error!r}", epoch)
        finally:
            self._pulsing = None
            self._heard_at = self._clock()

    def _attempt_failed(self, error: TaleError) -> None:
        self.stats.last_error = error.message
        self._apply(Failed(error, hung=isinstance(error, BackendStalled)))
        log.warning(
            "model.attempt_failed",
            model=self.key,
            reason=str(error),
            retry_in=self.condition.pause,
        )
        if self.role is None and self.condition.epoch == 0:
            # A core model is tried for ever; a further one is told to whoever asked for it.
            self.go()

    def _apply(self, event: Event) -> None:
        before = self.condition
        self.condition = transition(before, event, self._policy)
        if self.condition is before:
            return
        if "ready" in (before.state, self.condition.state):
            self._since = self.used_at = self._clock()
        if self._pulsing is not None:
            self._pulsing.cancel()
        self._stir()
        self._on_change()

    def _stir(self) -> None:
        self._stirred.set()

    async def _wait_stirred(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._stirred = anyio.Event()
            await self._stirred.wait()
