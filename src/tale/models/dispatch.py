"""Sends each request to a model that can answer it, and elsewhere when that one fails.

`choice` decides, `roster` knows the models, `generation` runs the request. Above: `model_pool`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import anyio

from tale.errors import (
    BackendFailed,
    BackendStalled,
    BackendUnavailable,
    ContextExceeded,
    ModelError,
    ServiceUnavailable,
    TaleError,
)
from tale.models.answer import Answer, Completion, collect
from tale.models.backend import ChatRequest
from tale.models.choice import Refuse, Use, Wait, choose
from tale.models.generation import Generation
from tale.models.pool_stats import Sample, Switching, SwitchingStats
from tale.models.resident import ResidentModel
from tale.models.roster import Roster
from tale.models.waiting import Changes, Deadline

__all__ = ["Dispatch"]

# The model asked for, the other one, and once more: a prompt that kills its model ends somewhere.
_ATTEMPTS: Final = 3
_ELSEWHERE = (BackendUnavailable, BackendStalled, BackendFailed)


class Dispatch:
    """The way of requests to models, and what changing between the core models costs them."""

    def __init__(self, roster: Roster, changes: Changes) -> None:
        """`changes` rings when a request that waits may want to look again."""
        self._roster = roster
        self._changes = changes
        self._switching = SwitchingStats()

    async def chat(self, target: str, request: ChatRequest, until: Deadline) -> Answer:
        """Have a request answered; gives the answer once its first chunk is there."""
        failed: dict[str, int] = {}
        last: ModelError | None = None
        for _ in range(_ATTEMPTS):
            wanted, model, use = await self._take(target, until, failed, last)
            epoch = model.condition.epoch
            generation = self._generate(model, request, until)
            try:
                await generation.start()
            except _ELSEWHERE as error:
                failed[model.key], last = epoch, error
                continue
            except ContextExceeded as error:
                if not use.fallback:
                    raise
                # The substitute's window is too small: only the model asked for can do it.
                failed[model.key], last = epoch, error
                continue
            if use.fallback:
                wanted.stats.fallbacks += 1
            return Answer(model.backend.model, model.role, use.fallback, use.reason, generation)
        raise last or self._roster.late(target, until)

    async def complete(self, target: str, request: ChatRequest, until: Deadline) -> Completion:
        """Have it answered as a whole; a model that dies half-way is met by a new try."""
        last: TaleError | None = None
        for _ in range(_ATTEMPTS):
            answer = await self.chat(target, request, until)
            try:
                return await collect(answer)
            except _ELSEWHERE as error:
                last = error
            finally:
                await answer.aclose()
        raise last or ServiceUnavailable(f"{target} gave no answer.")

    def switching(self) -> tuple[Switching, ...]:
        """Sum up what changing between the core models costs each of them."""
        core = self._roster.core
        return tuple(self._switching.of(role, model.stats) for role, model in core.items())

    async def _take(
        self, target: str, until: Deadline, failed: Mapping[str, int], last: ModelError | None
    ) -> tuple[ResidentModel, ResidentModel, Use]:
        """Pick a model and take a slot of it; gives the one asked for and the one picked."""
        while True:
            wanted = await self._roster.present(target, until)
            other = self._roster.other(wanted)
            decision = choose(
                wanted.candidate(failed.get(wanted.key)),
                other.candidate(failed.get(other.key)) if other else None,
                remaining=until.remaining,
            )
            match decision:
                case Use(fallback):
                    picked = other if fallback and other else wanted
                    if await picked.acquire(until.at):
                        return wanted, picked, decision
                    if until.remaining <= 0:
                        raise self._roster.late(target, until)
                case Wait(seconds):
                    wanted.wanted += 1
                    try:
                        await self._changes.wait(anyio.current_time() + seconds)
                    finally:
                        wanted.wanted -= 1
                case Refuse(error):
                    raise error or last or self._roster.late(target, until)

    def _generate(self, model: ResidentModel, request: ChatRequest, until: Deadline) -> Generation:
        role = model.role
        switched = None if role is None else self._switching.began(role)

        def measured(sample: Sample | None) -> None:
            if role is not None and sample is not None:
                self._switching.record(role, sample, switched=switched)

        return model.generate(request, until.of_generation, measured)
