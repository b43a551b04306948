"""The models server over HTTP: OpenAI's `/v1`, and `/pool` for tale's own commands.

Handlers only: shapes are in `openai_shapes` and `openai_sse`, all decisions in the pool and the
router. Chat completions are raw ASGI, one write a token and nothing between it and the backend.
Above: `servers.model_app` puts the routes into an application. Below: `ModelPool`, `recording`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tale.errors import InvalidRequest, TaleError, UnknownModel
from tale.models.answer import Answer, Completion
from tale.models.headers import (
    DEADLINE_HEADER,
    FELL_BACK_HEADER,
    MODEL_HEADER,
    REASON_HEADER,
    ROLE_HEADER,
)
from tale.models.ledger import Noting
from tale.models.model_pool import ModelPool
from tale.models.router import Refusal, RouteRequest, route
from tale.servers.chat_reply import ChatReply, Headers
from tale.servers.openai_shapes import ChatCall, parse_chat, parse_deadline, parse_name
from tale.servers.openai_sse import EventWriter, completion_body, error_body
from tale.servers.recording import Recording
from tale.telemetry import get_logger

__all__ = [
    "CHAT_PATH",
    "MAX_BODY",
    "ChatCompletions",
    "answering",
    "http_error",
    "model_routes",
    "read_body",
]

log = get_logger(__name__)

MAX_BODY: Final = 8 << 20
"""Largest request body in bytes; a prompt that fills a window of a million tokens is smaller."""

_ROLES: Final = ("auto", "ux", "task")
_LOG_HINT: Final = "`tale logs models` has the traceback."


class _TooLarge(InvalidRequest):
    """The body is over the limit."""

    status = 413


class _Unsupported(InvalidRequest):
    """OpenAI has it, tale doesn't."""

    status = 501


class _NotFound(InvalidRequest):
    """Nothing is served there, or not with this method."""

    status = 404


class _Disconnected(Exception):
    """The client is gone."""


CHAT_PATH: Final = "/v1/chat/completions"


def model_routes(pool: ModelPool, ledger: Noting | None = None) -> list[Route]:
    """Give the routes of `/v1` and `/pool`."""
    started = int(time.time())

    async def models(request: Request) -> Response:
        del request
        data = [_model_fields(name, started) for name in dict.fromkeys((*_ROLES, *pool.names()))]
        return _json({"object": "list", "data": data})

    async def model(request: Request) -> Response:
        name = str(request.path_params["name"])
        if name not in (*_ROLES, *pool.names()):
            raise UnknownModel(
                f"No model named {name!r} is known.", hint="GET /v1/models lists them."
            )
        return _json(_model_fields(name, started))

    async def status(request: Request) -> Response:
        del request
        return _json(await pool.status())

    async def load(request: Request) -> Response:
        name = parse_name(await read_body(request.receive, request.headers.get("content-length")))
        await pool.load(name, parse_deadline(request.headers.get(DEADLINE_HEADER)))
        return _json(await pool.status())

    async def unload(request: Request) -> Response:
        name = parse_name(await read_body(request.receive, request.headers.get("content-length")))
        await pool.unload(name)
        return _json(await pool.status())

    async def unsupported(request: Request) -> Response:
        raise _Unsupported(
            f"{request.url.path} is not supported: these models only chat.",
            hint="Use /v1/chat/completions.",
        )

    return [
        Route(CHAT_PATH, ChatCompletions(pool, ledger), methods=["POST"]),
        Route("/v1/models", answering(models), methods=["GET"]),
        Route("/v1/models/{name:path}", answering(model), methods=["GET"]),
        Route("/v1/completions", answering(unsupported), methods=["POST"]),
        Route("/v1/embeddings", answering(unsupported), methods=["POST"]),
        Route("/pool", answering(status), methods=["GET"]),
        Route("/pool/load", answering(load), methods=["POST"]),
        Route("/pool/unload", answering(unload), methods=["POST"]),
    ]


async def http_error(request: Request, error: Exception) -> Response:
    """Give Starlette's own errors (no such path, wrong method) OpenAI's shape."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    found = _NotFound(
        f"{request.method} {request.url.path} is not served here.",
        hint="POST /v1/chat/completions, GET /v1/models, GET /pool.",
    )
    return Response(error_body(found, status), status, media_type="application/json")


def answering(
    handler: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Turn what a handler raises into an error body."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except TaleError as error:
            headers = {"x-should-retry": "false"}
            body = error_body(error)
            return Response(body, error.status, headers, media_type="application/json")

    return answer


class ChatCompletions:
    """`POST /v1/chat/completions`, as an ASGI application."""

    def __init__(self, pool: ModelPool, ledger: Noting | None = None) -> None:
        """Requests go to the pool; what they took is noted in the ledger, if there is one."""
        self._pool = pool
        self._ledger = ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the generation stops when the client goes."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            body = await read_body(receive, _text(headers.get(b"content-length")))
        except _Disconnected:
            return
        except TaleError as error:
            await ChatReply(send).error(error)
            return
        recording = Recording(headers)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
                await self._answer(body, recording, ChatReply(send, recording.id))
                tasks.cancel_scope.cancel()
        finally:
            if self._ledger is not None and (entry := recording.entry()):
                self._ledger.note(entry)

    async def _answer(self, body: bytes, recording: Recording, reply: ChatReply) -> None:
        try:
            call = parse_chat(body)
            deadline = parse_deadline(recording.header(DEADLINE_HEADER))
            target, why = _target(call)
            recording.asked(call, *self._pool.named(target))
            if call.stream:
                answer = await self._pool.chat(target, call.request, deadline)
                try:
                    await _send_stream(reply, call, answer, why, recording)
                finally:
                    await answer.aclose()
            else:
                whole = await self._pool.complete(target, call.request, deadline)
                recording.completed(whole)
                content = completion_body(recording.id, int(time.time()), whole)
                await reply.whole(200, content, _tale_headers(whole, why))
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


def _target(call: ChatCall) -> tuple[str, str]:
    """Pick whom to ask, and why if that was ours to pick."""
    if call.model != "auto":
        return call.model, ""
    wants_tools = bool(call.request.options.get("tools"))
    decision = route(RouteRequest(call.last_user_text, wants_tools))
    if isinstance(decision, Refusal):
        raise decision.error
    return decision.target, decision.reason


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


async def read_body(receive: Receive, announced: str | None) -> bytes:
    """Read a whole body.

    Raises:
        InvalidRequest: It is larger than `MAX_BODY` (413).
    """
    if announced and announced.isdigit() and int(announced) > MAX_BODY:
        raise _too_large()
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > MAX_BODY:
            raise _too_large()
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    log.debug("chat.client_gone")
    scope.cancel()


def _too_large() -> _TooLarge:
    return _TooLarge(
        f"The body is larger than {MAX_BODY >> 20} MiB.",
        hint="No model's window holds that much; send the part that matters.",
    )


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


def _model_fields(name: str, created: int) -> dict[str, object]:
    return {"id": name, "object": "model", "created": created, "owned_by": "tale"}


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")
