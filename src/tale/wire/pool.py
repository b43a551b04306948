"""Calls between our own servers: kept connections to every process that is ready.

`Services` follows the peers that the supervisor announces, keeps connections to each process of
the services it is told to call, and gives a call to the less loaded of two of them. A process that
dies and comes back is a new instance; callers only notice the wait.

    Services.call ─▶ [coalesce: calls of one moment travel as one]
                  ─▶ service: a place at an instance, or in line for one
                  ─▶ [race: a late read is asked elsewhere too]
                  ─▶ instance ─▶ post
                  ◀─ again, where that is harmless and the budget allows

Beside: `cli.client`, which makes single calls over the standard library alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import anyio.abc
from pydantic import BaseModel, ValidationError

from tale.errors import DeadlineExceeded, ServiceUnavailable, TaleError
from tale.wire.coalesce import Batches, fault_of
from tale.wire.instance import Instance
from tale.wire.metrics import Edge, InstanceView, WireMetrics
from tale.wire.peers import PeerSource
from tale.wire.post import Answer, Broken, Garbled, NotSent, OnProgress
from tale.wire.race import Attempt, race
from tale.wire.resilience import hedge_after
from tale.wire.service import BREAKER, DEFAULT_LIMITS, HEDGES, Limits, Service
from tale.wire.tool import Tool

__all__ = ["Services"]

RequestT = TypeVar("RequestT", bound=BaseModel)
ReplyT = TypeVar("ReplyT", bound=BaseModel)

_PAUSE_SECONDS: Final = (0.02, 0.5)
"""First and longest pause between two tries of a call; in between it doubles, with full jitter."""


@dataclass(frozen=True, slots=True)
class _Call:
    """What is to be called, and until when by the event loop's clock."""

    tool: Tool[Any, Any]
    name: str
    arguments: bytes
    ends: float
    on_progress: OnProgress | None = None

    async def at(self, instance: Instance) -> Answer:
        left = max(0.001, self.ends - anyio.current_time())
        return await instance.call(self.tool, self.name, self.arguments, left, self.on_progress)


class Services:
    """The services that a process calls."""

    def __init__(
        self,
        source: PeerSource,
        *,
        services: Collection[str],
        token: str,
        metrics: WireMetrics | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Connect to nothing yet.

        Args:
            source: Who serves where.
            services: Which of them are called.
            token: The bearer token of all servers.
            metrics: Where the calls are counted.
            limits: How much may be under way, and wait.
        """
        self._source = source
        self._token = token
        self._metrics = metrics or WireMetrics()
        self._services = {name: Service(name, limits) for name in services}
        self._batches: Batches | None = None
        self._metrics.watch(self._views)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Services]:
        """Follow the peers and keep the connections for as long as the context lasts."""
        async with anyio.create_task_group() as tasks:
            self._batches = Batches(tasks, self._send)
            tasks.start_soon(self._follow, tasks)
            yield self
            tasks.cancel_scope.cancel()

    async def call(
        self,
        tool: Tool[RequestT, ReplyT],
        request: RequestT,
        *,
        deadline: float,
        on_progress: OnProgress | None = None,
    ) -> ReplyT:
        """Call a tool on one process of its service.

        While no process is ready the call waits. What was certainly not sent is tried again; what
        broke after sending only where that is harmless; both within the retry budget. The time
        left goes with the call and bounds what is done for it: the deadline given here, or that of
        the cancel scopes around, should they end sooner.

        Args:
            tool: What to call.
            request: Its arguments.
            deadline: Seconds until the caller gives up, waiting included.
            on_progress: Gets each progress message, in order, before the reply.

        Raises:
            TaleError: What the tool reported.
            Busy: Too many calls wait already; nothing was sent.
            ServiceUnavailable: The connection broke after the request was sent.
            DeadlineExceeded: The time ran out.
        """
        edge = self._metrics.made.edge(tool.service, tool.name)
        now, began = anyio.current_time(), time.monotonic()
        ends = min(now + deadline, anyio.current_effective_deadline())
        arguments = request.model_dump_json().encode()
        error = "cancelled"
        edge.began()
        try:
            with anyio.move_on_after(ends - now):
                # What waits on purpose would hold up the others of its batch.
                together = tool.batched and not getattr(request, "alone", False)
                if together and on_progress is None and self._batches:
                    content = await self._batches.call(tool, arguments, ends)
                else:
                    content = await self._deliver(
                        _Call(tool, tool.name, arguments, ends, on_progress)
                    )
                reply = _read(tool, content)
                error = ""
                return reply
            raise DeadlineExceeded(
                f"{tool.service}.{tool.name} did not answer within {deadline:.3g} s.",
                hint="`tale status` shows whether its server is up.",
            )
        except TaleError as fault:
            error = fault.code
            raise
        finally:
            # Not the loop's clock, which may count in whole milliseconds.
            ended = time.monotonic()
            edge.ended(ended, ended - began, error)

    async def _send(
        self, tool: Tool[Any, Any], name: str, arguments: bytes, seconds: float
    ) -> Mapping[str, Any]:
        """Make the one call of a batch."""
        return await self._deliver(_Call(tool, name, arguments, anyio.current_time() + seconds))

    async def _deliver(self, call: _Call) -> Mapping[str, Any]:
        """Make a call, again where that is harmless and the budget allows."""
        tool, service = call.tool, self._services[call.tool.service]
        service.earn()
        pause = _PAUSE_SECONDS[0]
        failed: list[Instance] = []
        while True:
            instance = await service.admit(failed)
            try:
                return _content(tool, await self._attempt(call, service, instance))
            except NotSent:
                pass
            except Broken as error:
                if not tool.repeatable:
                    raise ServiceUnavailable(
                        f"{instance.name} went away during {tool.name} ({error}); "
                        "it may or may not be done."
                    ) from error
            except Garbled:
                if not tool.repeatable or service.callable < 2 or failed:
                    raise
            failed = [instance]
            self._pay(service, tool)
            await anyio.sleep(random.uniform(0, pause))  # noqa: S311 - jitter, not a secret
            pause = min(2 * pause, _PAUSE_SECONDS[1])

    async def _attempt(self, call: _Call, service: Service, first: Instance) -> Answer:
        """Make a call once, or twice at the same time where it is a read that is late."""
        late = self._late(call, service)
        if late is None:
            return await call.at(first)

        def second() -> Attempt | None:
            other = self._second(call, service, first)
            return partial(call.at, other) if other else None

        return await race(partial(call.at, first), late, second)

    def _edge(self, tool: Tool[Any, Any]) -> Edge:
        return self._metrics.made.edge(tool.service, tool.name)

    def _late(self, call: _Call, service: Service) -> float | None:
        """Say after how many seconds a call is late; None where nothing follows from it."""
        if not call.tool.read_only or call.on_progress:
            return None
        seen = self._edge(call.tool).window.recent(time.monotonic())
        return hedge_after(seen.seen, seen.p95, service.callable, HEDGES)

    def _second(self, call: _Call, service: Service, first: Instance) -> Instance | None:
        """Take a place at another instance, if the budget allows."""
        other = service.choose((first,), strictly=True)
        if other is None:
            return None
        if not service.pay_hedge():
            other.leave()
            return None
        self._edge(call.tool).hedges += 1
        return other

    def _pay(self, service: Service, tool: Tool[Any, Any]) -> None:
        """Take a retry off the service's budget, or give up."""
        if not service.pay_retry():
            raise ServiceUnavailable(
                f"{tool.service}.{tool.name} failed, as did too many calls to {tool.service} "
                "before it for another try.",
                hint="`tale status` shows whether its server is up.",
            )
        self._edge(tool).retries += 1

    async def _follow(self, tasks: anyio.abc.TaskGroup) -> None:
        """Know exactly one instance for each ready process of the services called."""
        while True:
            for service in self._services.values():
                known = service.instances
                peers = {(p.name, p.pid): p for p in self._source.peers.of(service.name)}
                for key in known.keys() - peers.keys():
                    known.pop(key).retire()
                for key in peers.keys() - known.keys():
                    known[key] = Instance(peers[key], self._token, BREAKER, service.wake)
                    tasks.start_soon(known[key].own)
                service.wake()
            await self._source.wait_change()

    def _views(self) -> Iterable[InstanceView]:
        for service in self._services.values():
            for instance in service.instances.values():
                yield instance.view()


def _content(tool: Tool[Any, Any], answer: Answer) -> Mapping[str, Any]:
    if answer.failed:
        raise fault_of(answer.content.get("error") or {}, f"{tool.service}.{tool.name}")
    return answer.content


def _read(tool: Tool[Any, ReplyT], content: Mapping[str, Any]) -> ReplyT:
    try:
        return tool.reply.model_validate(content)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, fault["loc"])) or "all" for fault in error.errors())
        raise Garbled(
            f"{tool.service}.{tool.name} answered in another shape than it should: {wrong}.",
            hint="Is its server of another version? `tale restart` starts all of them anew.",
        ) from error
