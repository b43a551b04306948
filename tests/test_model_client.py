"""The client of the models server: who answered, deadlines, errors, a server that comes back."""

from __future__ import annotations

from contextlib import aclosing

import anyio
import anyio.lowlevel
import pytest

from raw_http import DONE, Reply, answer, delta, event, finish, raw_server, stream, unused_url
from tale import trace
from tale.errors import (
    BackendFailed,
    BackendStalled,
    BackendUnavailable,
    ContextExceeded,
    DeadlineExceeded,
    ServiceUnavailable,
    TaleError,
    Unauthorized,
    UnknownModel,
)
from tale.models.backend import ChatRequest, Message, Usage
from tale.models.caller import Purpose
from tale.models.client import Completion, ModelClient, models_url
from tale.wire.leash import Peer
from tale.wire.peers import FixedPeers

pytestmark = pytest.mark.anyio

HELLO = ChatRequest(messages=(Message("user", "hello"),))
NAMED = ("x-tale-model: small", "x-tale-role: ux", "x-tale-reason: short question")
USAGE = event(
    {
        "choices": [],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    }
)
WHOLE = stream(
    delta("good "),
    event({"choices": [{"delta": {"content": ""}}]}),
    delta("day"),
    finish(),
    USAGE,
    DONE,
    headers=NAMED,
)


def models_server(url: str, pid: int = 1) -> Peer:
    return Peer(service="models", name="models", url=url, pid=pid, starts=1)


async def test_a_whole_answer_says_who_gave_it_and_why() -> None:
    async with raw_server(WHOLE) as server, ModelClient(server.url, "secret") as client:
        completion = await client.complete(HELLO, "ux", 30)
    assert completion == Completion(
        text="good day",
        model="small",
        role="ux",
        usage=Usage(5, 2, 4),
        finish="stop",
        reason="short question",
    )
    sent = server.requests[0]
    assert sent.line == "POST /v1/chat/completions HTTP/1.1"
    assert sent.headers["authorization"] == "Bearer secret"
    assert 29 < float(sent.headers["x-tale-deadline"]) <= 30
    assert sent.json["model"] == "ux"
    assert not {"x-tale-kind", "x-tale-session", "x-tale-own"} & sent.headers.keys()


async def test_a_late_word_about_an_answer_is_sent_and_may_be_lost() -> None:
    async with raw_server(answer("200 OK", {})) as server, ModelClient(server.url, "t") as client:
        await client.outcome("chatcmpl-1", ok=False)
    [sent] = server.requests
    assert sent.line == "POST /pool/outcome HTTP/1.1"
    assert sent.json == {"id": "chatcmpl-1", "ok": False}
    async with raw_server(Reply()) as gone, ModelClient(gone.url, "t") as client:
        await client.outcome("chatcmpl-1", ok=True)


async def test_counts_come_from_the_models_server_or_an_error_says_why_not() -> None:
    async with (
        raw_server(answer("200 OK", {"counts": [3, 1]}), answer("200 OK", {"n": 1})) as server,
        ModelClient(server.url, "t") as client,
    ):
        assert await client.count_tokens(["one two three", "four"], "ux", 5) == (3, 1)
        with pytest.raises(ServiceUnavailable, match="unknown way"):
            await client.count_tokens(["five"], "ux", 5)
    assert server.requests[0].json == {"model": "ux", "texts": ["one two three", "four"]}


async def test_what_a_request_is_for_travels_in_headers() -> None:
    purpose = Purpose("talk", "s-1", own=True, repeatable=True)
    async with raw_server(WHOLE) as server, ModelClient(server.url, "secret") as client:
        await client.complete(HELLO, "ux", 30, purpose=purpose)
    headers = server.requests[0].headers
    named = [headers[f"x-tale-{name}"] for name in ("kind", "session", "own", "repeatable")]
    assert named == ["talk", "s-1", "1", "1"]


async def test_who_answers_is_known_before_the_first_token() -> None:
    opened = stream(end="hold", whole=False, headers=NAMED)
    async with raw_server(opened) as server, ModelClient(f"{server.url}/v1", "t") as client:
        async with client.stream(HELLO) as answering:
            assert (answering.model, answering.role) == ("small", "ux")
            assert answering.reason == "short question"
        with anyio.fail_after(5):
            await server.client_left.wait()
    assert "x-tale-deadline" not in server.requests[0].headers
    assert server.requests[0].json["model"] == "auto"


async def test_chunks_come_as_they_are_generated_and_empty_ones_do_not() -> None:
    async with (
        raw_server(WHOLE) as server,
        ModelClient(server.url, "t") as client,
        client.stream(HELLO) as answering,
    ):
        chunks = [chunk async for chunk in answering]
        assert [chunk.text for chunk in chunks] == ["good ", "day", ""]
        assert chunks[-1].finish == "stop"
        with pytest.raises(StopAsyncIteration):
            await anext(answering)


async def test_an_optional_model_has_no_role() -> None:
    reply = stream(finish(), DONE, headers=["x-tale-model: other", "x-tale-role:"])
    async with raw_server(reply) as server, ModelClient(server.url, "t") as client:
        completion = await client.complete(HELLO, "other")
    assert (completion.model, completion.role) == ("other", None)


ERRORS: list[tuple[Reply, type[TaleError], str]] = [
    (
        answer(
            "404 Not Found",
            {"error": {"message": "No model x.", "code": "unknown_model", "hint": "tale models"}},
        ),
        UnknownModel,
        "No model x. tale models",
    ),
    (
        answer("400 Bad", {"error": {"message": "Too long.", "code": "context_exceeded"}}),
        ContextExceeded,
        "Too long.",
    ),
    (
        answer("503 Busy", {"error": {"message": "Loading.", "code": "backend_unavailable"}}),
        BackendUnavailable,
        "Loading.",
    ),
    (
        answer("504 Late", {"error": {"message": "Late.", "code": "deadline_exceeded"}}),
        DeadlineExceeded,
        "Late.",
    ),
    (answer("401 Unauthorized", {"error": "bad token"}), Unauthorized, "bad token"),
    (answer("403 Forbidden", b""), Unauthorized, "refused"),
    (answer("500 Oops", {"error": {"message": "oops", "code": "strange"}}), BackendFailed, "oops"),
    (
        stream(delta("a"), event({"error": {"message": "Silent.", "code": "backend_stalled"}})),
        BackendStalled,
        "Silent.",
    ),
    (stream(delta("a"), event({"error": {"message": "?"}})), BackendFailed, "?"),
    (stream(event(b"garbage")), BackendFailed, "garbage"),
    (stream(delta("a")), BackendFailed, "closed the stream"),
    (stream(delta("a"), whole=False), ServiceUnavailable, "in the middle"),
    (stream(whole=False), ServiceUnavailable, "broke off"),
    (Reply(), ServiceUnavailable, "not reachable"),
]


@pytest.mark.parametrize(("reply", "error", "said"), ERRORS, ids=[said for _, _, said in ERRORS])
async def test_what_the_models_server_reports_is_raised_as_it_was(
    reply: Reply, error: type[TaleError], said: str
) -> None:
    async with raw_server(reply) as server, ModelClient(server.url, "t") as client:
        with pytest.raises(error) as caught:
            await client.complete(HELLO)
    assert said in str(caught.value)


async def test_an_error_body_that_breaks_off_is_a_server_that_went_away() -> None:
    cut = Reply([b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{"])
    async with raw_server(cut) as server, ModelClient(server.url, "t") as client:
        with pytest.raises(ServiceUnavailable):
            await client.complete(HELLO)


async def test_without_a_deadline_a_missing_server_is_said_at_once() -> None:
    async with ModelClient(unused_url(), "t") as client:
        with pytest.raises(ServiceUnavailable, match="not reachable"):
            await client.complete(HELLO)


async def test_under_a_deadline_a_server_that_comes_back_is_waited_for() -> None:
    async with (
        raw_server(Reply(), Reply(end="reset"), WHOLE) as server,
        ModelClient(server.url, "t") as client,
    ):
        assert (await client.complete(HELLO, deadline_s=30)).text == "good day"
        left = [float(request.headers["x-tale-deadline"]) for request in server.requests]
        assert left == sorted(left, reverse=True)


async def test_the_address_is_looked_up_for_each_try() -> None:
    async with raw_server(WHOLE) as server:
        peers = FixedPeers(models_server(unused_url()))
        looked_up = 0
        follow = models_url(peers)

        async def find() -> str:
            nonlocal looked_up
            looked_up += 1
            if looked_up == 2:
                peers.set(models_server(server.url, 2))
            return await follow()

        async with ModelClient(find, "t") as client:
            assert (await client.complete(HELLO, deadline_s=30)).text == "good day"
    assert looked_up == 2


async def test_a_models_server_that_is_down_is_waited_for() -> None:
    peers = FixedPeers()
    async with (
        raw_server(WHOLE) as server,
        ModelClient(models_url(peers), "t") as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.complete, HELLO)
        await anyio.wait_all_tasks_blocked()
        peers.set(models_server(server.url))
    assert len(server.requests) == 1


async def test_an_address_may_be_looked_up_without_waiting() -> None:
    async with raw_server(WHOLE) as server, ModelClient(lambda: server.url, "t") as client:
        assert (await client.complete(HELLO)).text == "good day"


async def test_a_request_says_what_is_left_of_the_time_around_it_and_which_trace_it_is_in() -> None:
    async with raw_server(WHOLE) as server, ModelClient(server.url, "secret") as client:
        here = trace.enter(None)
        with anyio.fail_after(20):
            await client.complete(HELLO, deadline_s=30)
            await client.complete(HELLO)
        sent = server.requests
    assert all(0 < float(one.headers["x-tale-deadline"]) <= 20 for one in sent)
    assert all(here.id in one.headers["traceparent"] for one in sent)


async def test_the_deadline_ends_the_wait_for_a_server_and_says_what_was_missing() -> None:
    for url in (models_url(FixedPeers()), unused_url()):
        async with ModelClient(url, "t") as client:
            with pytest.raises(ServiceUnavailable, match=r"did not come back within 0\.01 s") as e:
                await client.complete(HELLO, deadline_s=0.01)
            assert "tale logs models" in e.value.hint


class Waiter:
    """Asks, and keeps what it is told meanwhile."""

    def __init__(self, client: ModelClient) -> None:
        self._client = client
        self.told: list[str] = []
        self.answer = ""

    async def held_up(self, why: str) -> None:
        self.told.append(why)

    async def ask(self) -> None:
        async with self._client.stream(HELLO, "ux", 30, held_up=self.held_up) as answer:
            async for chunk in answer:
                self.answer += chunk.text


async def test_a_models_server_that_is_missing_is_told_of_once_and_waited_for() -> None:
    peers = FixedPeers()
    async with (
        raw_server(Reply(), WHOLE) as server,
        ModelClient(models_url(peers), "t", grace=0) as client,
    ):
        waiter = Waiter(client)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(waiter.ask)
                while not waiter.told:
                    await anyio.lowlevel.checkpoint()
                peers.set(models_server(unused_url()))
                await anyio.wait_all_tasks_blocked()
                peers.set(models_server(server.url, 2))
    [told] = waiter.told
    assert "being brought back" in told
    assert waiter.answer == "good day"


async def test_a_models_server_that_only_refuses_is_missing_too() -> None:
    async with (
        raw_server(Reply(), Reply(), WHOLE) as server,
        ModelClient(server.url, "t", grace=0) as client,
    ):
        waiter = Waiter(client)
        await waiter.ask()
    assert len(waiter.told) == 1
    assert waiter.answer == "good day"


async def test_a_model_that_thinks_for_long_is_not_missing() -> None:
    thinking = stream(end="hold", whole=False)
    async with raw_server(thinking) as server, ModelClient(server.url, "t", grace=0.02) as client:
        waiter = Waiter(client)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiter.ask)
            while not server.requests:
                await anyio.lowlevel.checkpoint()
            with anyio.move_on_after(0.1):
                await server.client_left.wait()
            tasks.cancel_scope.cancel()
    assert waiter.told == []


async def test_who_is_told_may_give_up() -> None:
    async def give_up(why: str) -> None:
        raise UnknownModel(why)

    async with ModelClient(models_url(FixedPeers()), "t", grace=0) as client:
        with anyio.fail_after(20), pytest.raises(UnknownModel):
            async with client.stream(HELLO, "ux", 30, held_up=give_up):
                pass


async def test_the_deadline_ends_an_answer_and_stops_its_generation() -> None:
    silent = stream(delta("one"), end="hold", whole=False)
    async with raw_server(silent) as server, ModelClient(server.url, "t") as client:
        async with client.stream(HELLO, deadline_s=0.2) as answering:
            assert (await anext(answering)).text == "one"
            with pytest.raises(DeadlineExceeded):
                await anext(answering)
        with anyio.fail_after(5):
            await server.client_left.wait()


async def test_cancelling_a_whole_answer_stops_its_generation() -> None:
    silent = stream(delta("one"), end="hold", whole=False)
    async with raw_server(silent) as server, ModelClient(server.url, "t") as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.complete, HELLO)
            while not server.requests:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            await server.client_left.wait()


async def test_a_client_can_be_closed_and_used_again() -> None:
    async with raw_server(WHOLE) as server, aclosing(ModelClient(server.url, "t")) as client:
        await client.aclose()
        assert (await client.complete(HELLO)).text == "good day"
        await client.aclose()
        assert (await client.complete(HELLO)).text == "good day"
