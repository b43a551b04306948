"""Gives a step the external tools there are, as recorded: a replay is given the same.

A server that can't be reached costs its step a note and nothing else. Above: `tasks.engine`. Below:
`tasks.offers`; the execution servers, which keep the sessions, by way of `servers.steps`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, cast

from tale.errors import TaleError
from tale.tasks.durable import Json, Recorder
from tale.tasks.offers import wants_tools
from tale.tasks.task import Noted, Progress, Report, Step, ToolOffer
from tale.telemetry import get_logger

__all__ = ["Equip", "Equipping", "Listed", "Tells"]

log = get_logger(__name__)

_NOT_LISTED: Final = "The MCP servers can't be asked: {why} The task goes on without their tools."
_MISSING: Final = "The MCP server {server!r} can't be reached: {why}. The task goes on without it."


@dataclass(frozen=True, slots=True)
class Listed:
    """The tools there are, and the servers that can't be reached, each with the reason."""

    tools: tuple[ToolOffer, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict[str, str])


class Tells(Protocol):
    """Records and shows an event of the task; as `recorded_hands.Teller.tell`."""

    async def __call__(self, kind: str, data: Mapping[str, object], key: str | None = None) -> bool:
        """Tell it; False where one of that key is there already."""
        ...


Equip = Callable[[Step, Recorder, Tells], Awaitable[Step]]
"""Gives the step with its tools."""


class Equipping:
    """What gives steps their tools, where the user configured MCP servers."""

    def __init__(
        self, ask: Callable[[Step, Report], Awaitable[Listed]], servers: Collection[str]
    ) -> None:
        """Make one.

        Args:
            ask: Lists the tools; raises `TaleError` where that can't be done.
            servers: Names of the servers.
        """
        self._ask = ask
        self._servers = tuple(servers)

    async def __call__(self, step: Step, recorder: Recorder, tell: Tells) -> Step:
        """Give a step its tools; one that needs none costs nothing."""
        if not wants_tools(step, self._servers):
            return step

        async def report(progress: Progress) -> None:
            if isinstance(progress, Noted):
                await tell("note", {"text": progress.text})

        async def call() -> Json:
            try:
                return _write(await self._ask(step, report))
            except TaleError as error:
                log.warning("tools.not_listed", step=step.id, reason=error.message)
                return {"tools": [], "missing": {"": error.message}}

        listed = _read(await recorder.step("tools", call))
        for server, why in listed.missing.items():
            said = _MISSING if server else _NOT_LISTED
            text = said.format(server=server, why=why.rstrip(".") if server else why)
            await tell("note", {"text": text}, f"{step.id}:tools:{server}")
        return replace(step, tools=listed.tools)


def _write(listed: Listed) -> Json:
    tools = [
        {
            "server": each.server,
            "tool": each.tool,
            "description": each.description,
            "schema": cast("Json", each.schema),
            "read_only": each.read_only,
        }
        for each in listed.tools
    ]
    return cast("Json", {"tools": tools, "missing": dict(listed.missing)})


def _read(value: Json) -> Listed:
    record = cast("Mapping[str, Any]", value)
    return Listed(tuple(ToolOffer(**each) for each in record["tools"]), dict(record["missing"]))
