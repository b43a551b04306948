"""The keeper of one model: the only one that loads, recovers, pulses and unloads it.

It acts on the model's condition and reports what came of it as events; what others see of the model
in the meantime is in `resident`. Above: `model_pool` and `further`, which own the task groups in
which keepers run. Below: a `Backend`, and what has to be prepared before it can load.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio

from tale.errors import (
    BackendFailed,
    BackendStalled,
    BackendUnavailable,
    LoadFailed,
    ModelError,
    ModelFileDamaged,
    TaleError,
)
from tale.models.backend import ChatRequest, Message
from tale.models.condition import Came, Failed, RetryDue
from tale.models.generation import Generation
from tale.models.pool_policy import Policy
from tale.models.pool_stats import Sample
from tale.models.resident import ResidentModel
from tale.telemetry import get_logger

__all__ = ["Keeper"]

log = get_logger(__name__)

_PULSE = (Message("user", "Hi"),)


class Keeper:
    """Brings a model up and keeps it up."""

    def __init__(
        self,
        model: ResidentModel,
        *,
        policy: Policy,
        clock: Callable[[], float],
        warm_prompts: tuple[str, ...] = (),
        loading_since: float | None = None,
    ) -> None:
        """Take charge of a model; nothing happens before `keep` runs.

        Args:
            model: Which.
            policy: The numbers.
            clock: Monotonic seconds.
            warm_prompts: System prompts whose prefixes are computed after each load.
            loading_since: Clock reading at which somebody already asked for its first load.
        """
        self._model = model
        self._policy = policy
        self._clock = clock
        self._warm_prompts = warm_prompts
        self._loading_since = loading_since

    async def keep(self) -> None:
        """Bring it up and keep it up, until it is asked to go (which core models never are)."""
        model = self._model
        while model.condition.state != "unloading":
            match model.condition.state:
                case "loading" | "recovering":
                    await self._attempt()
                case "retrying":
                    with anyio.move_on_after(model.condition.pause):
                        await self._wait_stirred(lambda: model.condition.state != "retrying")
                    model.apply(RetryDue())
                case _:
                    await self._stay_ready()
        await self._wait_stirred(lambda: model.in_flight == 0)
        with anyio.move_on_after(self._policy.load_seconds):
            try:
                await model.backend.unload()
            except ModelError as error:
                log.warning("model.unload_failed", model=model.key, reason=error.message)
        log.info("model.unloaded", model=model.key)

    async def _attempt(self) -> None:
        """Load or recover once, and warm up; what comes of it is applied as an event."""
        model = self._model
        try:
            await model.preparation.ensure()
            try:
                await self._bring_up_in_time()
            except (LoadFailed, ModelFileDamaged) as error:
                await model.preparation.mend(model.backend.model, error)
                raise
        except TaleError as error:
            self._attempt_failed(error)
        except Exception as error:
            # The keeper ends here: a backend's own fault must not take the other model down.
            log.exception("model.backend_crashed", model=model.key)
            self._attempt_failed(BackendFailed(f"{model.backend.model}: {error!r}"))
        else:
            model.apply(Came())
            log.info("model.ready", model=model.key, load_seconds=model.stats.load_seconds)

    async def _bring_up_in_time(self) -> None:
        limit = self._policy.load_seconds
        with anyio.CancelScope(deadline=anyio.current_time() + limit):
            return await self._bring_up()
        raise BackendStalled(f"{self._model.backend.model} was not resident after {limit:.0f} s.")

    async def _bring_up(self) -> None:
        model = self._model
        try:
            was_resident = (await model.backend.residency()).resident
        except ModelError:
            was_resident = False
        begun = self._clock() if self._loading_since is None else self._loading_since
        if model.condition.attempt == "load":
            await model.backend.load()
        else:
            await model.backend.recover(model.condition.reason)
        loaded = self._clock()
        model.residency = await model.backend.residency()
        if not model.residency.resident:
            raise BackendUnavailable(f"{model.backend.model} went away while it was loaded.")
        # What was resident already took no time, which says nothing about the next load; unless it
        # was asked for on our behalf, and was quicker than this process.
        asked_for = self._loading_since is not None
        if not was_resident or asked_for or model.condition.attempt == "recover":
            model.stats.load_seconds = loaded - begun
        self._loading_since = None
        model.fresh = True
        await self._warm()

    async def _warm(self) -> None:
        """Have the stable prefixes computed, unless somebody waits: that request does it itself."""
        model = self._model
        for prompt in self._warm_prompts:
            if model.wanted:
                return
            try:
                sample = await self._one_token(prompt)
            except (BackendUnavailable, BackendStalled):
                raise
            except ModelError as error:
                # It answers, so it is up; a prompt that is too long for it is no reason to go on.
                log.warning("model.warm_up_failed", model=model.key, reason=error.message)
                continue
            if sample is not None:
                model.fresh = False
                model.stats.record(sample)

    async def _one_token(self, system: str | None) -> Sample | None:
        """Generate one token after a system prompt."""
        model = self._model
        prefix = (Message("system", system),) if system else ()
        request = ChatRequest((*prefix, *_PULSE), max_tokens=1, temperature=0.0)
        generation = Generation(
            model.backend,
            request,
            policy=self._policy,
            clock=self._clock,
            first=model.fresh,
            among=model.running,
        )
        try:
            async for _ in generation:
                pass
        finally:
            await generation.aclose()
        return generation.sample

    async def _stay_ready(self) -> None:
        """Watch over a ready model; returns when it has to be looked at again."""
        model = self._model
        idle = self._clock() - max(model.heard_at, model.used_at)
        pause = math.inf if model.in_flight else max(0.0, self._policy.pulse_seconds - idle)
        if model.busy or (not model.pulse_due and pause > 0):
            # In flight, the watchdog looks; idle, the pulse does when it is due. With every slot
            # taken a pulse would wait in line, and its silence would look like a hang.
            await model.stirred.wait(anyio.current_time() + pause)
            return
        await self._pulse()

    async def _pulse(self) -> None:
        """Ask for one token. A real request that comes meanwhile cancels it, and proves more."""
        model = self._model
        epoch = model.condition.epoch
        await model.look()
        model.pulse_due = False
        if not model.ready or model.busy:
            return
        try:
            with anyio.CancelScope() as model.pulsing:
                await self._one_token(self._warm_prompts[0] if self._warm_prompts else None)
        except ModelError as error:
            model.stats.last_error = error.message
            model.broke(f"its pulse failed: {error.message}", epoch)
        except Exception as error:
            log.exception("model.backend_crashed", model=model.key)
            model.broke(f"its pulse failed: {error!r}", epoch)
        finally:
            model.pulsing = None
            model.heard_at = self._clock()

    def _attempt_failed(self, error: TaleError) -> None:
        model = self._model
        model.stats.last_error = error.message
        model.apply(Failed(error, hung=isinstance(error, BackendStalled)))
        log.warning(
            "model.attempt_failed",
            model=model.key,
            reason=str(error),
            retry_in=model.condition.pause,
        )
        if model.role is None and model.condition.epoch == 0:
            # A core model is tried for ever; a further one is told to whoever asked for it.
            model.go()

    async def _wait_stirred(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._model.stirred.wait()
