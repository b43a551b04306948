"""Tools of the MCP servers that the user configured: sessions kept open, opened again, bounded.

A server is started when it is first needed and stays. One that ended is started again by the next
call; a call that it left unanswered is made again only if its tool is harmless to repeat. Above:
`tasks.tools`. Below: `mcp_transport`, imported late.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, cast

import anyio
import anyio.abc
import anyio.to_thread

from tale.config_tasks import McpServerSettings
from tale.errors import InvalidRequest, ServiceUnavailable
from tale.tasks.hands import Outcome
from tale.tasks.mcp_session import Answer, ExternalTool, McpSession
from tale.tasks.redaction import redact
from tale.tasks.sandbox_output import Output
from tale.telemetry import get_logger

if TYPE_CHECKING:
    from tale.tasks.mcp_session import Connect

__all__ = ["McpTools"]

log = get_logger(__name__)

_TRANSPORT: Final = "tale.tasks.mcp_transport"
_KEPT: Final = 32 * 1024
_PATIENCE_SECONDS: Final = 10.0
"""How long a task waits for servers that start, before it goes on without them."""
_AGAIN_SECONDS: Final = 60.0
"""For so long after it failed a server isn't waited for again, only to list its tools."""


class McpTools:
    """Calls tools of external servers. Enter it before use; leaving ends the servers."""

    def __init__(
        self,
        servers: Mapping[str, McpServerSettings],
        *,
        connect: Connect | None = None,
        spill: Path | None = None,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        """Describe it.

        Args:
            servers: The servers, by name.
            connect: Opens a session; without, through the SDK.
            spill: Folder for answers that are too long.
            patience: How long `listed` waits for servers that start, in seconds.
        """
        self._patience = patience
        self._links = {
            name: _Link(name, settings, connect, spill)
            for name, settings in servers.items()
            if not settings.disabled
        }
        self._group: anyio.abc.TaskGroup | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the servers that are in use."""
        return tuple(self._links)

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        for link in self._links.values():
            self._group.start_soon(link.run)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._group is None:
            return None
        self._group.cancel_scope.cancel()
        return await self._group.__aexit__(kind, error, traceback)

    async def listed(self) -> tuple[tuple[ExternalTool, ...], dict[str, str]]:
        """Name the tools that may be used, and the servers that can't be reached, with the reason.

        Servers are started for it, all at once; one that takes its time goes on starting.
        """
        found: dict[str, McpSession | str] = {}

        async def ask(link: _Link) -> None:
            found[link.name] = f"it did not start within {self._patience:g} s"
            with anyio.move_on_after(self._patience):
                found[link.name] = link.failed_lately() or await link.session()

        async with anyio.create_task_group() as group:
            for link in self._links.values():
                group.start_soon(ask, link)
        tools: list[ExternalTool] = []
        missing: dict[str, str] = {}
        for name, link in self._links.items():
            session = found[name]
            if isinstance(session, str):
                missing[name] = session
            else:
                tools += [tool for tool in session.tools if link.rule(tool.name) != "deny"]
        return tuple(tools), missing

    async def call(self, server: str, tool: str, arguments: Mapping[str, object]) -> Outcome:
        """Call a tool; what goes wrong is an `Outcome` that is not ok."""
        link = self._links.get(server)
        if link is None:
            there = ", ".join(sorted(self._links)) or "none"
            return Outcome(False, f"There is no MCP server {server!r}. There are: {there}.")
        if link.rule(tool) == "deny":
            return Outcome(False, f"The user doesn't allow {server}.{tool}.")
        return await link.call(tool, arguments)


class _Link:
    """One server, and the task that owns its session."""

    def __init__(
        self,
        name: str,
        settings: McpServerSettings,
        connect: Connect | None,
        spill: Path | None,
    ) -> None:
        self.name = name
        self._spill = spill
        self._failed_at = -math.inf
        self._settings = settings
        self._connect = connect
        self._opened = False
        self._session: McpSession | None = None
        self._why = ""
        # Wanted: an attempt is to be made. Settled: it came to something. Idle: nothing is open.
        self._wanted = anyio.Event()
        self._settled = anyio.Event()
        self._idle = anyio.Event()
        self._scope = anyio.CancelScope()

    def rule(self, tool: str) -> str | None:
        """Give the user's word on a tool."""
        return self._settings.tools.get(tool, self._settings.permission)

    async def run(self) -> None:
        """Open the session whenever it is wanted, until cancelled."""
        while True:
            self._idle.set()
            await self._wanted.wait()
            self._idle = anyio.Event()
            self._why = f"no answer within {self._settings.start_seconds:g} s"
            with anyio.CancelScope() as self._scope:
                try:
                    await self._hold(self._scope)
                except Exception as error:  # noqa: BLE001 - a stranger's server must not end ours
                    self._why = self._hidden(_reason(error, self._settings))
            log.warning("mcp.ended", server=self.name, why=self._why)
            if not self._opened:
                self._failed_at = anyio.current_time()
            self._session = None
            self._wanted = anyio.Event()
            self._settled.set()

    async def _hold(self, scope: anyio.CancelScope) -> None:
        self._opened = False
        scope.deadline = anyio.current_time() + self._settings.start_seconds
        connect = self._connect or await anyio.to_thread.run_sync(_sdk)
        opened: AbstractAsyncContextManager[McpSession] = connect(self.name, self._settings)
        async with opened as session:
            scope.deadline = math.inf
            self._why = "it ended"
            self._opened = True
            self._session = session
            self._settled.set()
            log.info("mcp.opened", server=self.name, tools=len(session.tools))
            await session.closed()
            self._session = None

    def failed_lately(self) -> str:
        """Say why it could not be opened, if that is not long ago; empty where it may be tried."""
        lately = anyio.current_time() - self._failed_at < _AGAIN_SECONDS
        return self._why if lately and self._session is None else ""

    def _hidden(self, text: str) -> str:
        return redact(text, self._settings.secrets())

    async def session(self) -> McpSession | str:
        """Give the open session, or why there is none."""
        while self._session is None and self._wanted.is_set() and self._settled.is_set():
            await self._idle.wait()  # the former one is being put away
        if self._session is None:
            if not self._wanted.is_set():
                self._settled = anyio.Event()
                self._wanted.set()
            await self._settled.wait()
        return self._session or self._why

    async def call(self, tool: str, arguments: Mapping[str, object]) -> Outcome:
        """Call a tool, twice at most."""
        lost = ""
        for _ in range(2):
            session = await self.session()
            if isinstance(session, str):
                return Outcome(False, f"The MCP server {self.name!r} can't be reached: {session}.")
            known = next((one for one in session.tools if one.name == tool), None)
            if known is None:
                names = ", ".join(one.name for one in session.tools) or "none"
                return Outcome(False, f"{self.name!r} has no tool {tool!r}. It has: {names}.")
            try:
                return _bounded(await self._one(session, tool, arguments), self._spill)
            except InvalidRequest as error:
                return Outcome(False, f"{self.name}.{tool} was refused: {error.message}")
            except TimeoutError:
                seconds = self._settings.call_seconds
                return Outcome(False, f"{self.name}.{tool} gave no answer within {seconds:g} s.")
            except ServiceUnavailable as error:
                lost = self._hidden(error.message)
                log.warning("mcp.lost", server=self.name, tool=tool, why=lost)
                if not known.repeatable:
                    break
        return Outcome(
            False,
            f"The MCP server {self.name!r} ended during {tool} ({lost}): it may have been done, "
            "or not. Look before you do it again.",
        )

    async def _one(self, session: McpSession, tool: str, arguments: Mapping[str, object]) -> Answer:
        """Make one call; the session's end ends it too."""
        try:
            with anyio.fail_after(self._settings.call_seconds):
                return await session.call(tool, arguments)
        except ServiceUnavailable:
            if self._session is session:
                self._session = None
                self._scope.cancel()
            raise


def _bounded(answer: Answer, spill: Path | None) -> Outcome:
    """Bound an answer; all of a longer one goes to a file, if the disk takes it."""
    data = answer.text.encode(errors="replace")
    with Output(_KEPT, max(len(data), 1), spill) as output:
        output.feed(data)
        note = f"All of the answer: {output.path}" if output.path else ""
        return Outcome(answer.ok, output.text() or "(no output)", note=note)


def _reason(error: BaseException, settings: McpServerSettings) -> str:
    """Say what went wrong inside of task groups; not every event loop names the program."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if settings.command and isinstance(error, (FileNotFoundError, PermissionError)):
        where = f" in {settings.cwd}" if settings.cwd else ""
        return f"{settings.command!r} can't be started{where}: {error.strerror}"
    return str(error).rstrip(".") or type(error).__name__


def _sdk() -> Connect:
    return cast("Connect", importlib.import_module(_TRANSPORT).connect)
