"""Servers that answer badly: each gets a clear error, and spoils nothing for the next call."""

from __future__ import annotations

import anyio
import orjson
import pytest
from pydantic import BaseModel

from raw_http import RawServer, Reply, answer, event, raw_server, stream, unused_url
from tale.errors import DeadlineExceeded, ServiceUnavailable, TaleError, Unauthorized, WireError
from tale.wire.leash import Peer
from tale.wire.peers import FixedPeers
from tale.wire.pool import Services
from tale.wire.tool import Tool

pytestmark = pytest.mark.anyio


class Ask(BaseModel):
    """Nothing to say."""


class Told(BaseModel):
    """What came back."""

    text: str


ONCE = Tool("desk", "once", "Do it once.", Ask, Told)
AGAIN = Tool("desk", "again", "Do it as often as you like.", Ask, Told, idempotent=True)
HEALTHY = answer("200 OK", {"status": "ok"})
RESULT = {"jsonrpc": "2.0", "id": 1, "result": {"structuredContent": {"text": "well"}}}
WELL = answer("200 OK", RESULT, "Content-Type: application/json")
SSE = ["Content-Type: text/event-stream", "Connection: close"]


async def ask(
    tool: Tool[Ask, Told], *servers: RawServer, url: str = "", deadline: float = 5
) -> Told:
    urls = [server.url for server in servers] or [url]
    peers = [
        Peer(service="desk", name=f"desk-{number}", url=url, pid=number, starts=1)
        for number, url in enumerate(urls, 1)
    ]
    failure: TaleError | None = None
    async with Services(FixedPeers(*peers), services={"desk"}, token="t").open() as services:
        with anyio.fail_after(5):  # the first reply is for who connects ahead of the call
            while not all(server.requests for server in servers):
                await anyio.wait_all_tasks_blocked()
        try:
            return await services.call(tool, Ask(), deadline=deadline)
        except TaleError as error:  # out of the task group, which would wrap it
            failure = error
    raise failure


def calls(server: RawServer) -> int:
    return sum(request.line.startswith("POST") for request in server.requests)


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (answer("200 OK", b"<html>hello</html>"), WireError, "desk-1 answered once .*not MCP"),
        (answer("200 OK", b"\xff\x00\x01"), WireError, "not MCP"),
        (answer("200 OK", [1, 2]), WireError, "not MCP"),
        (answer("404 Not Found", b"no such page"), WireError, "HTTP 404"),
        (answer("200 OK", {"result": "what?"}), WireError, "has no content"),
        (answer("200 OK", {"result": {"content": []}}), WireError, "has no content"),
        (
            answer("200 OK", {"result": {"structuredContent": {"text": 5}}}),
            WireError,
            "answered in another shape than it should: text",
        ),
        (stream(event(b"{half"), headers=SSE), WireError, "not MCP"),
        (
            answer("400 Bad Request", {"error": {"code": -32602, "message": "no name"}}),
            WireError,
            "desk-1 refused once: no name",
        ),
        (
            answer("401 Unauthorized", {"error": {"message": "The token is wrong."}}),
            Unauthorized,
            "refused the token: The token is wrong",
        ),
        (answer("500 Oops", b"Internal Server Error"), ServiceUnavailable, "may or may not"),
        (Reply(), ServiceUnavailable, "may or may not be done"),
        (Reply(end="reset"), ServiceUnavailable, "may or may not be done"),
        (Reply([b"garbage\r\n\r\n"]), ServiceUnavailable, "may or may not be done"),
        (
            Reply([b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half":']),
            ServiceUnavailable,
            "may or may not be done",
        ),
        (stream(b": ping\n\n", whole=False, headers=SSE), ServiceUnavailable, "may or may not"),
        (stream(b": ping\n\n", headers=SSE), ServiceUnavailable, "ended before its result"),
    ],
)
async def test_a_bad_answer_is_a_clear_error(
    reply: Reply, error: type[TaleError], says: str
) -> None:
    async with raw_server(HEALTHY, reply) as server:
        with pytest.raises(error, match=says):
            await ask(ONCE, server)
        assert calls(server) == 1, "what may be done is not done again"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(),
        Reply(end="reset"),
        stream(b": ping\n\n", whole=False, headers=SSE),
        answer("500 Oops", b"cut off"),
        answer("503 Full", b"come again"),
    ],
)
async def test_what_may_be_repeated_is(reply: Reply) -> None:
    async with raw_server(HEALTHY, reply, WELL) as server:
        assert await ask(AGAIN, server) == Told(text="well")
        assert calls(server) == 2


async def test_what_a_server_did_not_take_is_repeated_even_if_it_may_be_done_once_only() -> None:
    async with raw_server(HEALTHY, answer("503 Full", b"come again"), WELL) as server:
        assert await ask(ONCE, server) == Told(text="well")


async def test_a_garbled_answer_of_one_instance_is_asked_of_another() -> None:
    garbled = answer("200 OK", b"<html>")
    async with raw_server(garbled) as bad, raw_server(WELL) as good:
        for _ in range(4):  # whichever of the two is asked first
            assert await ask(AGAIN, bad, good) == Told(text="well")


async def test_a_server_that_accepts_and_never_answers_costs_no_more_than_the_time_given() -> None:
    async with raw_server(Reply(end="hold")) as server:
        with pytest.raises(DeadlineExceeded, match=r"desk\.once did not answer"):
            await ask(ONCE, server, deadline=0.2)


async def test_an_address_where_nobody_listens_is_waited_for() -> None:
    with pytest.raises(DeadlineExceeded):
        await ask(ONCE, url=unused_url(), deadline=0.2)


async def test_a_request_says_what_mcp_asks_for_and_how_long_it_may_take() -> None:
    async with raw_server(HEALTHY, WELL) as server:
        await ask(ONCE, server, deadline=5)
        (request,) = [one for one in server.requests if one.line.startswith("POST")]
        body = orjson.loads(request.body)
    meta = body["params"]["_meta"]
    assert request.headers["mcp-protocol-version"] == "2026-07-28"
    assert (request.headers["mcp-method"], request.headers["mcp-name"]) == ("tools/call", "once")
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert 4 < meta["tale/deadline"] <= 5
    assert request.headers["traceparent"] == meta["traceparent"]
