"""Calls between our own servers: kept MCP connections to every process that is ready.

`Services` follows the peers that the supervisor announces, keeps one connection to each process of
the services it is told to call, and gives a call to the least loaded of them. A process that dies
and comes back is a new connection; callers only notice the wait. Below: the MCP SDK's client, one
owner task for each. Beside: `cli.client`, which makes single calls without the SDK's import time.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import anyio
import anyio.abc
import httpx2
import orjson
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult
from pydantic import BaseModel

from tale.errors import DeadlineExceeded, ServiceUnavailable, WireError, error_from_code
from tale.telemetry import get_logger
from tale.wire.contracts import PROGRESS_COUNT, Tool
from tale.wire.leash import Peer
from tale.wire.peers import PeerSource
from tale.wire.resilience import Breaker, BreakerPolicy, RetryBudget, RetryPolicy, pick
from tale.wire.transport import CONNECTION_CLOSED, NOT_SENT, AiohttpTransport

__all__ = ["Services"]

log = get_logger(__name__)

RequestT = TypeVar("RequestT", bound=BaseModel)
ReplyT = TypeVar("ReplyT", bound=BaseModel)
OnProgress = Callable[[Mapping[str, Any]], Awaitable[None]]

PROTOCOL: Final = "2026-07-28"
_TIMED_OUT: Final = -32001
_PAUSE_SECONDS: Final = (0.02, 0.5)
"""First and longest pause between two tries of a call; in between it doubles, with full jitter."""
_BREAKER: Final = BreakerPolicy()
_RETRIES: Final = RetryPolicy()


class Services:
    """The services that a process calls."""

    def __init__(self, source: PeerSource, *, services: Collection[str], token: str) -> None:
        self._source = source
        self._services = frozenset(services)
        self._token = token
        self._connections: dict[tuple[str, int], _Connection] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._changed = anyio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Services]:
        """Follow the peers and keep the connections for as long as the context lasts."""
        async with anyio.create_task_group() as tasks:
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
        broke after sending only where the tool is idempotent; both within the retry budget.

        Args:
            tool: What to call.
            request: Its arguments.
            deadline: Seconds until the caller gives up, waiting included.
            on_progress: Gets each progress message, in order, before the reply.

        Raises:
            TaleError: What the tool reported.
            ServiceUnavailable: The connection broke after the request was sent.
            DeadlineExceeded: The time ran out.
        """
        ends = anyio.current_time() + deadline
        pause = _PAUSE_SECONDS[0]
        self._earn(tool.service)
        while (left := ends - anyio.current_time()) > 0:
            with anyio.move_on_after(left):
                connection = await self._pick(tool.service)
                result = await connection.call(tool, request, ends, on_progress)
                if result is not None:
                    return _reply(tool, result)
                self._pay(tool)
                await anyio.sleep(random.uniform(0, pause))  # noqa: S311 - jitter, not a secret
                pause = min(2 * pause, _PAUSE_SECONDS[1])
        raise DeadlineExceeded(
            f"{tool.service}.{tool.name} did not answer within {deadline:.3g} s.",
            hint="`tale status` shows whether its server is up.",
        )

    async def _pick(self, service: str) -> _Connection:
        """Wait for a connection whose process may be called; the less loaded of two at random."""
        while True:
            now = anyio.current_time()
            living = [c for c in self._connections.values() if c.usable and c.service == service]
            if admitted := [c for c in living if c.breaker.admits(now, _BREAKER)]:
                return pick(admitted, lambda connection: connection.in_flight, random.random)
            probing = [c.breaker.until for c in living if c.breaker.until > now]
            with anyio.CancelScope(deadline=min(probing, default=math.inf)):
                await self._changed.wait()

    def _earn(self, service: str) -> None:
        now = anyio.current_time()
        budget = self._budgets.get(service) or RetryBudget.full(now, _RETRIES)
        self._budgets[service] = budget.called(now, _RETRIES)

    def _pay(self, tool: Tool[Any, Any]) -> None:
        """Take a retry off the service's budget, or give up."""
        budget = self._budgets[tool.service].retried(anyio.current_time(), _RETRIES)
        if budget is None:
            raise ServiceUnavailable(
                f"{tool.service}.{tool.name} failed, as did too many calls to {tool.service} "
                "before it for another try.",
                hint="`tale status` shows whether its server is up.",
            )
        self._budgets[tool.service] = budget

    async def _follow(self, tasks: anyio.abc.TaskGroup) -> None:
        """Hold exactly one connection for each ready process of the services called."""
        while True:
            peers = {
                (peer.name, peer.pid): peer
                for peer in self._source.peers.peers
                if peer.service in self._services
            }
            for key in self._connections.keys() - peers.keys():
                self._connections.pop(key).retire()
            for key in peers.keys() - self._connections.keys():
                connection = _Connection(peers[key], self._token, self._announce)
                self._connections[key] = connection
                tasks.start_soon(connection.own)
            await self._source.wait_change()

    def _announce(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


class _Connection:
    """One MCP client and the task that owns it from enter to exit."""

    def __init__(self, peer: Peer, token: str, on_change: Callable[[], None]) -> None:
        self.service = peer.service
        self.in_flight = 0
        self.breaker = Breaker()
        self._peer = peer
        self._token = token
        self._on_change = on_change
        self._client: Client | None = None
        self._retired = False
        self._closing = anyio.Event()

    @property
    def usable(self) -> bool:
        """Whether calls can be made."""
        return self._client is not None and not self._retired

    def retire(self) -> None:
        """Take no more calls, and close once those in flight have ended.

        A process that drains is announced as gone while it still answers what it was asked; one
        that died breaks its calls by itself.
        """
        self._retired = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._retired and not self.in_flight:
            self._client = None
            self._closing.set()

    async def own(self) -> None:
        """Connect, serve calls until closed, and connect anew should the client itself fail."""
        while not self._closing.is_set():
            try:
                async with self._connected() as client:
                    # A tool's headers are derived from its schema: list once, not at a call.
                    await client.list_tools()
                    self._client = client
                    self._on_change()
                    await self._closing.wait()
            except (MCPError, httpx2.HTTPError, OSError, ExceptionGroup) as error:
                log.warning("connection.failed", peer=self._peer.name, reason=repr(error))
                self._client = None
                with anyio.move_on_after(_PAUSE_SECONDS[1]):
                    await self._closing.wait()

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[Client]:
        async with (
            httpx2.AsyncClient(
                transport=AiohttpTransport(),
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=None,
            ) as http,
            Client(
                streamable_http_client(f"{self._peer.url}/mcp", http_client=http),
                mode=PROTOCOL,
                cache=None,
            ) as client,
        ):
            yield client

    async def call(
        self,
        tool: Tool[Any, Any],
        request: BaseModel,
        ends: float,
        on_progress: OnProgress | None,
    ) -> CallToolResult | None:
        """Make one call; None where it may be made again."""
        client = self._client
        if client is None:
            return None
        feed = _ProgressFeed(on_progress) if on_progress else None
        self.in_flight += 1
        self.breaker = self.breaker.called()
        verdict = self._given_up
        try:
            result = await client.call_tool(
                tool.name,
                request.model_dump(mode="json"),
                read_timeout_seconds=max(0.001, ends - anyio.current_time()),
                progress_callback=feed.take if feed else None,
            )
            verdict = self._answered
        except MCPError as error:
            silent = error.code in (NOT_SENT, CONNECTION_CLOSED, _TIMED_OUT)
            verdict = self._silent if silent else self._answered
            return self._judge(tool, error)
        finally:
            self.in_flight -= 1
            self.breaker = verdict()
            self._close_if_done()
            self._on_change()
        if feed:
            await feed.drain(int((result.meta or {}).get(PROGRESS_COUNT, 0)))
        return result

    def _given_up(self) -> Breaker:
        return self.breaker.left()

    def _answered(self) -> Breaker:
        return self.breaker.succeeded()

    def _silent(self) -> Breaker:
        return self.breaker.failed(anyio.current_time(), _BREAKER)

    def _judge(self, tool: Tool[Any, Any], error: MCPError) -> None:
        """Return where the call may be made again, else raise."""
        if error.code == NOT_SENT:
            return
        if error.code == _TIMED_OUT:
            raise DeadlineExceeded(f"{tool.service}.{tool.name} did not answer in time.")
        if error.code != CONNECTION_CLOSED:
            raise WireError(f"{tool.service}.{tool.name}: {error.message}")
        if not tool.idempotent:
            raise ServiceUnavailable(
                f"{self._peer.name} went away during {tool.name}; it may or may not be done."
            )


def _reply(tool: Tool[Any, ReplyT], result: CallToolResult) -> ReplyT:
    content: dict[str, Any] = result.structured_content or {}
    if result.is_error:
        fault: dict[str, str] = content.get("error") or {}
        raise error_from_code(
            fault.get("code", "wire_error"),
            fault.get("message") or f"{tool.service}.{tool.name} failed.",
            fault.get("hint", ""),
        )
    return tool.reply.model_validate(content)


class _ProgressFeed:
    """Hands progress on in the order it was sent.

    The SDK runs each callback in a task of its own: two can overtake each other, and the result
    can overtake them all.
    """

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._arrived: dict[int, str] = {}
        self._next = 1
        self._delivering = anyio.Lock()
        self._delivered = anyio.Event()

    async def take(self, progress: float, total: float | None, message: str | None) -> None:
        """Take one notification; `progress` counts them from 1."""
        del total
        self._arrived[int(progress)] = message or "{}"
        async with self._delivering:
            while (text := self._arrived.pop(self._next, None)) is not None:
                await self._on_progress(orjson.loads(text))
                self._next += 1
            delivered, self._delivered = self._delivered, anyio.Event()
            delivered.set()

    async def drain(self, count: int) -> None:
        """Wait until `count` notifications were handed on; they have all arrived by now."""
        while self._next <= count:
            await self._delivered.wait()
