"""A question to the user of an MCP client in the middle of a call: the protocol's elicitation.

Up to revision 2025-11-25 the server sends `elicitation/create` on the stream of the call, and waits
for the answer there. From 2026-07-28 on servers send no requests: the call is answered with
`input_required`, and the client makes it again with what its user said, so that nothing waits here
meanwhile. A client that did not declare that it elicits is asked nothing. Above: `mcp_app`. What is
asked, and what an answer does, is for whoever serves the tool to say: `approving`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol, TypeVar

import anyio
import mcp_types as types
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ValidationError

from tale.errors import TaleError
from tale.telemetry import get_logger

__all__ = ["Asking", "Asks", "Filled", "Form", "may_ask"]

log = get_logger(__name__)

_MOST_ROUNDS: Final = 8
"""Questions in one call: clients made with the official SDKs give the call up after ten."""
_PATIENCE_SECONDS: Final = 600.0
"""For an answer on the stream of a call. The client may be gone by then, and its call, whose
stream can be taken up again, ends with nothing else."""
_NAME: Final = "word"
"""Under which the only question of an `input_required` stands, and its answer."""

_Progress = Callable[[Mapping[str, object]], Awaitable[None]]
_Handler = Callable[[Any, _Progress], Awaitable[BaseModel]]
RequestT_contra = TypeVar("RequestT_contra", bound=BaseModel, contravariant=True)
ReplyT_contra = TypeVar("ReplyT_contra", bound=BaseModel, contravariant=True)


@dataclass(frozen=True, slots=True)
class Form:
    """A question.

    Attributes:
        key: Names it: in one call the same is asked once.
        message: What the user reads.
        schema: JSON schema of the fields that they fill in, flat as the protocol has them.
    """

    key: str
    message: str
    schema: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Filled:
    """What the user made of it: filled it in, declined, or closed it without a word."""

    action: Literal["accept", "decline", "cancel"]
    fields: Mapping[str, object] = field(default_factory=dict[str, object])


class Asks(Protocol[RequestT_contra, ReplyT_contra]):
    """Knows what the user is to be asked about a reply."""

    async def form(self, request: RequestT_contra, reply: ReplyT_contra) -> Form | None:
        """Give the question; None where there is none."""
        ...

    async def take(self, request: RequestT_contra, key: str, filled: Filled) -> None:
        """Take the answer to the question of that key, which may be an old one.

        Raises:
            TaleError: It is not taken.
        """
        ...

    async def settled(self, request: RequestT_contra, reply: ReplyT_contra) -> None:
        """Wait until the question needs no answer any more."""
        ...


def may_ask(context: ServerRequestContext[Any]) -> bool:
    """Tell whether a call's client shows forms to its user."""
    declared = context.session.client_capabilities
    elicits = declared.elicitation if declared else None
    # A client that says nothing more of it has forms, as before there were URLs.
    if elicits is None or (elicits.form is None and elicits.url is not None):
        return False
    return _is_modern(context) or context.session.can_send_request


class Asking:
    """The handler of one call whose client's user can be asked."""

    def __init__(
        self,
        handler: _Handler,
        asks: Asks[Any, Any],
        context: ServerRequestContext[Any],
        params: types.CallToolRequestParams,
    ) -> None:
        """Wrap a handler.

        Args:
            handler: Gives the replies; it is called again after each answer.
            asks: Knows what is to be asked.
            context: The call.
            params: What came with it: the answer, where the client makes it again.
        """
        self._handler = handler
        self._asks = asks
        self._context = context
        self._params = params
        self.refused: list[str] = []
        """Why answers were not taken, as far as the user wasn't told in another form."""

    async def __call__(self, request: BaseModel, progress: _Progress) -> BaseModel:
        """Give the reply once there is nothing to ask; or the `InputRequiredResult` that asks."""
        rounds, seen = _read_state(self._params.request_state)
        said = (self._params.input_responses or {}).get(_NAME)
        if seen and isinstance(said, types.ElicitResult):
            await self._take(request, seen, _filled(said))
        while True:
            reply = await self._handler(request, progress)
            form = await self._asks.form(request, reply)
            if form is None or form.key == seen or rounds >= _MOST_ROUNDS:
                return reply
            rounds, seen = rounds + 1, form.key
            form = replace(form, message="\n\n".join([*self.refused, form.message]))
            self.refused.clear()
            if _is_modern(self._context):
                return types.InputRequiredResult(
                    input_requests={_NAME: _request(form)},
                    request_state=f"{rounds} {form.key}",
                )
            if not await self._ask(request, reply, form):
                return reply

    async def _ask(self, request: BaseModel, reply: BaseModel, form: Form) -> bool:
        """Ask on the stream of the call; tells whether there may be news of it now."""
        filled: Filled | None = None
        settled = False

        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                nonlocal settled
                await self._asks.settled(request, reply)
                settled = True
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            filled = await self._elicited(form)
            tasks.cancel_scope.cancel()
        if filled is not None and filled.action != "cancel":
            await self._take(request, form.key, filled)
            return True
        return settled

    async def _elicited(self, form: Form) -> Filled | None:
        """Give what the user made of it; None where the client has no answer."""
        with anyio.move_on_after(_PATIENCE_SECONDS):
            try:
                said = await self._context.session.elicit_form(
                    form.message, dict(form.schema), self._context.request_id
                )
            except (MCPError, ValidationError) as error:
                log.info("elicitation.unanswered", error=str(error))
                return None
            return _filled(said)
        return None

    async def _take(self, request: BaseModel, key: str, filled: Filled) -> None:
        if filled.action == "cancel":
            return
        try:
            await self._asks.take(request, key, filled)
        except TaleError as error:
            told = f"Your answer was not taken: {error.message} {error.hint or ''}"
            self.refused.append(told.rstrip())


def _is_modern(context: ServerRequestContext[Any]) -> bool:
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS


def _request(form: Form) -> types.ElicitRequest:
    params = types.ElicitRequestFormParams(message=form.message, requested_schema=dict(form.schema))
    return types.ElicitRequest(params=params)


def _filled(said: types.ElicitResult) -> Filled:
    return Filled(said.action, dict(said.content or {}))


def _read_state(state: str | None) -> tuple[int, str]:
    """Read what an `input_required` gave its client to bring back: questions so far, and the last.

    It is not sealed: who may call this tool may as well give the answer by another one, and a
    question that is not asked just now is refused.
    """
    rounds, _, key = (state or "").partition(" ")
    if not (rounds.isascii() and rounds.isdecimal()) or len(rounds) > 3:
        return (_MOST_ROUNDS, "") if state else (0, "")
    return int(rounds), key
