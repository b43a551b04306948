"""Sends each request to a model that can answer it, and elsewhere when that one fails.

`choice` decides, `roster` knows the models, `generation` runs the request. Above: `model_pool`, and
`whole` for answers that are not streamed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio

from tale.errors import (
    BackendFailed,
    BackendStalled,
    BackendUnavailable,
    ContextExceeded,
    TaleError,
    UnknownModel,
)
from tale.models.answer import Answer
from tale.models.backend import ChatRequest
from tale.models.budget_watch import limited, watch_for
from tale.models.choice import Candidate, Refuse, Use, Wait, choose
from tale.models.generation import Generation
from tale.models.order import Order
from tale.models.pool_stats import Sample, Switching, SwitchingStats
from tale.models.roster import Member, Roster
from tale.models.trail import Trail
from tale.models.waiting import Changes, Deadline

__all__ = ["ELSEWHERE", "Begun", "Dispatch"]

ELSEWHERE = (BackendUnavailable, BackendStalled, BackendFailed)
"""What a request is asked of another model for."""


@dataclass(frozen=True, slots=True)
class Begun:
    """An answer, and the model that gives it: its key in the pool, and which life of it."""

    answer: Answer
    key: str
    epoch: int


@dataclass(frozen=True, slots=True)
class _Pick:
    """Who answers, holding a slot; and the model asked for, None if it can't be loaded."""

    wanted: Member | None
    member: Member
    use: Use


class Dispatch:
    """The way of requests to models, and what changing between the core models costs them."""

    def __init__(self, roster: Roster, changes: Changes) -> None:
        """`changes` rings when a request that waits may want to look again."""
        self._roster = roster
        self._changes = changes
        self._switching = SwitchingStats()

    async def begin(
        self, order: Order, request: ChatRequest, until: Deadline, trail: Trail
    ) -> Begun:
        """Have a request answered; gives the answer once its first chunk is there.

        Args:
            order: Who is to answer, and who else.
            request: What to generate.
            until: When to give up.
            trail: What the request met before; what it meets here is added.
        """
        # Each once, and one more: a prompt that kills its model ends somewhere.
        for _ in range(len(self._roster.chain(order)) + 2):
            pick = await self._take(order, until, trail)
            member, name, epoch = pick.member, pick.member.backend.model, pick.member.epoch
            generation = self._generate(member, order, request, until)
            try:
                await generation.start()
            except ELSEWHERE as error:
                trail.failed(member.key, name, epoch, error)
                continue
            except ContextExceeded as error:
                trail.failed(member.key, name, epoch, error)
                trail.narrow = max(trail.narrow, member.backend.context)
                continue
            fell_back = pick.use.fallback
            if fell_back and pick.wanted is not None:
                pick.wanted.stats.fallbacks += 1
            answer = Answer(
                name, member.role, fell_back, pick.use.reason, generation, tuple(trail.tries)
            )
            return Begun(answer, member.key, epoch)
        raise self._refusal(order, until, trail)

    def real_name(self, target: str) -> str:
        """Give the real name of a role's model; any other name as it is."""
        core = self._roster.core_named(target)
        return core.backend.model if core else target

    def switching(self) -> tuple[Switching, ...]:
        """Sum up what changing between the core models costs each of them."""
        core = self._roster.core
        return tuple(self._switching.of(role, model.stats) for role, model in core.items())

    async def _take(self, order: Order, until: Deadline, trail: Trail) -> _Pick:
        """Pick a model and take a slot of it."""
        while True:
            wanted = await self._wanted(order, until, trail)
            chain = self._roster.chain(order)
            others = [self._glance(key, trail) for key in chain]
            decision = choose(
                wanted
                if isinstance(wanted, Candidate)
                else wanted.candidate(trail.misses.get(wanted.key)),
                others,
                remaining=until.remaining,
                patient=trail.patient,
            )
            asked = None if isinstance(wanted, Candidate) else wanted
            match decision:
                case Use(place):
                    picked = await self._bring(chain[place - 1], until, trail) if place else asked
                    if picked is None:
                        continue
                    if await picked.acquire(until.at):
                        return _Pick(asked, picked, decision)
                    if until.remaining <= 0:
                        raise self._roster.late(order.target, until)
                case Wait(seconds):
                    await self._wait(asked, seconds)
                case Refuse(error):
                    raise error or self._refusal(order, until, trail)

    async def _wanted(self, order: Order, until: Deadline, trail: Trail) -> Member | Candidate:
        """Give the model asked for; how it stands where it can't be loaded and others may answer.

        Raises:
            UnknownModel: No model is called that.
            TaleError: It can't be loaded, and nobody else may answer.
        """
        if trail.absent is not None:
            return trail.absent
        try:
            return await self._roster.present(order.target, until)
        except UnknownModel:
            raise
        except TaleError as error:
            if not self._roster.chain(order):
                raise
            trail.failed(order.target, order.target, 0, error)
            trail.absent = Candidate(order.target, None, "retrying", usable=False, refusal=error)
            return trail.absent

    def _glance(self, key: str, trail: Trail) -> Candidate:
        """Look how a substitute stands; one that the prompt can't fit into is of no use."""
        seen = self._roster.glance(key, trail.misses.get(key))
        window = self._roster.window(key)
        if trail.narrow and window is not None and window <= trail.narrow:
            return replace(seen, usable=False)
        return seen

    async def _bring(self, key: str, until: Deadline, trail: Trail) -> Member | None:
        """Give a substitute, loading it where it is an optional model; None if that failed."""
        try:
            return await self._roster.present(key, until)
        except TaleError as error:
            trail.failed(key, key, 0, error)
            return None

    async def _wait(self, model: Member | None, seconds: float) -> None:
        if model is not None:
            model.wanted += 1
        try:
            await self._changes.wait(anyio.current_time() + seconds)
        finally:
            if model is not None:
                model.wanted -= 1

    def _refusal(self, order: Order, until: Deadline, trail: Trail) -> TaleError:
        """Say why nobody answers, with the figures where the prompt is too long for all."""
        error = trail.last or self._roster.late(order.target, until)
        keys = (self._roster.key(order.target), *self._roster.chain(order))
        windows = {key: window for key in keys if (window := self._roster.window(key))}
        if not isinstance(error, ContextExceeded) or len(windows) < 2:
            return error
        figures = ", ".join(f"{key} {window:,}" for key, window in windows.items())
        return ContextExceeded(f"{error.message} Windows in tokens: {figures}.", hint=error.hint)

    def _generate(
        self, model: Member, order: Order, request: ChatRequest, until: Deadline
    ) -> Generation:
        role = model.role
        switched = None if role is None else self._switching.began(role)

        def measured(sample: Sample | None) -> None:
            if role is not None and sample is not None:
                self._switching.record(role, sample, switched=switched)

        return model.generate(
            limited(order, request),
            until.of_generation,
            measured,
            budget=watch_for(order, request),
        )
