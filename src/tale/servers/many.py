"""The batched form of a tool: a list of requests in, a list of outcomes out, done at once.

Each outcome is a reply or an error of its own: one bad request spoils nothing for the others.
Above: `mcp_app`, which serves it beside the tool itself. The caller: `wire.coalesce`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field

from tale.wire.leash import Fault
from tale.wire.tool import MANY, Tool

__all__ = ["Many", "ManyRequests", "Outcome", "Outcomes", "many_form"]

_MOST = 1024

_Progress = Callable[[Mapping[str, object]], Awaitable[None]]
_Handler = Callable[[Any, _Progress], Awaitable[BaseModel]]
_Guarded = Callable[
    [Tool[Any, Any], _Handler, Mapping[str, Any], _Progress], Awaitable[BaseModel | Fault]
]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ManyRequests(_Shape):
    """Requests of one tool."""

    requests: tuple[dict[str, Any], ...] = Field(
        max_length=_MOST, description="Each as the tool itself takes it."
    )


class Outcome(_Shape):
    """What came of one request: the tool's reply, or an error."""

    reply: dict[str, Any] | None = None
    error: Fault | None = None


class Outcomes(_Shape):
    """One outcome for each request, in the same order."""

    outcomes: tuple[Outcome, ...]


def many_form(tool: Tool[Any, Any]) -> Tool[ManyRequests, Outcomes]:
    """Describe the batched form of a tool."""
    return Tool(
        tool.service,
        tool.name + MANY,
        f"{tool.summary} Many at once; each has an outcome of its own.",
        ManyRequests,
        Outcomes,
        idempotent=tool.idempotent,
        title=f"{tool.title}, many at once" if tool.title else "",
        effect=tool.effect,
        listed=False,
    )


class Many:
    """The handler of a batched form."""

    def __init__(self, tool: Tool[Any, Any], handler: _Handler, guarded: _Guarded) -> None:
        """Wrap a tool's handler.

        Args:
            tool: The tool itself.
            handler: Does one request.
            guarded: Runs it and turns what it raises into a word for the caller.
        """
        self._tool = tool
        self._handler = handler
        self._guarded = guarded

    async def __call__(self, request: ManyRequests, progress: _Progress) -> Outcomes:
        """Do all requests at once."""
        outcomes: list[Outcome] = [Outcome()] * len(request.requests)

        async def do(place: int, arguments: Mapping[str, Any]) -> None:
            done = await self._guarded(self._tool, self._handler, arguments, progress)
            outcomes[place] = (
                Outcome(error=done)
                if isinstance(done, Fault)
                else Outcome(reply=done.model_dump(mode="json"))
            )

        async with anyio.create_task_group() as tasks:
            for place, arguments in enumerate(request.requests):
                tasks.start_soon(do, place, arguments)
        return Outcomes(outcomes=tuple(outcomes))
