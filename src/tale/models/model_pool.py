"""The pool: two core models that are always resident, and further ones beside them.

It composes: `resident` keeps each model up, `generation` runs a request, `pool_policy` decides,
`pool_stats` sums up. It knows no HTTP, no process and no file. Above: `servers.models` and
`servers.openai_api`; nobody else holds a pool. Below: `Backend`s.

A core model is never unloaded: no call, no memory pressure, no idle time and no third model can do
it, because no path in this module leads there.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Final, Self

import anyio
import anyio.abc

from tale.errors import (
    BackendFailed,
    BackendStalled,
    BackendUnavailable,
    ContextExceeded,
    CoreModelPinned,
    DeadlineExceeded,
    ModelError,
    ServiceUnavailable,
    TaleError,
    UnknownModel,
)
from tale.models.answer import Answer, Completion, collect
from tale.models.backend import Backend, ChatRequest, Role
from tale.models.further import (
    FurtherModels,
    MemoryGuard,
    ModelSource,
    NoFurtherModels,
    PlainMemory,
)
from tale.models.generation import Generation
from tale.models.pool_policy import Policy, Refuse, Use, Wait, choose
from tale.models.pool_stats import PoolStatus, Sample, SwitchingStats
from tale.models.resident import Preparation, ResidentModel
from tale.models.waiting import Changes, Deadline

__all__ = ["ModelPool"]

# The model asked for, the other one, and once more: a prompt that kills its model ends somewhere.
_ATTEMPTS: Final = 3
_ELSEWHERE = (BackendUnavailable, BackendStalled, BackendFailed)
# A status shows what was seen last rather than wait for a backend that hangs.
_STATUS_SECONDS: Final = 0.25


class ModelPool:
    """Keeps models resident and sends each request to one of them.

    An asynchronous context manager: models load while it is open. Leaving it unloads nothing, since
    the models live in processes of their own.
    """

    def __init__(
        self,
        core: Mapping[Role, Backend],
        *,
        kind: str = "memory",
        slots: Mapping[Role, int] | None = None,
        warm_prompts: Mapping[Role, tuple[str, ...]] | None = None,
        policy: Policy | None = None,
        memory: MemoryGuard | None = None,
        source: ModelSource | None = None,
        preparation: Preparation | None = None,
        processes_changed: Callable[[], Awaitable[object]] | None = None,
        loading_since: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe the pool; nothing loads before it is entered.

        Args:
            core: The backend of each core role.
            kind: The backends' kind, for the status.
            slots: Requests that each core model generates side by side; 1 where missing.
            warm_prompts: System prompts to compute after each load.
            policy: The numbers.
            memory: What the machine can hold; without it, no further model fits.
            source: Where further models come from.
            preparation: What must be done before the core models load.
            processes_changed: Returns when processes came or went, so that a death shows at once.
            loading_since: Clock reading at which the core models' processes were already asked for.
            clock: Monotonic seconds, for measurements.
        """
        self._policy = policy or Policy()
        self._memory = memory or PlainMemory()
        self._processes_changed = processes_changed
        self._changes = Changes()
        self._switching = SwitchingStats()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._further = FurtherModels(
            source or NoFurtherModels(),
            self._memory,
            kind=kind,
            policy=self._policy,
            clock=clock,
            changes=self._changes,
        )
        self._core: dict[Role, ResidentModel] = {
            role: ResidentModel(
                backend,
                kind=kind,
                role=role,
                slots=(slots or {}).get(role, 1),
                policy=self._policy,
                clock=clock,
                warm_prompts=(warm_prompts or {}).get(role, ()),
                preparation=preparation,
                loading_since=loading_since,
                on_change=self._changes.notify,
            )
            for role, backend in core.items()
        }

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        for model in self._core.values():
            self._tasks.start_soon(model.keep)
        self._tasks.start_soon(self._watch)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        tasks, self._tasks = self._running, None
        tasks.cancel_scope.cancel()
        return await tasks.__aexit__(kind, error, traceback)

    @property
    def _running(self) -> anyio.abc.TaskGroup:
        if self._tasks is None:
            raise RuntimeError("the pool must be entered before it is used")
        return self._tasks

    # -- requests ----------------------------------------------------------------------------------

    async def chat(
        self, target: str, request: ChatRequest, deadline: float | None = None
    ) -> Answer:
        """Have a request answered, by the model it names or the one that can.

        A failure before the first chunk is met here; one after it is raised by the iteration.

        Args:
            target: `ux`, `task` or a model's real name.
            request: What to generate.
            deadline: Seconds within which the answer must be complete; None waits
                `Policy.wait_seconds` for a model, and for the answer as long as tokens come.

        Raises:
            UnknownModel: No model is called that.
            InsufficientMemory: The machine can't hold it.
            ServiceUnavailable: No model became ready in time.
            DeadlineExceeded: The deadline passed.
            ModelError: Every model that could answer failed.
        """
        return await self._chat(target, request, self._deadline(deadline))

    async def complete(
        self, target: str, request: ChatRequest, deadline: float | None = None
    ) -> Completion:
        """Have a request answered as a whole; a model that dies half-way is met by a new try.

        Raises:
            TaleError: As `chat` does.
        """
        until = self._deadline(deadline)
        last: TaleError | None = None
        for _ in range(_ATTEMPTS):
            answer = await self._chat(target, request, until)
            try:
                return await collect(answer)
            except _ELSEWHERE as error:
                last = error
            finally:
                await answer.aclose()
        raise last or ServiceUnavailable(f"{target} gave no answer.")

    async def ensure_ready(self, name: str, deadline: float | None = None) -> None:
        """Return once a model is ready, loading it if it is a further one.

        Raises:
            UnknownModel: No model is called that.
            InsufficientMemory: The machine can't hold it.
            ServiceUnavailable: It did not become ready in time.
            DeadlineExceeded: The deadline passed.
        """
        until = self._deadline(deadline)
        while until.remaining > 0:
            model = await self._present(name, until)
            if model.ready:
                return
            if refusal := model.condition.refusal:
                raise refusal
            await self._changes.wait(until.at)
        raise self._late(name, until)

    async def load(self, name: str, deadline: float | None = None) -> None:
        """Make a further model resident; raises as `ensure_ready` does."""
        await self.ensure_ready(name, deadline)

    async def unload(self, name: str) -> None:
        """Free a further model's memory, once its last request has ended.

        Raises:
            CoreModelPinned: It has a core role.
            UnknownModel: It isn't loaded.
        """
        if core := self._core_named(name):
            raise CoreModelPinned(
                f"{core.backend.model} has the core role {core.role!r} and stays resident.",
                hint="Both core models are always loaded, so that neither talk nor work ever waits "
                "for a load. Set another model in tale.toml ([models.ux], [models.task]).",
            )
        if not await self._further.unload(name):
            raise UnknownModel(
                f"No further model named {name!r} is loaded.", hint="`tale models` lists them."
            )

    # -- what there is -----------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Real names of the models that may be asked for, the core ones first."""
        core = (model.backend.model for model in self._core.values())
        return tuple(dict.fromkeys((*core, *self._further.names())))

    async def status(self) -> PoolStatus:
        """Look at every model and sum up."""
        models = (*self._core.values(), *self._further.models)
        with anyio.move_on_after(_STATUS_SECONDS):
            async with anyio.create_task_group() as looks:
                for model in models:
                    looks.start_soon(model.look)
        return PoolStatus(
            models=tuple(model.status() for model in models),
            switching=tuple(
                self._switching.of(role, model.stats) for role, model in self._core.items()
            ),
            available_bytes=self._memory.available(),
            reserve_bytes=self._policy.reserve_bytes,
        )

    # -- picking a model ---------------------------------------------------------------------------

    async def _chat(self, target: str, request: ChatRequest, until: Deadline) -> Answer:
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
        raise last or self._late(target, until)

    async def _take(
        self, target: str, until: Deadline, failed: Mapping[str, int], last: ModelError | None
    ) -> tuple[ResidentModel, ResidentModel, Use]:
        """Pick a model and take a slot of it; gives the one asked for and the one picked."""
        while True:
            wanted = await self._present(target, until)
            other = self._other(wanted)
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
                        raise self._late(target, until)
                case Wait(seconds):
                    wanted.wanted += 1
                    try:
                        await self._changes.wait(anyio.current_time() + seconds)
                    finally:
                        wanted.wanted -= 1
                case Refuse(error):
                    raise error or last or self._late(target, until)

    async def _present(self, name: str, until: Deadline) -> ResidentModel:
        """Give the model of that name, loading it first if it is a further one."""
        if model := self._core_named(name) or self._further.get(name):
            return model
        if name not in self._further.names():
            known = ", ".join(dict.fromkeys(("auto", *self._core, *self.names())))
            raise UnknownModel(f"No model named {name!r} is known.", hint=f"Known: {known}.")
        with anyio.CancelScope(deadline=until.at):
            return await self._further.load(name, self._running)
        raise self._late(name, until)

    def _core_named(self, name: str) -> ResidentModel | None:
        named = (model for model in self._core.values() if model.backend.model == name)
        return next((m for role, m in self._core.items() if role == name), next(named, None))

    def _other(self, model: ResidentModel) -> ResidentModel | None:
        if model.role is None:
            return None
        return next((other for other in self._core.values() if other is not model), None)

    def _generate(self, model: ResidentModel, request: ChatRequest, until: Deadline) -> Generation:
        role = model.role
        switched = None if role is None else self._switching.began(role)

        def measured(sample: Sample | None) -> None:
            if role is not None and sample is not None:
                self._switching.record(role, sample, switched=switched)

        return model.generate(request, until.of_generation, measured)

    # -- watching ----------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look at every model when processes changed, and every few seconds anyway."""
        stirred = Changes()

        async def listen(changed: Callable[[], Awaitable[object]]) -> None:
            while True:
                await changed()
                stirred.notify()

        async with anyio.create_task_group() as tasks:
            if self._processes_changed is not None:
                tasks.start_soon(listen, self._processes_changed)
            while True:
                await stirred.wait(anyio.current_time() + self._policy.check_seconds)
                for model in (*self._core.values(), *self._further.models):
                    if model.ready:
                        # Not awaited: a change during a slow look must not be missed.
                        tasks.start_soon(model.look)
                self._further.relieve()

    # -- deadlines ---------------------------------------------------------------------------------

    def _deadline(self, seconds: float | None) -> Deadline:
        return Deadline.after(seconds, self._policy.wait_seconds)

    def _late(self, target: str, until: Deadline) -> TaleError:
        """Say with figures why a request got no model in time."""
        standing = "; ".join(
            model.standing() for model in (*self._core.values(), *self._further.models)
        )
        message = f"{target} was not available within {until.waited:.1f} s: {standing}."
        hint = "`tale status` shows the recovery; ask again, or allow more time."
        if until.asked:
            return DeadlineExceeded(message, hint=hint)
        return ServiceUnavailable(message, hint=hint)
