"""Further models, beside the core pair: loaded by name where they fit, evicted where they don't.

It holds only optional models; core models never come here, so nothing here can unload one. Above:
`model_pool`. Decisions: `admission`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import anyio

from tale.errors import TaleError, UnknownModel
from tale.models.admission import Admission, Evict, Load, TooLarge, WaitForIdle, admit
from tale.models.backend import Backend
from tale.models.choice import Candidate, Miss
from tale.models.keeper import Keeper
from tale.models.pool_policy import Policy
from tale.models.resident import ResidentModel
from tale.models.waiting import Changes
from tale.telemetry import get_logger

__all__ = ["FurtherModels", "Keep", "MemoryGuard", "ModelSource", "NoFurtherModels", "PlainMemory"]

log = get_logger(__name__)


Keep = Callable[[], Coroutine[object, object, None]]
"""The life of a model, to be run in a task of its own."""


class MemoryGuard(Protocol):
    """What the machine can hold."""

    def available(self) -> int:
        """Bytes that could be taken now without swapping."""
        ...

    def need(self, name: str) -> int:
        """Bytes that a model would take; raises `UnknownModel`."""
        ...


@dataclass(frozen=True, slots=True)
class PlainMemory:
    """Figures set by hand: the in-memory twin of a real guard."""

    free: Callable[[], int] = lambda: 0
    needs: Mapping[str, int] = field(default_factory=dict[str, int])

    def available(self) -> int:
        """Give the bytes that are free."""
        return self.free()

    def need(self, name: str) -> int:
        """Give the bytes that a model takes."""
        try:
            return self.needs[name]
        except KeyError:
            raise UnknownModel(f"No model named {name!r} is known.") from None


class ModelSource(Protocol):
    """Where further models come from."""

    def names(self) -> Sequence[str]:
        """Names that could be loaded now."""
        ...

    def open(self, name: str) -> Backend:
        """Make the backend of a model; raises `UnknownModel`."""
        ...


class NoFurtherModels:
    """A source that has none."""

    def names(self) -> Sequence[str]:
        """Give no names."""
        return ()

    def open(self, name: str) -> Backend:
        """Refuse."""
        raise UnknownModel(f"No model named {name!r} is known.")


class FurtherModels:
    """The optional models that are resident, loading or going."""

    def __init__(
        self,
        source: ModelSource,
        memory: MemoryGuard,
        *,
        kind: str,
        policy: Policy,
        clock: Callable[[], float],
        changes: Changes,
        start: Callable[[Keep], None],
    ) -> None:
        self._source = source
        self._memory = memory
        self._kind = kind
        self._policy = policy
        self._clock = clock
        self._changes = changes
        self._start = start
        self._admitting = anyio.Lock()
        self._models: dict[str, ResidentModel] = {}

    @property
    def models(self) -> tuple[ResidentModel, ...]:
        """Those that take memory now."""
        return tuple(self._models.values())

    def names(self) -> tuple[str, ...]:
        """Names that may be asked for."""
        return tuple(dict.fromkeys((*self._models, *self._source.names())))

    def get(self, name: str) -> ResidentModel | None:
        """Give a model that is or will soon be ready; not one that is going."""
        model = self._models.get(name)
        return None if model is None or model.condition.state == "unloading" else model

    def candidate(self, name: str, miss: Miss | None = None) -> Candidate:
        """Show a model that isn't loaded to `choose`: usable if it fits and nobody has to go."""
        try:
            fits = isinstance(self._admission(name, self._memory.need(name)), Load)
        except TaleError:
            fits = False
        return Candidate(
            name,
            None,
            "loading",
            usable=fits and miss is None,
            expected=self._policy.expected_load_seconds,
            miss=miss.what if miss else "",
        )

    async def load(self, name: str) -> ResidentModel:
        """Make a model resident, evicting idle ones for it.

        One at a time: while another model loads, free memory says nothing.

        Raises:
            UnknownModel: The source doesn't have it.
            InsufficientMemory: It can't fit beside the core models.
            TaleError: It failed to load.
        """
        async with self._admitting:
            while any(m.condition.state in ("loading", "unloading") for m in self.models):
                await self._changes.wait()
            if model := self.get(name):
                return model
            need = self._memory.need(name)
            backend = self._source.open(name)
            await self._make_room(name, need)
            model = self._models[name] = ResidentModel(
                backend,
                kind=self._kind,
                role=None,
                slots=1,
                policy=self._policy,
                clock=self._clock,
                on_change=self._changes.notify,
            )
            self._start(partial(self._keep, name, model))
            while not model.ready:
                if (error := model.condition.error) is not None:
                    raise error
                await self._changes.wait()
            return model

    async def unload(self, name: str) -> bool:
        """Let a model go once no request holds it; False if it isn't loaded."""
        model = self._models.get(name)
        if model is None:
            return False
        model.go()
        while self._models.get(name) is model:
            await self._changes.wait()
        return True

    def relieve(self) -> None:
        """Under memory pressure, let the least recently used model go that is idle."""
        available = self._memory.available()
        going = any(model.condition.state == "unloading" for model in self.models)
        if available >= self._policy.reserve_bytes or going:
            return
        idle = [model for model in self.models if model.ready and not model.in_flight]
        if idle:
            victim = min(idle, key=lambda model: model.used_at)
            log.warning("model.evicted", model=victim.key, why="memory pressure", free=available)
            victim.go()

    async def _make_room(self, name: str, need: int) -> None:
        while True:
            match self._admission(name, need):
                case Load():
                    return
                case Evict(victim):
                    log.info("model.evicted", model=victim, why=f"room for {name}")
                    await self.unload(victim)
                case WaitForIdle():
                    await self._changes.wait()
                case TooLarge(error):
                    raise error

    def _admission(self, name: str, need: int) -> Load | Evict | WaitForIdle | TooLarge:
        oldest_first = sorted(self.models, key=lambda model: model.used_at)
        residents = [
            Admission(
                model.key,
                model.residency.memory_bytes or self._memory.need(model.key),
                busy=model.in_flight > 0,
            )
            for model in oldest_first
        ]
        available = self._memory.available()
        return admit(name, need, available, self._policy.reserve_bytes, residents)

    async def _keep(self, name: str, model: ResidentModel) -> None:
        await Keeper(model, policy=self._policy, clock=self._clock).keep()
        del self._models[name]
        self._changes.notify()
