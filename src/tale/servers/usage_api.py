"""The ledger over HTTP: what the models took, and a late word about an answer.

`GET /pool/usage?since=<unix seconds>` gives a `models.usage.UsageReport`; `GET /pool/trend` gives a
`models.trend.Trend`, of requests only those after `?after=<number>`. `POST /pool/outcome` with
`{"id": …, "ok": true}` says whether the answer of that request (`x-tale-request`) was good. Above:
`model_app`. Below: `Ledger`.
"""

from __future__ import annotations

import math
from typing import cast

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tale.errors import InvalidRequest
from tale.models.ledger import Ledger
from tale.servers.http_body import answering, body_of, json_reply

__all__ = ["usage_routes"]


def usage_routes(ledger: Ledger) -> list[Route]:
    """Give the routes."""

    async def usage(request: Request) -> Response:
        return json_reply(await ledger.usage(_since(request.query_params.get("since"))))

    async def trend(request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not after.isdecimal() or len(after) > 18:
            message = f"after must be the number of a request, not {after!r}."
            raise InvalidRequest(message, param="after")
        return json_reply(await ledger.trend(int(after)))

    async def outcome(request: Request) -> Response:
        body = await body_of(request)
        ledger.outcome(*_word(body))
        return Response(b"{}", media_type="application/json")

    return [
        Route("/pool/usage", answering(usage), methods=["GET"]),
        Route("/pool/trend", answering(trend), methods=["GET"]),
        Route("/pool/outcome", answering(outcome), methods=["POST"]),
    ]


def _since(text: str | None) -> float | None:
    if not text:
        return None
    try:
        since = float(text)
    except ValueError:
        since = math.nan
    if not 0 <= since < math.inf:
        raise InvalidRequest(f"since must be a Unix time in seconds, not {text!r}.", param="since")
    return since


def _word(body: bytes) -> tuple[str, bool]:
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON in UTF-8: {error}.") from error
    fields = cast("dict[str, object]", found) if isinstance(found, dict) else {}
    request_id, ok = fields.get("id"), fields.get("ok")
    if not isinstance(request_id, str) or not request_id:
        raise InvalidRequest("id must be the id of a request (x-tale-request).", param="id")
    if not isinstance(ok, bool):
        raise InvalidRequest("ok must be true or false.", param="ok")
    return request_id, ok
