"""What steps ask for, between the gateway and the execution servers: values, and wire between.

Above: `servers.gateway` (calls), `servers.execution` (serves). Below: `wire.contracts`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

import anyio
from pydantic import BaseModel, ValidationError

from tale.errors import DeadlineExceeded, ServiceUnavailable, TaleError
from tale.tasks.equip import Listed
from tale.tasks.hands import Action, Outcome, Question, Reply
from tale.tasks.hands_json import read_outcome, read_reply, write_action, write_question
from tale.tasks.task import (
    Began,
    FileWritten,
    Noted,
    Progress,
    Report,
    Step,
    TokenSaid,
    ToolOffer,
)
from tale.telemetry import get_logger
from tale.wire.execution_contracts import ACT, ASK, ActRequest, AskRequest, WorkRequest
from tale.wire.peers import PeerSource
from tale.wire.presence import absence_of, presence_of
from tale.wire.tool import Tool
from tale.wire.tool_contracts import TOOLS, TOOLS_SECONDS

__all__ = [
    "RemoteWorkers",
    "ToolCaller",
    "read_progress",
    "read_step",
    "write_progress",
]

log = get_logger(__name__)

RequestT = TypeVar("RequestT", bound=BaseModel)
ReplyT = TypeVar("ReplyT", bound=BaseModel)
WorkT = TypeVar("WorkT", bound=WorkRequest)

_ACT_AGAIN: Final = replace(ACT, idempotent=True)
"""For actions that do no harm when they are done twice."""

_GRACE_SECONDS: Final = 1.0
"""An execution server that was killed is back within 0.1 to 2 s, depending on how it is started."""
_WAITING: Final = (
    "No execution server is there just now. The task waits and goes on by itself once one is; "
    "`tale status` shows why."
)


class ToolCaller(Protocol):
    """Calls tools of other servers; `wire.pool.Services` is one."""

    async def call(
        self,
        tool: Tool[RequestT, ReplyT],
        request: RequestT,
        *,
        deadline: float,
        on_progress: Callable[[Mapping[str, object]], Awaitable[None]] | None = None,
    ) -> ReplyT:
        """Call a tool; raises `tale.errors.TaleError`s."""
        ...


class RemoteWorkers:
    """Has things done by the execution servers: the engine's `Workers`.

    While none is there a call waits, however long, and its task is told so. The time that it may
    take counts from when a server takes it.
    """

    def __init__(
        self,
        services: ToolCaller,
        source: PeerSource,
        *,
        deadline: float,
        grace: float = _GRACE_SECONDS,
    ) -> None:
        """Make them.

        Args:
            services: Calls the execution servers.
            source: Tells which are ready.
            deadline: The time one call may take, in seconds.
            grace: How long none may be ready before the task is told, in seconds.
        """
        self._services = services
        self._source = source
        self._deadline = deadline
        self._grace = grace

    async def ask(self, step: Step, question: Question, report: Report) -> Reply:
        """Ask on the least loaded execution server, again where one dies meanwhile."""
        request = AskRequest(**_who(step), question=write_question(question))
        while (reply := await self._call(ASK, request, report)) is None:
            log.info("step.handed_out_anew", step=step.id)
        return read_reply(reply.reply)

    async def act(self, step: Step, action: Action, report: Report, *, repeatable: bool) -> Outcome:
        """Act on the least loaded execution server; again only what is repeatable."""
        request = ActRequest(**_who(step), action=write_action(action))
        tool = _ACT_AGAIN if repeatable else ACT
        while (reply := await self._call(tool, request, report)) is None:
            if not repeatable:
                raise ServiceUnavailable("The execution server went away in the middle of it.")
            log.info("step.handed_out_anew", step=step.id)
        return read_outcome(reply.outcome)

    async def listed(self, step: Step, report: Report) -> Listed:
        """List the tools of the user's MCP servers, on the least loaded execution server."""
        request = WorkRequest(**_who(step))
        while (reply := await self._call(TOOLS, request, report, TOOLS_SECONDS)) is None:
            log.info("step.handed_out_anew", step=step.id)
        offers = (
            ToolOffer(one.server, one.tool, one.description, one.arguments, one.read_only)
            for one in reply.tools
        )
        return Listed(tuple(offers), reply.missing)

    async def _call(
        self,
        tool: Tool[WorkT, ReplyT],
        request: WorkT,
        report: Report,
        deadline: float | None = None,
    ) -> ReplyT | None:
        """Call a server once one is there; None where then none was, for longer than the grace.

        Such a call begins anew anyway, and is given its whole time for that.
        """
        heard = False

        async def on_progress(data: Mapping[str, object]) -> None:
            nonlocal heard
            heard = True
            if (progress := read_progress(data)) is not None:
                await report(progress)

        async def late() -> None:
            if not heard:
                log.warning("step.waiting_for_execution", task=request.task)
                await report(Noted(_WAITING))

        async def leave_after_absence(scope: anyio.CancelScope) -> None:
            nonlocal heard
            while True:
                await absence_of(self._source, tool.service)
                # Who is told to leave takes no more calls, but finishes those it has.
                heard = False
                was_late = await presence_of(self._source, tool.service, late, grace=self._grace)
                if was_late and not heard:
                    scope.cancel()

        await presence_of(self._source, tool.service, late, grace=self._grace)
        reply: ReplyT | None = None
        failure: TaleError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave_after_absence, tasks.cancel_scope)
            try:
                reply = await self._services.call(
                    tool, request, deadline=deadline or self._deadline, on_progress=on_progress
                )
            except TaleError as error:
                failure = error
            tasks.cancel_scope.cancel()
        absent = not self._source.peers.of(tool.service)
        if failure and not (absent and isinstance(failure, DeadlineExceeded)):
            raise failure
        return reply


def _who(step: Step) -> dict[str, Any]:
    return {
        "task": step.task,
        "subtask": step.subtask,
        "workspace": step.workspace,
        "role": step.role,
        "kind": step.kind,
        "session": step.session,
        "anywhere": step.anywhere,
    }


def read_step(request: WorkRequest) -> Step:
    """Take a step off the wire, without its text, which who works for it does not need."""
    return Step(
        request.task,
        "",
        request.workspace,
        request.role,
        request.kind,
        request.session,
        subtask=request.subtask,
        anywhere=request.anywhere,
    )


def write_progress(progress: Progress) -> Mapping[str, object]:
    """Put progress on the wire; `read_progress` is its inverse."""
    match progress:
        case Began():
            return {"began": True}
        case TokenSaid(text):
            return {"token": text}
        case FileWritten(path, size):
            return {"file": path, "bytes": size}
        case Noted(text):
            return {"note": text}


class _OnWire(BaseModel):
    began: bool = False
    token: str | None = None
    file: str | None = None
    bytes: int = 0
    note: str | None = None


def read_progress(data: Mapping[str, object]) -> Progress | None:
    """Take progress off the wire; None where it is of a kind that is not known here."""
    try:
        seen = _OnWire.model_validate(data)
    except ValidationError:
        seen = _OnWire()
    if seen.token is not None:
        return TokenSaid(seen.token)
    if seen.file is not None:
        return FileWritten(seen.file, seen.bytes)
    if seen.note is not None:
        return Noted(seen.note)
    if seen.began:
        return Began()
    log.warning("step.progress_not_understood", keys=sorted(data))
    return None
