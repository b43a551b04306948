"""Who may come in through the door of a server."""

from __future__ import annotations

import json

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message

from tale.servers.guard import Guard, refusal

TOKEN = "right"
GOOD = {"host": "127.0.0.1:7433", "authorization": "Bearer right"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:7433", "localhost:1", "[::1]:7433"])
def test_loopback_names_may_come_in(host: str) -> None:
    assert refusal(Headers({**GOOD, "host": host}), TOKEN) is None


@pytest.mark.parametrize("host", ["", "example.org", "127.0.0.1.example.org", "evil@example.org:1"])
def test_a_foreign_host_is_refused(host: str) -> None:
    judged = refusal(Headers({**GOOD, "host": host}), TOKEN)
    assert judged is not None
    assert judged[:2] == (403, "forbidden_host")


@pytest.mark.parametrize("origin", ["https://example.org", "null", "file://", "http://[bad"])
def test_a_foreign_origin_is_refused(origin: str) -> None:
    judged = refusal(Headers({**GOOD, "origin": origin}), TOKEN)
    assert judged is not None
    assert judged[:2] == (403, "forbidden_origin")


def test_a_page_of_this_machine_may_come_in() -> None:
    assert refusal(Headers({**GOOD, "origin": "http://localhost:3000"}), TOKEN) is None


@pytest.mark.parametrize(
    "authorization", ["", "right", "Basic right", "Bearer wrong", "Bearer ", "Bearer rightmore"]
)
def test_a_missing_or_wrong_token_is_401(authorization: str) -> None:
    judged = refusal(Headers({**GOOD, "authorization": authorization}), TOKEN)
    assert judged is not None
    assert judged[:2] == (401, "unauthorized")


async def _get(path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "headers": raw, "query_string": b""}
    await Guard(Starlette(routes=[Route("/", hello)]), TOKEN)(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.anyio
async def test_the_application_answers_who_may_come_in() -> None:
    assert await _get("/", GOOD) == (200, b"hello")


@pytest.mark.anyio
async def test_a_refusal_says_what_to_do_in_the_shape_of_openai() -> None:
    status, body = await _get("/", {**GOOD, "authorization": ""})
    error = json.loads(body)["error"]
    assert status == 401
    assert error["code"] == "unauthorized"
    assert error["message"]
    assert error["hint"]


@pytest.mark.anyio
async def test_health_is_open() -> None:
    assert await _get("/healthz", {}) == (200, b'{"status":"ok"}')
