"""Calls made at the same moment, sent as one: the batched form of a tool.

Whoever calls a batched tool joins the batch that leaves at the event loop's next turn. Each caller
gets its own reply or its own error, and may leave without the others noticing; the last one who
leaves ends the call. The shapes are those of `NAME_many`, which `servers.mcp_app` serves. Above:
`pool`, which sends a batch like any other call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import anyio
import anyio.abc

from tale.errors import TaleError, WireError, error_from_code
from tale.wire.loose import as_list, as_object
from tale.wire.tool import MANY, Tool

__all__ = ["Batches", "Send", "fault_of", "outcome_of"]

Send = Callable[[Tool[Any, Any], str, bytes, float], Awaitable[Mapping[str, Any]]]
"""Calls a tool, under this name and with these arguments, within so many seconds."""

_LARGEST: Final = 256


class _Member:
    """One caller's part of a batch."""

    def __init__(self, arguments: bytes, ends: float) -> None:
        self.arguments = arguments
        self.ends = ends
        self.done = anyio.Event()
        self.outcome: Mapping[str, Any] | TaleError | None = None
        self.left = False

    def settle(self, outcome: Mapping[str, Any] | TaleError) -> None:
        self.outcome = outcome
        self.done.set()


class _Batch:
    def __init__(self) -> None:
        self.members: list[_Member] = []
        self.scope = anyio.CancelScope()

    def leave(self, member: _Member) -> None:
        member.left = True
        if all(one.left for one in self.members):
            self.scope.cancel()


class Batches:
    """Gathers calls of batched tools, and sends them in a task group that is not the callers'."""

    def __init__(self, tasks: anyio.abc.TaskGroup, send: Send) -> None:
        """Have nothing to send yet.

        Args:
            tasks: Where the sending runs.
            send: Makes one call.
        """
        self._tasks = tasks
        self._send = send
        self._gathering: dict[str, _Batch] = {}

    async def call(self, tool: Tool[Any, Any], arguments: bytes, ends: float) -> Mapping[str, Any]:
        """Call a tool together with whoever else calls it now.

        Args:
            tool: A batched one.
            arguments: A JSON object.
            ends: When the caller gives up, by the event loop's clock.

        Raises:
            TaleError: What came of this caller's part.
        """
        key = f"{tool.service}.{tool.name}"
        batch = self._gathering.get(key)
        if batch is None:
            batch = self._gathering[key] = _Batch()
            self._tasks.start_soon(self._run, tool, key, batch)
        member = _Member(arguments, ends)
        batch.members.append(member)
        if len(batch.members) >= _LARGEST:
            del self._gathering[key]
        try:
            await member.done.wait()
        finally:
            batch.leave(member)
        if isinstance(member.outcome, TaleError):
            # Made anew for each: one exception raised in many tasks would share a traceback.
            raise type(member.outcome)(member.outcome.message, hint=member.outcome.hint)
        return member.outcome or {}

    async def _run(self, tool: Tool[Any, Any], key: str, batch: _Batch) -> None:
        if self._gathering.get(key) is batch:
            del self._gathering[key]
        with batch.scope:
            await self._settle(tool, batch)

    async def _settle(self, tool: Tool[Any, Any], batch: _Batch) -> None:
        members = [one for one in batch.members if not one.left]
        ends = max((one.ends for one in members), default=0.0)
        left = max(0.0, ends - anyio.current_time())
        try:
            if len(members) == 1:
                members[0].settle(await self._send(tool, tool.name, members[0].arguments, left))
                return
            requests = b'{"requests":[' + b",".join(one.arguments for one in members) + b"]}"
            content = await self._send(tool, tool.name + MANY, requests, left)
            outcomes = as_list(content.get("outcomes"))
            if len(outcomes) != len(members):
                raise WireError(
                    f"{tool.service}.{tool.name} gave not as many outcomes as it got requests."
                )
            for one, outcome in zip(members, outcomes, strict=True):
                one.settle(outcome_of(outcome))
        except TaleError as error:
            for one in members:
                one.settle(error)


def outcome_of(outcome: object) -> Mapping[str, Any] | TaleError:
    """Read one caller's part of a batch's answer: its reply, or the error that it is to see."""
    parts = as_object(outcome)
    if parts.get("error") is None:
        return as_object(parts.get("reply"))
    return fault_of(as_object(parts["error"]), "The call")


def fault_of(fault: Mapping[str, Any], what: str) -> TaleError:
    """Rebuild the error that a server put into its answer about `what`."""
    message = str(fault.get("message") or f"{what} failed and did not say why.")
    return error_from_code(
        str(fault.get("code", WireError.code)), message, str(fault.get("hint", ""))
    )
