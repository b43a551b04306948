"""`POST /v1/chat/completions`: raw ASGI, one write a token and nothing between it and the backend.

Who answers is decided by `routing`, what goes wrong is told in OpenAI's way, and what it took is
noted by `recording`. Above: `openai_api`, `model_app`. Below: `ModelPool`, `chat_reply`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

import anyio
from starlette.types import Receive, Scope, Send

from tale import spans
from tale.errors import ContextExceeded, TaleError
from tale.models.answer import Answer, Completion
from tale.models.backend import ChatRequest
from tale.models.headers import (
    DEADLINE_HEADER,
    FELL_BACK_HEADER,
    KIND_HEADER,
    MODEL_HEADER,
    REASON_HEADER,
    REPEATABLE_HEADER,
    ROLE_HEADER,
)
from tale.models.ledger import Noting
from tale.models.model_pool import ModelPool
from tale.models.order import Order
from tale.servers.chat_reply import ChatReply, Headers
from tale.servers.http_body import Disconnected, cancel_when_gone, read_body
from tale.servers.model_spans import describe
from tale.servers.openai_shapes import ChatCall, parse_chat, parse_deadline
from tale.servers.openai_sse import EventWriter, completion_body
from tale.servers.recording import Recording
from tale.servers.routing import Asked, Routing, kind_named
from tale.servers.shortening import Shortened, Shortening
from tale.telemetry import get_logger

__all__ = ["CHAT_PATH", "ChatCompletions"]

log = get_logger(__name__)

CHAT_PATH: Final = "/v1/chat/completions"
_LOG_HINT: Final = "`tale logs models` has the traceback."


class ChatCompletions:
    """`POST /v1/chat/completions`, as an ASGI application."""

    def __init__(self, pool: ModelPool, routing: Routing, ledger: Noting | None = None) -> None:
        """Requests go to the pool as `routing` decides; a ledger notes what they took."""
        self._pool = pool
        self._routing = routing
        self._shortening = Shortening(pool)
        self._ledger = ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the generation stops when the client goes."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            body = await read_body(receive, _text(headers.get(b"content-length")))
        except Disconnected:
            return
        except TaleError as error:
            await ChatReply(send).error(error)
            return
        recording = Recording(headers)
        with spans.span("chat", calls=True) as span:
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(cancel_when_gone, receive, tasks.cancel_scope)
                    await self._answer(body, recording, ChatReply(send, recording.id))
                    tasks.cancel_scope.cancel()
            finally:
                self._note(recording, span)

    def _note(self, recording: Recording, span: spans.Span) -> None:
        """Keep what a request took, now that it has ended."""
        entries = recording.entries()
        if self._ledger is not None:
            for entry in entries:
                self._ledger.note(entry)
        if entries and recording.call is not None:
            describe(span, recording.call, entries[-1], recording.text)

    async def _answer(self, body: bytes, recording: Recording, reply: ChatReply) -> None:
        try:
            call = parse_chat(body)
            asked = _asked(recording)
            answer, why = await self._answered(call, asked, recording)
            if isinstance(answer, Answer):
                try:
                    await _send_stream(reply, call, answer, why, recording)
                finally:
                    await answer.aclose()
            else:
                recording.completed(answer)
                content = completion_body(recording.id, int(time.time()), answer)
                await reply.whole(200, content, _tale_headers(answer, why))
        except TaleError as error:
            log.info("chat.refused", code=error.code, reason=error.message)
            recording.failed(error)
            await reply.error(error)
        except Exception:
            # The dispatcher ends here: the caller gets a word, the log the traceback.
            log.exception("chat.crashed")
            error = TaleError("The models server failed.", hint=_LOG_HINT)
            recording.failed(error)
            await reply.error(error)

    async def _answered(
        self, call: ChatCall, asked: Asked, recording: Recording
    ) -> tuple[Answer | Completion, str]:
        """Have a call answered, and say why by whom.

        What fits no window is shortened and asked once more, whether that was estimated or a model
        said so: nothing has been sent to the client yet.
        """
        plan: _Plan | None = None
        try:
            plan = self._plan(call, asked, recording)
            return await self._ask(plan, asked.deadline), plan.why
        except ContextExceeded as error:
            if call.model != "auto" and not asked.session:
                raise
            short = await self._shortened(call, asked, recording, plan and error)
        log.info("chat.shortened", how=short.how)
        plan = self._plan(replace(call, request=short.request), asked, recording, short.how)
        return await self._ask(plan, asked.deadline), plan.why

    def _plan(self, call: ChatCall, asked: Asked, recording: Recording, how: str = "") -> _Plan:
        """Decide who answers; `how` says what was done to the request before."""
        decision, order, request = self._routing.plan(call, asked)
        recording.decided(call, decision, lambda name: self._pool.named(name)[1])
        chosen = decision.reason if call.model == "auto" else ""
        why = "; ".join(part for part in (how, chosen) if part)
        return _Plan(order, request, why, call.stream)

    async def _ask(self, plan: _Plan, deadline: float | None) -> Answer | Completion:
        ask = self._pool.chat if plan.stream else self._pool.complete
        return await ask(plan.order, plan.request, deadline)

    async def _shortened(
        self, call: ChatCall, asked: Asked, recording: Recording, said: ContextExceeded | None
    ) -> Shortened:
        """Shorten a request; `said` is what a model said that was sent it."""
        try:
            return await self._shortening.shorten(
                call, asked.kind, asked.deadline, recording.helped, refused=said is not None
            )
        except ContextExceeded as error:
            # The model has counted, where tale estimates.
            raise said or error from None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done about a call, and why."""

    order: Order
    request: ChatRequest
    why: str
    stream: bool


def _asked(recording: Recording) -> Asked:
    """Read what the headers say about a call."""
    return Asked(
        kind_named(recording.header(KIND_HEADER)),
        recording.session,
        recording.header(REPEATABLE_HEADER) == "1",
        parse_deadline(recording.header(DEADLINE_HEADER)),
    )


async def _send_stream(
    reply: ChatReply, call: ChatCall, answer: Answer, why: str, recording: Recording
) -> None:
    """Send an answer as it comes. An error in between is told inside the stream."""
    recording.answered_by(answer)
    writer = EventWriter(
        recording.id, int(time.time()), answer.model, include_usage=call.include_usage
    )
    await reply.begin_stream(_tale_headers(answer, why))
    try:
        async for chunk in answer.chunks:
            recording.saw(chunk)
            if event := writer.event(chunk):
                await reply.piece(event)
        recording.ended()
        last = writer.end()
    except TaleError as error:
        log.warning("chat.broke_off", model=answer.model, code=error.code, reason=error.message)
        recording.failed(error)
        last = writer.error(error)
    except Exception:
        log.exception("chat.crashed", model=answer.model)
        error = TaleError("The answer broke off.", hint=_LOG_HINT)
        recording.failed(error)
        last = writer.error(error)
    await reply.piece(last, more=False)


def _tale_headers(answer: Answer | Completion, why: str) -> Headers:
    """Say which model answered, and why."""
    reason = "; ".join(part for part in (why, answer.reason) if part)
    return [
        (name.encode(), value.encode("ascii", "replace"))
        for name, value in (
            (MODEL_HEADER, answer.model),
            (ROLE_HEADER, answer.role or ""),
            (REASON_HEADER, " ".join(reason.split())),
            (FELL_BACK_HEADER, "true" if answer.fell_back else "false"),
        )
    ]


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")
