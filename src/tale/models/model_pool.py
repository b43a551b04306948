"""The pool: two core models that are always resident, and further ones beside them.

It composes: a `keeper` keeps each model up, `dispatch` sends requests to them, `further` makes room
for more, `roster` knows them all by name. It knows no HTTP, no process and no file. Above:
`servers.model_app` and `servers.openai_api`; nobody else holds a pool. Below: `Backend`s.

A core model is never unloaded: no call, no memory pressure, no idle time and no third model can do
it, because no path in this module leads there.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import anyio
import anyio.abc

from tale.errors import CoreModelPinned, ModelError, UnknownModel
from tale.models.ahead import SpareAnswer, answer_in_spare_time, compute_ahead
from tale.models.answer import Answer, Completion
from tale.models.backend import Backend, ChatRequest, Message, Role, Tokenizer
from tale.models.dispatch import Dispatch
from tale.models.facts import facts_of
from tale.models.further import (
    FurtherModels,
    Keep,
    MemoryGuard,
    ModelSource,
    NoFurtherModels,
    PlainMemory,
)
from tale.models.keeper import Keeper
from tale.models.order import Order, as_order
from tale.models.pool_policy import Policy
from tale.models.pool_stats import PoolStatus
from tale.models.preparation import Preparation
from tale.models.prospects import ModelFacts
from tale.models.remote import RemoteModel
from tale.models.resident import ResidentModel
from tale.models.roster import Roster
from tale.models.trail import Trail
from tale.models.waiting import Changes, Deadline
from tale.models.whole import WholeAnswers

__all__ = ["ModelPool"]

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
        remotes: Mapping[str, Backend] | None = None,
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
            remotes: Models on other servers, by the names under which they may be asked for.
            preparation: What must be done before the core models load.
            processes_changed: Returns when processes came or went, so that a death shows at once.
            loading_since: Clock reading at which the core models' processes were already asked for.
            clock: Monotonic seconds, for measurements.
        """
        self._policy = policy or Policy()
        self._clock = clock
        self._memory = memory or PlainMemory()
        self._processes_changed = processes_changed
        self._changes = Changes()
        self._tasks: anyio.abc.TaskGroup | None = None
        further = FurtherModels(
            source or NoFurtherModels(),
            self._memory,
            kind=kind,
            policy=self._policy,
            clock=clock,
            changes=self._changes,
            start=self._start,
        )
        models: dict[Role, ResidentModel] = {
            role: ResidentModel(
                backend,
                kind=kind,
                role=role,
                slots=(slots or {}).get(role, 1),
                policy=self._policy,
                clock=clock,
                preparation=preparation,
                on_change=self._changes.notify,
            )
            for role, backend in core.items()
        }
        self._keepers = tuple(
            Keeper(
                model,
                policy=self._policy,
                clock=clock,
                warm_prompts=(warm_prompts or {}).get(role, ()),
                loading_since=loading_since,
            )
            for role, model in models.items()
        )
        elsewhere = {
            name: RemoteModel(name, backend, policy=self._policy, clock=clock)
            for name, backend in (remotes or {}).items()
        }
        self._roster = Roster(models, further, elsewhere)
        self._dispatch = Dispatch(self._roster, self._changes)
        self._whole = WholeAnswers(self._dispatch)

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        for keeper in self._keepers:
            self._tasks.start_soon(keeper.keep)
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

    def _start(self, keep: Keep) -> None:
        self._running.start_soon(keep)

    # -- requests ----------------------------------------------------------------------------------

    async def chat(
        self, target: str | Order, request: ChatRequest, deadline: float | None = None
    ) -> Answer:
        """Have a request answered, by the model it names or the one that can.

        A failure before the first chunk is met here; one after it is raised by the iteration.

        Args:
            target: What was decided, or plainly `ux`, `task` or a model's name.
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
        until = self._deadline(deadline)
        return (await self._dispatch.begin(as_order(target), request, until, Trail())).answer

    async def complete(
        self, target: str | Order, request: ChatRequest, deadline: float | None = None
    ) -> Completion:
        """Have a request answered as a whole.

        A model that dies half-way is met by a new try, one whose answer is no good by the next of
        the chain. If every answer is, the last one is given, with its `fault`.

        Raises:
            TaleError: As `chat` does.
        """
        return await self._whole.complete(as_order(target), request, self._deadline(deadline))

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
            model = await self._roster.present(name, until)
            if isinstance(model, RemoteModel) or model.ready:
                return
            if refusal := model.condition.refusal:
                raise refusal
            await self._changes.wait(until.at)
        raise self._roster.late(name, until)

    async def load(self, name: str, deadline: float | None = None) -> None:
        """Make a further model resident; raises as `ensure_ready` does."""
        await self.ensure_ready(name, deadline)

    async def unload(self, name: str) -> None:
        """Free a further model's memory, once its last request has ended.

        Raises:
            CoreModelPinned: It has a core role.
            UnknownModel: It isn't loaded.
        """
        if core := self._roster.core_named(name):
            raise CoreModelPinned(
                f"{core.backend.model} has the core role {core.role!r} and stays resident.",
                hint="Both core models are always loaded, so that neither talk nor work ever waits "
                "for a load. Set another model in tale.toml ([models.ux], [models.task]).",
            )
        if not await self._roster.further.unload(name):
            raise UnknownModel(
                f"No further model named {name!r} is loaded.", hint="`tale models` lists them."
            )

    # -- what there is -----------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Real names of the models that may be asked for, the core ones first."""
        return self._roster.names()

    def named(self, target: str) -> tuple[str, Role | None]:
        """Give the real name and the core role of a model that is asked for."""
        core = self._roster.core_named(target)
        return (core.backend.model, core.role) if core else (target, None)

    async def count_tokens(self, name: str, text: str) -> int | None:
        """Count with the tokenizer of a model that is loaded; None where that can't be done."""
        model = self._roster.core_named(name) or self._roster.further.get(name)
        if model is None or not model.ready or not isinstance(model.backend, Tokenizer):
            return None
        try:
            return await model.backend.count_tokens(text)
        except ModelError:
            return None

    async def compute_ahead(self, name: str, messages: Sequence[Message]) -> bool:
        """Compute a prompt's beginning while a model has nothing to do.

        Returns:
            Whether all of it is computed: somebody who asks goes first, and only a core model that
            is ready is used.
        """
        model = self._roster.core_named(name)
        if model is None:
            return False
        return await compute_ahead(model, messages, policy=self._policy, clock=self._clock)

    async def answer_in_spare_time(self, name: str, request: ChatRequest) -> SpareAnswer | None:
        """Have a request answered while a core model has nothing to do; see `compute_ahead`.

        Returns:
            The answer; None where somebody else needed the model, or it isn't there.

        Raises:
            ModelError: The model failed.
        """
        model = self._roster.core_named(name)
        if model is None:
            return None
        return await answer_in_spare_time(model, request, policy=self._policy, clock=self._clock)

    def facts(self) -> tuple[ModelFacts, ...]:
        """Describe every model that may be asked for, as the router sees it."""
        return facts_of(self._roster)

    async def status(self) -> PoolStatus:
        """Look at every model and sum up."""
        models = self._roster.models
        with anyio.move_on_after(_STATUS_SECONDS):
            async with anyio.create_task_group() as looks:
                for model in models:
                    looks.start_soon(model.look)
        return PoolStatus(
            models=tuple(model.status() for model in (*models, *self._roster.remotes.values())),
            switching=self._dispatch.switching(),
            available_bytes=self._memory.available(),
            reserve_bytes=self._policy.reserve_bytes,
        )

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
                for model in self._roster.models:
                    if model.ready:
                        # Not awaited: a change during a slow look must not be missed.
                        tasks.start_soon(model.look)
                self._roster.further.relieve()

    def _deadline(self, seconds: float | None) -> Deadline:
        return Deadline.after(seconds, self._policy.wait_seconds)
