"""The models server's HTTP: OpenAI's shapes, tale's headers, clear errors, nothing left running."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from operator import mul

import anyio
import anyio.lowlevel
import orjson
import pytest
import uvicorn
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st
from openai import APIError, AsyncOpenAI, BadRequestError, NotFoundError
from pydantic import BaseModel, JsonValue, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp
from starlette.types import Message as ASGIMessage

from tale.errors import BackendFailed, InvalidRequest, UnknownModel
from tale.models.answer import Completion, merge_tool_calls
from tale.models.backend import ChatRequest, Chunk, Message, Usage
from tale.models.client import ModelClient
from tale.models.further import PlainMemory
from tale.models.ledger import Ledger
from tale.models.memory_backend import InMemoryBackend, echo
from tale.models.model_pool import ModelPool
from tale.models.pool_policy import Policy
from tale.servers.embeddings import embed
from tale.servers.http_body import GONE, MAX_BODY, answering, body_of, json_reply
from tale.servers.lazy_mcp import LazyMcp
from tale.servers.model_app import build_app
from tale.servers.openai_shapes import parse_chat, parse_deadline, parse_name
from tale.servers.openai_sse import (
    DONE,
    EventWriter,
    completion_body,
    error_body,
)

pytestmark = pytest.mark.anyio

CALM = Policy(pulse_seconds=3600, check_seconds=3600, wait_seconds=20, first_backoff=0.01)
TOO_LARGE = b"x" * (MAX_BODY + 1)
JSON: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class Fault(BaseModel):
    """The inside of an error body."""

    message: str
    type: str
    param: str | None
    code: str
    hint: str


class FaultBody(BaseModel):
    """An error body."""

    error: Fault


class Served:
    """A models server in this process, over in-memory models."""

    def __init__(self, url: str, ux: InMemoryBackend, task: InMemoryBackend) -> None:
        self.url = url
        self.ux = ux
        self.task = task
        self.openai = AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)


class Shelf:
    """One further model."""

    def __init__(self) -> None:
        self.backend = InMemoryBackend("extra")

    def names(self) -> tuple[str, ...]:
        return ("extra",)

    def open(self, name: str) -> InMemoryBackend:
        return self.backend


@asynccontextmanager
async def serving(
    mcp_wait: float = 20,
    answer: Callable[[ChatRequest], str] = echo,
    ledger: Ledger | None = None,
    door: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> AsyncGenerator[Served]:
    ux, task = InMemoryBackend("small", answer=answer), InMemoryBackend("large", answer=answer)
    memory = PlainMemory(lambda: 2**40, {"extra": 1})
    pool = ModelPool({"ux": ux, "task": task}, policy=CALM, memory=memory, source=Shelf())
    sock = socket.create_server(("127.0.0.1", 0))
    with anyio.fail_after(60):
        async with pool, LazyMcp(pool, wait_seconds=mcp_wait) as mcp:
            await pool.ensure_ready("ux")
            await pool.ensure_ready("task")
            app = door(build_app(pool, mcp, ledger=ledger))
            config = uvicorn.Config(app, log_config=None, ws="none")
            server = uvicorn.Server(config)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.serve, [sock])
                while not server.started:
                    await anyio.lowlevel.checkpoint()
                url = f"http://127.0.0.1:{sock.getsockname()[1]}"
                served = Served(url, ux, task)
                async with served.openai:
                    yield served
                server.should_exit = True


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serving() as served:
        yield served


async def post(
    served: Served, path: str, body: bytes, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    async with (
        ClientSession() as session,
        session.post(served.url + path, data=body, headers=headers) as reply,
    ):
        return reply.status, reply.headers, await reply.read()


async def get(served: Served, path: str) -> tuple[int, bytes]:
    async with ClientSession() as session, session.get(served.url + path) as reply:
        return reply.status, await reply.read()


def chat_body(**fields: object) -> bytes:
    message = {"role": "user", "content": "one two three"}
    return orjson.dumps({"model": "ux", "messages": [message]} | fields)


# -- the official client ---------------------------------------------------------------------------


async def test_the_official_client_gets_a_whole_answer(served: Served) -> None:
    answer = await served.openai.chat.completions.create(
        model="ux",
        messages=[{"role": "user", "content": "one two three"}],
        max_completion_tokens=2,
        temperature=0,
        stop=["never"],
    )
    assert answer.model == "small"
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content == "one two"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 5
    request = served.ux.requests[-1]
    assert (request.max_tokens, request.temperature, request.stop) == (2, 0, ("never",))


async def test_the_official_client_gets_a_stream_with_usage_at_its_end(served: Served) -> None:
    stream = await served.openai.chat.completions.create(
        model="task",
        messages=[{"role": "user", "content": "one two three"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    assert {chunk.model for chunk in chunks} == {"large"}


async def test_the_official_client_lists_and_looks_up_models(served: Served) -> None:
    listed = [model.id async for model in served.openai.models.list()]
    assert listed == ["auto", "ux", "task", "small", "large", "extra"]
    assert (await served.openai.models.retrieve("small")).owned_by == "tale"
    with pytest.raises(NotFoundError):
        await served.openai.models.retrieve("none/such")


async def test_auto_is_routed_by_the_last_user_message(served: Served) -> None:
    for text, model in (("hello world", "small"), ("Write a Python web scraper", "large")):
        reply = await served.openai.chat.completions.with_raw_response.create(
            model="auto",
            messages=[
                {"role": "user", "content": "build me a website"},
                {"role": "assistant", "content": "done"},
                {"role": "user", "content": [{"type": "text", "text": text}]},
            ],
        )
        assert reply.parse().model == model
        assert reply.headers["x-tale-reason"]
        assert reply.headers["x-tale-fell-back"] == "false"


async def test_headers_say_which_model_answers_in_which_role(served: Served) -> None:
    body = chat_body(model="large", stream=True)
    status, headers, _ = await post(served, "/v1/chat/completions", body)
    assert status == 200
    assert headers["x-tale-model"] == "large"
    assert headers["x-tale-role"] == "task"
    assert headers["x-tale-reason"] == ""
    assert headers["content-type"].startswith("text/event-stream")


async def test_a_fallback_is_told_in_the_headers(served: Served) -> None:
    served.ux.evict()
    served.ux.inject("hang_load")
    _, headers, reply = await post(served, "/v1/chat/completions", chat_body())
    assert headers["x-tale-model"] == "large"
    assert headers["x-tale-fell-back"] == "true"
    assert headers["x-tale-reason"] == "small is recovering"
    assert JSON.validate_json(reply)["model"] == "large"


async def test_tools_and_formats_are_handed_on_as_they_came(served: Served) -> None:
    tools: list[object] = [{"type": "function", "function": {"name": "f", "strict": True}}]
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "call it"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    fields: dict[str, object] = {
        "messages": messages,
        "tools": tools,
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "seed": 7,
        "top_p": 0.5,
        "user": "nobody",
        "max_tokens": None,
    }
    status, _, _ = await post(served, "/v1/chat/completions", chat_body(**fields))
    assert status == 200
    request = served.ux.requests[-1]
    assert request.messages[0] == Message("system", "be brief")
    assert request.messages[2] == Message("assistant", "", {"tool_calls": calls})
    assert request.messages[3].extra == {"tool_call_id": "1"}
    assert request.options == {
        "tools": tools,
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "seed": 7,
        "top_p": 0.5,
    }


async def test_tales_own_client_understands_answers_and_errors(served: Served) -> None:
    async with ModelClient(served.url, "any") as client:
        request = ChatRequest((Message("user", "hello there"),))
        whole = await client.complete(request, "auto", 20)
        assert (whole.text, whole.model, whole.role) == ("hello there", "small", "ux")
        assert whole.usage.completion == 2
        served.ux.inject("break")
        with pytest.raises(BackendFailed, match="break off"):
            await client.complete(request, "ux", 20)


async def test_the_official_client_gets_vectors_that_are_near_where_texts_are(
    served: Served,
) -> None:
    texts = ["When is the report due?", "the deadline of the paper", "cats like warm milk"]
    answer = await served.openai.embeddings.create(model="tale-meaning", input=texts)
    due, deadline, cats = (each.embedding for each in answer.data)
    assert sum(map(mul, due, due)) == pytest.approx(1, abs=1e-3)
    assert sum(map(mul, due, deadline)) > sum(map(mul, due, cats))
    assert answer.usage.total_tokens > 10
    plain = await served.openai.embeddings.create(
        model="tale-meaning", input=texts[0], encoding_format="float"
    )
    assert plain.data[0].embedding == pytest.approx(due, abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 3}, "dimensions"),
    ],
)
def test_bad_texts_name_the_parameter(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        embed(orjson.dumps({"model": "tale-meaning", **fields}))
    assert caught.value.param == param


def test_a_text_without_a_known_word_points_nowhere() -> None:
    reply = orjson.dumps(embed(orjson.dumps({"model": "tale-meaning", "input": "\u2603"})))
    assert b'"embedding":[0.0,0.0' in reply


def test_embeddings_of_a_model_that_only_chats_are_refused() -> None:
    with pytest.raises(UnknownModel, match="no embeddings of 'ux'"):
        embed(orjson.dumps({"model": "ux", "input": "a"}))


# -- errors ----------------------------------------------------------------------------------------


async def test_an_unknown_model_is_a_404_of_openais_shape(served: Served) -> None:
    with pytest.raises(NotFoundError) as caught:
        await served.openai.chat.completions.create(
            model="gpt-9", messages=[{"role": "user", "content": "hi"}]
        )
    assert caught.value.code == "unknown_model"
    assert caught.value.type == "invalid_request_error"
    body = chat_body(model="gpt-9")
    status, headers, reply = await post(served, "/v1/chat/completions", body)
    assert status == 404
    assert headers["x-should-retry"] == "false"
    assert "auto, ux, task" in FaultBody.model_validate_json(reply).error.hint


BAD: list[tuple[bytes, str | None]] = [
    (b"{", None),
    (b"[]", None),
    (b'"text"', None),
    (b"\xff\xfe", None),
    (b'{"model":"ux","messages":[{"role":"user","content":"\\ud800"}]}', None),
    (b'{"messages":[]}', "model"),
    (b'{"model":"ux"}', "messages"),
    (chat_body(model=3), "model"),
    (chat_body(model=""), "model"),
    (chat_body(messages=[]), "messages"),
    (chat_body(messages="hi"), "messages"),
    (chat_body(messages=["hi"]), "messages[0]"),
    (chat_body(messages=[{"role": "boss", "content": "hi"}]), "messages[0].role"),
    (chat_body(messages=[{"role": "user"}]), "messages[0].content"),
    (chat_body(messages=[{"role": "user", "content": 3}]), "messages[0].content"),
    (chat_body(messages=[{"role": "user", "content": [3]}]), "messages[0].content[0]"),
    (
        chat_body(messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
        "messages[0].content[0]",
    ),
    (
        chat_body(messages=[{"role": "assistant", "content": "", "tool_calls": "x"}]),
        "messages[0].tool_calls",
    ),
    (chat_body(n=2), "n"),
    (chat_body(n=True), "n"),
    (chat_body(logprobs=True), "logprobs"),
    (chat_body(stream="yes"), "stream"),
    (chat_body(stream=True, stream_options=1), "stream_options"),
    (
        chat_body(stream=True, stream_options={"include_usage": 1}),
        "stream_options.include_usage",
    ),
    (chat_body(max_tokens=0), "max_tokens"),
    (chat_body(max_tokens="many"), "max_tokens"),
    (chat_body(max_completion_tokens=1.5), "max_completion_tokens"),
    (chat_body(temperature=3), "temperature"),
    (chat_body(temperature="hot"), "temperature"),
    (chat_body(temperature=True), "temperature"),
    (chat_body(stop=3), "stop"),
    (chat_body(stop=[""]), "stop"),
    (chat_body(stop=["a"] * 17), "stop"),
    (chat_body(tools={}), "tools"),
    (chat_body(tools=["f"]), "tools[0]"),
    (chat_body(response_format="json"), "response_format"),
    (chat_body(top_p="x"), "top_p"),
    (chat_body(seed=1.5), "seed"),
]


@pytest.mark.parametrize(("body", "param"), BAD)
def test_bad_input_names_the_parameter(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat(body)
    assert (caught.value.param or None) == param
    assert caught.value.status == 400


async def test_bad_input_is_a_400_of_openais_shape(served: Served) -> None:
    status, _, reply = await post(served, "/v1/chat/completions", chat_body(n=2))
    error = FaultBody.model_validate_json(reply).error
    assert (status, error.param, error.type) == (400, "n", "invalid_request_error")
    with pytest.raises(BadRequestError):
        await served.openai.chat.completions.create(model="ux", messages=[])
    assert served.ux.requests == []


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf", ""])
def test_a_deadline_must_be_a_positive_number(value: str) -> None:
    with pytest.raises(InvalidRequest, match="x-tale-deadline"):
        parse_deadline(value)


async def test_a_deadline_that_passes_is_a_504(served: Served) -> None:
    served.ux.inject("stall")
    served.task.inject("stall")  # which is asked when three quarters of the time are gone
    headers = {"x-tale-deadline": "0.05"}
    status, _, reply = await post(served, "/v1/chat/completions", chat_body(), headers)
    assert status == 504
    assert FaultBody.model_validate_json(reply).error.code == "deadline_exceeded"
    status, _, _ = await post(
        served, "/v1/chat/completions", chat_body(), {"x-tale-deadline": "soon"}
    )
    assert status == 400


async def test_a_break_in_a_stream_is_told_in_the_stream(served: Served) -> None:
    served.ux.inject("break")
    stream = await served.openai.chat.completions.create(
        model="ux", messages=[{"role": "user", "content": "one two"}], stream=True
    )
    seen: list[str] = []

    async def read() -> None:
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content or "")  # noqa: PERF401

    with pytest.raises(APIError, match="break off"):
        await read()
    assert seen == ["one"]


async def test_a_body_over_the_limit_is_a_413(served: Served) -> None:
    url = f"{served.url}/v1/chat/completions"
    async with ClientSession() as session, session.post(url, data=BytesIO(TOO_LARGE)) as whole:
        assert whole.status == 413
        assert "8 MiB" in FaultBody.model_validate_json(await whole.read()).error.message

    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(9):
            yield b"x" * (1 << 20)

    async with ClientSession() as session, session.post(url, data=pieces()) as chunked:
        assert chunked.status == 413


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/completions"])
async def test_what_is_not_supported_says_so(served: Served, path: str) -> None:
    status, _, reply = await post(served, path, b"{}")
    assert status == 501
    assert "/v1/chat/completions" in FaultBody.model_validate_json(reply).error.hint


async def test_unknown_paths_and_methods_have_openais_shape(served: Served) -> None:
    status, reply = await get(served, "/v1/nothing")
    assert status == 404
    assert "/v1/nothing" in FaultBody.model_validate_json(reply).error.message
    status, reply = await get(served, "/v1/chat/completions")
    assert status == 405
    assert FaultBody.model_validate_json(reply).error.type == "invalid_request_error"


async def test_a_fault_of_our_own_is_a_500_without_a_traceback() -> None:
    def crash(request: ChatRequest) -> str:
        raise ZeroDivisionError("secret detail")

    async with serving(answer=crash) as served:
        for stream in (False, True):
            status, _, reply = await post(served, "/v1/chat/completions", chat_body(stream=stream))
            assert status == 500
            error = FaultBody.model_validate_json(reply).error
            assert "secret" not in error.message
            assert "tale logs models" in error.hint


# -- clients that leave ----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_generation(served: Served, stream: bool) -> None:
    served.ux.inject("stall")
    body = chat_body(stream=stream)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, served, "/v1/chat/completions", body)
        await settled(lambda: served.ux.running == 1)
        tasks.cancel_scope.cancel()
    await settled(lambda: served.ux.running == 0)
    assert served.ux.cancelled == 1


@pytest.mark.parametrize("path", ["/pool/ahead", "/pool/spare"])
async def test_what_is_done_in_spare_time_ends_with_its_client(served: Served, path: str) -> None:
    served.ux.inject("stall")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, served, path, chat_body(model="ux"))
        await settled(lambda: served.ux.running == 1)
        tasks.cancel_scope.cancel()
    await settled(lambda: served.ux.running == 0)


async def settled(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_fault_of_the_server() -> None:
    async def handler(request: Request) -> Response:
        return json_reply(len(await body_of(request)))

    parts: list[ASGIMessage] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> ASGIMessage:
        return parts.pop(0)

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    assert (await answering(handler)(request)).status_code == GONE


# -- the pool --------------------------------------------------------------------------------------


async def test_the_pool_is_shown_and_further_models_come_and_go(served: Served) -> None:
    status, reply = await get(served, "/pool")
    assert status == 200
    assert b'"role":"ux","name":"small"' in reply
    for path, present in (("/pool/load", True), ("/pool/unload", False)):
        status, _, reply = await post(served, path, b'{"model":"extra"}')
        assert status == 200
        assert (b'"name":"extra"' in reply) is present


async def test_a_core_model_can_not_be_unloaded_over_http(served: Served) -> None:
    status, _, reply = await post(served, "/pool/unload", b'{"model":"ux"}')
    assert status == 409
    assert FaultBody.model_validate_json(reply).error.code == "core_model_pinned"
    with pytest.raises(InvalidRequest):
        parse_name(b"{}")


async def test_mcp_lists_loads_and_unloads(served: Served) -> None:
    from mcp import Client  # noqa: PLC0415 - a second of import for one test

    async with Client(f"{served.url}/mcp", mode="2026-07-28") as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {"list_models", "load_model", "unload_model"}
        loaded = await client.call_tool("load_model", {"model": "extra"})
        assert "'loadable': []" in str(loaded.structured_content)
        await client.call_tool("unload_model", {"model": "extra"})
        listed = await client.call_tool("list_models", {})
        assert "'loadable': ['extra']" in str(listed.structured_content)
        pinned = await client.call_tool("unload_model", {"model": "ux"})
        assert pinned.is_error


async def test_mcp_says_when_to_come_again_until_it_is_there() -> None:
    async with serving(mcp_wait=0) as served:
        status, headers, reply = await post(served, "/mcp", b"{}")
    assert status == 503
    assert headers["retry-after"] == "2"
    assert FaultBody.model_validate_json(reply).error.code == "service_unavailable"


# -- shapes ----------------------------------------------------------------------------------------


def test_tool_calls_of_a_stream_are_put_together_by_index() -> None:
    deltas: list[Mapping[str, object]] = [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": '{"x"'}},
        {"index": 0, "function": {"arguments": ":1}"}},
    ]
    first, second = merge_tool_calls(deltas)
    assert first == {
        "id": "a",
        "type": "function",
        "function": {"name": "f", "arguments": '{"x":1}'},
    }
    assert second["id"] == "b"
    answer = Completion("m", None, False, "", "", tuple(deltas), "tool_calls", None)
    body = completion_body("id", 0, answer)
    assert b'"content":null' in body
    assert b'"usage":null' in body


def test_a_stream_of_tool_calls_has_deltas_and_an_end() -> None:
    writer = EventWriter("id", 0, "m", include_usage=False)
    delta = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    event = writer.event(Chunk(tool_calls=(delta,)))
    assert b'"delta":{"role":"assistant","tool_calls":[{"index":0' in event
    assert b'"content"' not in event
    assert writer.event(Chunk()) == b""
    assert writer.end().endswith(b'"finish_reason":"stop"}]}\n\n' + DONE)


def test_an_empty_answer_is_still_a_stream() -> None:
    writer = EventWriter("id", 0, "m", include_usage=True)
    event = writer.event(Chunk(finish="stop", usage=Usage(1, 0)))
    assert b'"role":"assistant","content":""' in event
    assert b'"finish_reason":"stop"' in event
    assert b'"prompt_tokens":1' in writer.end()


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_any_text_survives_an_event(text: str) -> None:
    writer = EventWriter("id", 0, "m", include_usage=False)
    writer.event(Chunk(text="first"))
    event = writer.event(Chunk(text=text))
    assert event.count(b"\n") == 2
    data = JSON.validate_json(event.removeprefix(b"data: "))
    assert orjson.dumps(data["choices"]).count(orjson.dumps({"content": text})) == 1


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_any_prompt_arrives_as_it_was_sent(text: str) -> None:
    call = parse_chat(chat_body(messages=[{"role": "user", "content": text}]))
    assert call.last_user_text == text


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_400(body: bytes) -> None:
    with suppress(InvalidRequest):
        parse_chat(body)


def test_an_error_body_has_no_param_where_none_is_wrong() -> None:
    fault = FaultBody.model_validate_json(error_body(BackendFailed("broken", hint="mend it")))
    assert fault.error == Fault(
        message="broken", type="server_error", param=None, code="backend_failed", hint="mend it"
    )
