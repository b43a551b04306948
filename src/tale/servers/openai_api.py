"""The models server over HTTP: OpenAI's `/v1`, and `/pool` for tale's own commands.

Handlers only: shapes are in `openai_shapes`, chat completions in `chat_completions`, all decisions
in the pool and the router. Above: `servers.model_app` puts the routes into an application. Below:
`ModelPool`, `Routing`.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tale.errors import InvalidRequest, UnknownModel
from tale.models.headers import DEADLINE_HEADER
from tale.models.ledger import Noting
from tale.models.model_pool import ModelPool
from tale.models.router import RouteRequest
from tale.servers.http_body import answering, body_of, json_reply, while_there
from tale.servers.openai_shapes import (
    parse_chat,
    parse_deadline,
    parse_name,
    parse_text,
    parse_texts,
)
from tale.servers.recording import own_entry
from tale.servers.routing import Routing

__all__ = ["model_routes", "pool_routes"]

_ROLES: Final = ("auto", "ux", "task")


class _Unsupported(InvalidRequest):
    """OpenAI has it, tale doesn't."""

    status = 501


class _CannotCount(InvalidRequest):
    """That model's server has no tokenizer for others, or the model isn't there now."""

    status = 503


def model_routes(pool: ModelPool) -> list[Route]:
    """Give the routes of `/v1`, chat completions apart."""
    started = int(time.time())

    async def models(request: Request) -> Response:
        del request
        data = [_model_fields(name, started) for name in dict.fromkeys((*_ROLES, *pool.names()))]
        return json_reply({"object": "list", "data": data})

    async def model(request: Request) -> Response:
        name = str(request.path_params["name"])
        if name not in (*_ROLES, *pool.names()):
            raise UnknownModel(
                f"No model named {name!r} is known.", hint="GET /v1/models lists them."
            )
        return json_reply(_model_fields(name, started))

    async def unsupported(request: Request) -> Response:
        raise _Unsupported(
            f"{request.url.path} is not supported: these models only chat.",
            hint="Use /v1/chat/completions.",
        )

    async def embed(request: Request) -> Response:
        # Nobody else needs the memory's vectors here.
        from tale.servers.embeddings import embeddings  # noqa: PLC0415

        return await embeddings(request)

    return [
        Route("/v1/models", answering(models), methods=["GET"]),
        Route("/v1/models/{name:path}", answering(model), methods=["GET"]),
        Route("/v1/completions", answering(unsupported), methods=["POST"]),
        Route("/v1/responses", answering(unsupported), methods=["POST"]),
        Route("/v1/embeddings", answering(embed), methods=["POST"]),
    ]


def pool_routes(pool: ModelPool, routing: Routing, ledger: Noting | None = None) -> list[Route]:
    """Give the routes of `/pool`; without a ledger nothing is noted."""

    async def status(request: Request) -> Response:
        del request
        return json_reply(await pool.status())

    async def load(request: Request) -> Response:
        name = parse_name(await body_of(request))
        await pool.load(name, parse_deadline(request.headers.get(DEADLINE_HEADER)))
        return json_reply(await pool.status())

    async def unload(request: Request) -> Response:
        name = parse_name(await body_of(request))
        await pool.unload(name)
        return json_reply(await pool.status())

    async def route(request: Request) -> Response:
        return json_reply(routing.decide(RouteRequest(parse_text(await body_of(request)))))

    return [
        Route("/pool", answering(status), methods=["GET"]),
        Route("/pool/route", answering(route), methods=["POST"]),
        Route("/pool/load", answering(load), methods=["POST"]),
        Route("/pool/unload", answering(unload), methods=["POST"]),
        *_quiet_routes(pool, ledger),
    ]


def _quiet_routes(pool: ModelPool, ledger: Noting | None) -> list[Route]:
    """Give the routes of what nobody waits for an answer of."""

    async def tokens(request: Request) -> Response:
        name, texts = parse_texts(await body_of(request))
        counts: list[int] = []
        for text in texts:
            count = await pool.count_tokens(name, text)
            if count is None:
                raise _CannotCount(f"The tokens of {name} can't be counted now.")
            counts.append(count)
        return json_reply({"counts": counts})

    async def ahead(request: Request) -> Response:
        call = parse_chat(await body_of(request))
        work = partial(pool.compute_ahead, call.model, call.request.messages)
        whole = await while_there(request, work)
        return json_reply({"whole": whole})

    async def spare(request: Request) -> Response:
        call = parse_chat(await body_of(request))
        at, begun = time.time(), time.monotonic()
        work = partial(pool.answer_in_spare_time, call.model, call.request)
        answer = await while_there(request, work)
        if answer is not None and ledger is not None:
            ledger.note(own_entry(call.request, answer, at, time.monotonic() - begun))
        return json_reply({"text": None if answer is None else answer.text})

    return [
        Route("/pool/tokens", answering(tokens), methods=["POST"]),
        Route("/pool/ahead", answering(ahead), methods=["POST"]),
        Route("/pool/spare", answering(spare), methods=["POST"]),
    ]


def _model_fields(name: str, created: int) -> dict[str, object]:
    return {"id": name, "object": "model", "created": created, "owned_by": "tale"}
