"""Models in Ollama: pinned, looked up, brought back; its errors in tale's terms."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import anyio
import orjson
import pytest
from aiohttp import ClientSession

from fake_ollama import SIZE, FakeOllama, fake_ollama
from raw_http import Reply, answer, raw_server, stream, unused_url
from tale.errors import (
    BackendFailed,
    BackendUnavailable,
    ContextExceeded,
    InsufficientMemory,
    ModelError,
    UnknownModel,
)
from tale.models._ollama_wire import full_name
from tale.models.backend import ChatRequest, Chunk, Message, Usage
from tale.models.ollama import OllamaBackend, find_pair
from tale.models.openai_http import open_session

pytestmark = pytest.mark.anyio

MODEL = "qwen2.5:7b"
HELLO = ChatRequest(messages=(Message("user", "good morning to you"),))


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with fake_ollama(MODEL, "qwen2.5:14b", "plain:latest") as fake:
        yield fake


def backend_at(url: str, session: ClientSession, model: str = MODEL) -> OllamaBackend:
    return OllamaBackend(model, 2048, url, session=session)


async def collect(backend: OllamaBackend, request: ChatRequest = HELLO) -> list[Chunk]:
    return [chunk async for chunk in backend.chat(request)]


async def test_loading_pins_the_model_with_its_window(
    ollama: FakeOllama, session: ClientSession
) -> None:
    backend = backend_at(ollama.url, session)
    assert not (await backend.residency()).resident
    await backend.load()
    assert ollama.bodies == [
        {
            "model": MODEL,
            "messages": [],
            "stream": False,
            "keep_alive": -1,
            "options": {"num_ctx": 2048},
        }
    ]
    residency = await backend.residency()
    assert residency.resident
    assert residency.memory_bytes == SIZE
    assert (backend.model, backend.context) == (MODEL, 2048)


async def test_every_request_keeps_the_model_and_asks_for_no_truncation(
    ollama: FakeOllama, session: ClientSession
) -> None:
    schema = {"type": "object"}
    request = ChatRequest(
        messages=HELLO.messages,
        max_tokens=2,
        temperature=0.5,
        stop=("END",),
        options={
            "seed": 3,
            "logit_bias": {},
            "tools": [{"type": "function"}],
            "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        },
    )
    backend = backend_at(ollama.url, session)
    await backend.load()
    chunks = await collect(backend, request)
    assert [chunk.text for chunk in chunks[:2]] == ["good", "morning"]
    assert chunks[-1] == Chunk(finish="length", usage=Usage(prompt=4, completion=2))
    sent = ollama.bodies[-1]
    assert type(sent["keep_alive"]) is int
    assert sent["keep_alive"] == -1
    assert (sent["truncate"], sent["shift"], sent["stream"]) == (False, False, True)
    assert sent["options"] == {
        "num_ctx": 2048,
        "num_predict": 2,
        "temperature": 0.5,
        "stop": ["END"],
        "seed": 3,
    }
    assert sent["format"] == schema
    assert sent["tools"] == [{"type": "function"}]
    assert ollama.loads == 1


@pytest.mark.parametrize(
    ("wanted", "sent"), [({"type": "json_object"}, "json"), ({"type": "text"}, None), ("x", None)]
)
async def test_a_response_format_is_translated(
    ollama: FakeOllama, session: ClientSession, wanted: object, sent: object
) -> None:
    request = ChatRequest(messages=HELLO.messages, options={"response_format": wanted})
    await collect(backend_at(ollama.url, session), request)
    assert ollama.bodies[-1].get("format") == sent


async def test_a_model_that_another_program_evicted_is_brought_back(
    ollama: FakeOllama, session: ClientSession
) -> None:
    backend = backend_at(ollama.url, session)
    await backend.load()
    ollama.evict(MODEL)
    assert not (await backend.residency()).resident
    await backend.recover("evicted")
    assert (await backend.residency()).resident
    assert ollama.loaded[MODEL].keep_alive == -1


async def test_a_model_loaded_anew_with_another_window_counts_as_evicted(
    ollama: FakeOllama, session: ClientSession
) -> None:
    backend = backend_at(ollama.url, session)
    await backend.load()
    ollama.loaded[MODEL].window = 512
    assert not (await backend.residency()).resident
    await backend.load()
    assert (await backend.residency()).resident


async def test_an_ollama_that_does_not_tell_the_window_is_believed(
    ollama: FakeOllama, session: ClientSession
) -> None:
    ollama.tells_window = False
    backend = backend_at(ollama.url, session)
    await backend.load()
    assert (await backend.residency()).resident


async def test_a_model_that_hangs_is_thrown_out_and_loaded_again(
    ollama: FakeOllama, session: ClientSession
) -> None:
    ollama.hangs = True
    backend = backend_at(ollama.url, session)
    await backend.load()
    async with aclosing(backend.chat(HELLO)) as chunks:
        await anext(chunks)
    await backend.recover("no token for 60 s")
    assert [body["keep_alive"] for body in ollama.bodies] == [-1, -1, 0, -1]
    assert ollama.loads == 2


async def test_a_model_that_never_begins_its_answer_is_thrown_out(session: ClientSession) -> None:
    ps, said = answer("200 OK", {"models": [{"name": MODEL}]}), answer("200 OK", {})
    async with raw_server(Reply(end="hold"), ps, said, said, ps) as server:
        backend = backend_at(server.url, session)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, backend)
            with anyio.fail_after(5):
                while not server.requests:
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await backend.recover("no token for 60 s")
        asked = [request.json["keep_alive"] for request in server.requests if request.body]
        assert asked == [-1, 0, -1]


async def test_a_model_that_answered_last_is_not_thrown_out(
    ollama: FakeOllama, session: ClientSession
) -> None:
    backend = backend_at(ollama.url, session)
    await backend.load()
    ollama.hangs = True
    async with aclosing(backend.chat(HELLO)) as chunks:
        await anext(chunks)
    ollama.hangs = False
    await collect(backend)
    await backend.recover("/api/ps was late")
    ollama.refusal = (400, "failed to parse grammar")
    with pytest.raises(BackendFailed):
        await collect(backend)
    ollama.refusal = None
    await backend.recover("/api/ps was late")
    assert all(body["keep_alive"] == -1 for body in ollama.bodies)
    assert ollama.loads == 1


async def test_recovery_waits_until_ollama_answers_again(session: ClientSession) -> None:
    gone, ps, loaded = Reply(), answer("200 OK", {"models": None}), answer("200 OK", {})
    async with raw_server(gone, gone, loaded, ps) as server:
        with anyio.fail_after(10):
            await backend_at(server.url, session).recover("it died")
        assert len(server.requests) == 4


async def test_unloading_frees_the_memory(ollama: FakeOllama, session: ClientSession) -> None:
    backend = backend_at(ollama.url, session)
    await backend.load()
    await backend.unload()
    assert ollama.loaded == {}
    assert not (await backend.residency()).resident


async def test_a_model_without_a_tag_is_the_latest(
    ollama: FakeOllama, session: ClientSession
) -> None:
    backend = backend_at(ollama.url, session, "plain")
    await backend.load()
    assert (await backend.residency()).resident
    assert full_name("hub.example:5000/org/m") == "hub.example:5000/org/m:latest"


async def test_closing_the_iterator_stops_the_generation(
    ollama: FakeOllama, session: ClientSession
) -> None:
    ollama.hangs = True
    async with aclosing(backend_at(ollama.url, session).chat(HELLO)) as chunks:
        assert (await anext(chunks)).text == "good"
    with anyio.fail_after(5):
        await ollama.client_left.wait()


async def test_tool_calls_come_in_openais_shape(ollama: FakeOllama, session: ClientSession) -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "Paris"}}}
    ollama.lines = [
        orjson.dumps({"message": {"content": "", "tool_calls": [call, call]}}) + b"\n",
        b'{"done": true, "done_reason": "stop"}\n',
    ]
    chunks = await collect(backend_at(ollama.url, session))
    assert [delta["index"] for delta in chunks[0].tool_calls] == [0, 1]
    assert chunks[0].tool_calls[0] == {
        "index": 0,
        "id": "call_0",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
    }
    assert chunks[-1].finish == "tool_calls"


def given(name: str, arguments: object, key: object = "call_0") -> dict[str, object]:
    return {"id": key, "type": "function", "function": {"name": name, "arguments": arguments}}


async def test_earlier_tool_calls_and_their_results_are_told_in_ollamas_shape(
    ollama: FakeOllama, session: ClientSession
) -> None:
    first = [given("weather", '{"city":"Oslo"}'), given("clock", "", "call_1")]
    messages = (
        Message("user", "Weather in Oslo, and the time?"),
        Message("assistant", "", {"tool_calls": first}),
        Message("tool", "3 degrees", {"tool_call_id": "call_0"}),
        Message("tool", "noon", {"tool_call_id": "call_1"}),
        Message("assistant", "", {"tool_calls": [given("river", "{}")]}),
        Message("tool", "high", {"tool_call_id": "call_0"}),
        Message("tool", "old style", {"name": "tide", "tool_call_id": ["x"]}),
        Message("tool", "of nobody"),
    )
    await collect(backend_at(ollama.url, session), ChatRequest(messages))
    assert ollama.bodies[-1]["messages"] == [
        {"role": "user", "content": "Weather in Oslo, and the time?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"function": {"name": "weather", "arguments": {"city": "Oslo"}}},
                {"function": {"name": "clock", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "3 degrees", "tool_name": "weather"},
        {"role": "tool", "content": "noon", "tool_name": "clock"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "river", "arguments": {}}}],
        },
        {"role": "tool", "content": "high", "tool_name": "river"},
        {"role": "tool", "content": "old style", "tool_name": "tide"},
        {"role": "tool", "content": "of nobody"},
    ]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"city": ', {"arguments": '{"city": '}),
        ("[1]", {"arguments": "[1]"}),
        ({"city": "Oslo"}, {"city": "Oslo"}),
        (None, {}),
    ],
)
async def test_arguments_always_reach_ollama_as_an_object(
    ollama: FakeOllama, session: ClientSession, arguments: object, sent: object
) -> None:
    calls: list[object] = [given("weather", arguments), {"function": {}}, "no call"]
    turn = Message("assistant", "", {"tool_calls": calls})
    await collect(backend_at(ollama.url, session), ChatRequest((turn, *HELLO.messages)))
    assert ollama.bodies[-1]["messages"] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "weather", "arguments": sent}}],
        },
        {"role": "user", "content": "good morning to you"},
    ]


async def test_tools_that_must_not_be_called_are_not_offered(
    ollama: FakeOllama, session: ClientSession
) -> None:
    options = {"tools": [{"type": "function"}], "tool_choice": "none"}
    await collect(backend_at(ollama.url, session), ChatRequest(HELLO.messages, options=options))
    assert "tools" not in ollama.bodies[-1]


async def test_hidden_thinking_is_a_sign_of_life(
    ollama: FakeOllama, session: ClientSession
) -> None:
    ollama.lines = [b'{"message":{"content":"","thinking":"hm"}}\n', b'{"done":true}']
    assert await collect(backend_at(ollama.url, session)) == [
        Chunk(),
        Chunk(finish="stop", usage=Usage()),
    ]


async def test_too_long_a_prompt_is_refused_with_its_figures(
    ollama: FakeOllama, session: ClientSession
) -> None:
    long = ChatRequest(messages=(Message("user", "word " * 3000),))
    with pytest.raises(ContextExceeded, match=r"3000 tokens.* 2048"):
        await collect(backend_at(ollama.url, session), long)


async def test_an_old_ollama_that_cuts_the_prompt_is_caught(
    ollama: FakeOllama, session: ClientSession
) -> None:
    ollama.lines = [b'{"done": true, "done_reason": "stop", "prompt_eval_count": 2048}\n']
    with pytest.raises(ContextExceeded, match="cut it short"):
        await collect(backend_at(ollama.url, session))


REFUSALS: list[tuple[int, str, type[ModelError], str]] = [
    (404, f"model '{MODEL}' not found", UnknownModel, f"ollama pull {MODEL}"),
    (400, "the input length exceeds the context length", ContextExceeded, "context length"),
    (500, "model requires more system memory (9.0 GiB) than", InsufficientMemory, "9.0 GiB"),
    (503, "server busy, please try again", BackendUnavailable, "server busy"),
    (500, "llama runner process has terminated", BackendFailed, "terminated"),
    (400, '{"error":{"code":400,"message":"bad image"}}', BackendFailed, "bad image"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal[3])
async def test_what_ollama_refuses_is_said_in_tales_terms(
    ollama: FakeOllama,
    session: ClientSession,
    refusal: tuple[int, str, type[ModelError], str],
) -> None:
    status, message, error, said = refusal
    ollama.refusal = (status, message)
    backend = backend_at(ollama.url, session)
    with pytest.raises(error) as from_load:
        await backend.load()
    with pytest.raises(error) as from_chat:
        await collect(backend)
    assert said in str(from_load.value)
    assert said in str(from_chat.value)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b'{"error": "an error was encountered"}\n'], "an error was encountered"),
        ([b"<html>\n"], "not Ollama's: <html>"),
        ([b'{"message": {"content": "half"}}\n'], "closed the stream"),
        ([b'{"message": {"content": "ha'], "not Ollama's"),
        ([b"x" * (17 << 20)], "without a line end"),
    ],
    ids=["error", "garbage", "no-end", "cut-line", "endless-line"],
)
async def test_a_stream_that_goes_wrong_has_failed(
    ollama: FakeOllama, session: ClientSession, lines: list[bytes], said: str
) -> None:
    ollama.lines = lines
    with pytest.raises(BackendFailed) as caught:
        await collect(backend_at(ollama.url, session))
    assert said in str(caught.value)


async def test_a_connection_that_breaks_is_told_apart_by_what_had_come(
    session: ClientSession,
) -> None:
    half = b'{"message": {"content": "half"}}\n'
    async with raw_server(stream(whole=False), stream(half, whole=False)) as server:
        backend = backend_at(server.url, session)
        with pytest.raises(BackendUnavailable):
            await collect(backend)
        with pytest.raises(BackendFailed, match="in the middle"):
            await collect(backend)


async def test_without_ollama_nobody_says_whether_a_model_is_resident(
    session: ClientSession,
) -> None:
    backend = backend_at(unused_url(), session)
    with pytest.raises(BackendUnavailable, match="not reachable"):
        await backend.residency()
    with pytest.raises(BackendUnavailable, match="not reachable"):
        await backend.load()


@pytest.mark.parametrize(
    "reply", [answer("500 Oops", {"error": "oops"}), answer("200 OK", b"<html>")]
)
async def test_a_program_that_is_not_ollama_says_nothing_of_residents(
    session: ClientSession, reply: Reply
) -> None:
    async with raw_server(reply) as server:
        with pytest.raises(BackendFailed):
            await backend_at(server.url, session).residency()


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ((MODEL, "qwen2.5:14b"), True),
        ((MODEL, "plain"), True),
        ((MODEL, "qwen2.5:32b"), False),
        ((), True),
    ],
)
async def test_the_pair_is_found_only_where_both_are_pulled(
    ollama: FakeOllama, names: tuple[str, ...], found: bool
) -> None:
    assert await find_pair(ollama.url + "v1/", names) is found


async def test_no_pair_is_found_where_nobody_or_somebody_else_answers(
    ollama: FakeOllama,
) -> None:
    assert not await find_pair(unused_url(), [MODEL])
    async with raw_server(answer("404 Not Found", b"")) as server:
        assert not await find_pair(server.url, [MODEL])
    async with raw_server(answer("200 OK", b"<html>")) as server:
        assert not await find_pair(server.url, [MODEL])
    ollama.slow = True
    assert not await find_pair(ollama.url, [MODEL])
