"""OpenAI-compatible servers, our own llama.cpp processes, and the in-memory model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import pairwise

import anyio
import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from raw_http import DONE, Reply, answer, delta, event, finish, raw_server, stream, unused_url
from tale.errors import (
    BackendBroke,
    BackendFailed,
    BackendUnavailable,
    ContextExceeded,
    DaemonError,
    LoadFailed,
    ModelError,
    ModelFileDamaged,
    UnknownModel,
)
from tale.models._chat_stream import ChatDecoder
from tale.models._faults import ErrorDetail, read_error
from tale.models._sse import MAX_LINE, EventParser
from tale.models.backend import Backend, ChatRequest, Chunk, Message, Usage
from tale.models.embedded import EmbeddedBackend
from tale.models.launcher import InMemoryLauncher, Launcher, LeashLauncher
from tale.models.memory_backend import Failure, InMemoryBackend
from tale.models.openai_http import OpenAIBackend, open_session
from tale.wire.leash import FailedStart, Peer
from tale.wire.peers import FixedPeers

pytestmark = pytest.mark.anyio

HELLO = ChatRequest(messages=(Message("system", "Be kind."), Message("user", "hello")))
USAGE = {
    "completion_tokens": 4,
    "prompt_tokens": 31,
    "total_tokens": 35,
    "prompt_tokens_details": {"cached_tokens": 30},
}
MODELS = {"object": "list", "data": [{"id": "m"}]}


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


def openai(url: str, session: ClientSession, key: str = "") -> OpenAIBackend:
    return OpenAIBackend("m", 4096, f"{url}/v1", key, session=session)


async def collect(backend: Backend, request: ChatRequest = HELLO) -> list[Chunk]:
    return [chunk async for chunk in backend.chat(request)]


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


# -- bytes → events → chunks ----------------------------------------------------------------------

BODY = (
    b": comment\n\nevent: message\nid: 7\n"
    + event({"choices": [{"delta": {"role": "assistant", "content": None}}]})
    + b'data: {"choices":[{"delta":{"content":"caf\xc3\xa9"}}]}\r\n\r\n'
    + b'data: {"choices":\ndata: [{"delta":{"content":" noir"}}]}\n\n'
    + finish("length")
    + event({"choices": [], "usage": USAGE})
    + DONE
    + b"data: nothing that comes after the end is read\n\n"
)


def no_fault(detail: ErrorDetail) -> ModelError:
    return BackendFailed(detail.message)


@given(st.lists(st.integers(0, len(BODY)), max_size=12))
def test_an_answer_is_read_the_same_however_the_network_cuts_it(cuts: list[int]) -> None:
    decoder = ChatDecoder("it", no_fault)
    edges = [0, *sorted(cuts), len(BODY)]
    chunks = [chunk for begin, end in pairwise(edges) for chunk in decoder.feed(BODY[begin:end])]
    assert text_of(chunks) == "café noir"
    assert chunks[-1] == Chunk(finish="length", usage=Usage(31, 4, 30))
    assert decoder.done
    assert decoder.finish() == []


def test_an_event_without_its_last_blank_line_is_read_at_the_end() -> None:
    parser = EventParser()
    assert parser.feed(b"data: one") == []
    assert parser.finish() == [b"one"]
    assert parser.finish() == []


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    decoder = ChatDecoder("it", no_fault)
    with pytest.raises(BackendFailed, match="without a line end"):
        decoder.feed(b"x" * (MAX_LINE + 1))


@pytest.mark.parametrize(
    ("event_body", "usage"),
    [
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 2}}, Usage(3, 2, 0)),
        (
            {"usage": {"prompt_tokens": 9, "completion_tokens": 2}, "timings": {"cache_n": 8}},
            Usage(9, 2, 8),
        ),
        ({"timings": {"cache_n": 24, "prompt_n": 10, "predicted_n": 60}}, Usage(34, 60, 24)),
        ({"usage": None}, None),
    ],
    ids=["plain", "cache-in-timings", "timings-only", "none"],
)
def test_usage_is_read_wherever_a_server_puts_it(
    event_body: dict[str, object], usage: Usage | None
) -> None:
    decoder = ChatDecoder("it", no_fault)
    decoder.feed(event({"choices": [{"finish_reason": "stop"}], **event_body}))
    assert decoder.finish() == [Chunk(finish="stop", usage=usage)]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("stop", "stop"), ("length", "length"), ("function_call", "tool_calls"), ("refusal", "stop")],
)
def test_reasons_that_providers_invent_become_one_of_three(sent: str, kept: str) -> None:
    decoder = ChatDecoder("it", no_fault)
    assert decoder.feed(finish(sent) + DONE)[-1].finish == kept


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "no", "code": 3}}', "no"),
        (b'{"error": "no"}', "no"),
        (b'{"object": "error", "message": "no"}', "no"),
        (b'{"detail": "no"}', '{"detail": "no"}'),
        (b"<html>no</html>", "<html>no</html>"),
        (b"\xff" * 900, "\N{REPLACEMENT CHARACTER}" * 200 + "…"),
    ],
)
def test_errors_are_understood_in_every_shape_in_use(body: bytes, message: str) -> None:
    assert read_error(body).message == message


# -- an OpenAI-compatible server ------------------------------------------------------------------


async def test_a_streamed_answer_comes_chunk_by_chunk_with_its_usage(
    session: ClientSession,
) -> None:
    reply = stream(delta("he"), delta("y"), finish(), event({"choices": [], "usage": USAGE}), DONE)
    async with raw_server(reply) as server:
        chunks = await collect(openai(server.url, session))
    assert chunks[:2] == [Chunk(text="he"), Chunk(text="y")]
    assert chunks[-1] == Chunk(finish="stop", usage=Usage(31, 4, 30))
    assert [chunk.finish for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


async def test_the_request_carries_what_was_asked_and_what_tale_does_not_interpret(
    session: ClientSession,
) -> None:
    request = ChatRequest(
        messages=HELLO.messages,
        max_tokens=7,
        temperature=0,
        stop=("END",),
        options={"seed": 3, "tools": [{"type": "function"}], "stream": False, "model": "other"},
    )
    async with raw_server(stream(finish(), DONE)) as server:
        await collect(openai(server.url, session, "secret"), request)
    sent = server.requests[0]
    assert sent.line == "POST /v1/chat/completions HTTP/1.1"
    assert sent.headers["authorization"] == "Bearer secret"
    assert sent.json == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hello"},
        ],
        "max_tokens": 7,
        "temperature": 0,
        "stop": ["END"],
        "seed": 3,
        "tools": [{"type": "function"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_tool_calls_are_handed_on_as_they_came(session: ClientSession) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":'}}
    reply = stream(
        event({"choices": [{"delta": {"tool_calls": [call]}}]}), finish("tool_calls"), DONE
    )
    async with raw_server(reply) as server:
        chunks = await collect(openai(server.url, session))
    assert chunks[0].tool_calls == (call,)
    assert chunks[-1].finish == "tool_calls"


async def test_an_event_without_text_is_a_sign_of_life(session: ClientSession) -> None:
    progress = event({"choices": [{"delta": {"content": None}}], "prompt_progress": {"total": 9}})
    async with raw_server(stream(progress, delta("a"), finish(), DONE)) as server:
        assert (await collect(openai(server.url, session)))[0] == Chunk()


async def test_closing_the_iterator_closes_the_connection(session: ClientSession) -> None:
    async with raw_server(stream(delta("one"), end="hold", whole=False)) as server:
        async with aclosing(openai(server.url, session).chat(HELLO)) as chunks:
            assert (await anext(chunks)).text == "one"
        with anyio.fail_after(5):
            await server.client_left.wait()


async def test_cancelling_the_reader_closes_the_connection(session: ClientSession) -> None:
    async with raw_server(stream(delta("one"), end="hold", whole=False)) as server:
        with anyio.CancelScope() as scope:
            async for _ in openai(server.url, session).chat(HELLO):
                scope.cancel()
        assert scope.cancelled_caught
        with anyio.fail_after(5):
            await server.client_left.wait()


async def test_a_connection_dropped_after_an_answer_loses_no_request(
    session: ClientSession,
) -> None:
    # As llama.cpp does it: keep-alive announced, closed all the same.
    async with raw_server(stream(delta("a"), finish(), DONE, end="close")) as server:
        for _ in range(5):
            assert text_of(await collect(openai(server.url, session))) == "a"
        assert server.connections == 5
    assert server.requests[0].headers["connection"] == "close"


UNAVAILABLE = [
    Reply(end="close"),
    Reply(end="reset"),
    answer("503 Unavailable", {"error": {"message": "Loading model", "code": 503}}),
    answer("502 Bad Gateway", b"<html>nginx</html>"),
    stream(end="reset", whole=False),
]


@pytest.mark.parametrize("reply", UNAVAILABLE, ids=["closed", "reset", "503", "502", "no-token"])
async def test_a_server_that_generated_nothing_may_come_back(
    session: ClientSession, reply: Reply
) -> None:
    async with raw_server(reply) as server:
        with pytest.raises(BackendUnavailable):
            await collect(openai(server.url, session))


async def test_a_refused_connection_names_the_address(session: ClientSession) -> None:
    url = unused_url()
    with pytest.raises(BackendUnavailable, match=url):
        await collect(openai(url, session))


FAILED = [
    (stream(delta("a")), "closed the stream"),
    (stream(delta("a"), whole=False), "in the middle"),
    (stream(delta("a"), end="reset", whole=False), "in the middle"),
    (stream(event({"error": {"message": "kaput", "code": 500}})), "kaput"),
    (stream(event({"error": "kaput"})), "kaput"),
    (stream(event(b"not json")), "no chat completion: not json"),
    (stream(event([1, 2])), "no chat completion"),
    (stream(delta("a")[:-9]), "no chat completion"),
    (Reply([b"SSH-2.0-OpenSSH_9.7\r\n"]), "does not speak HTTP"),
    (answer("500 Oops", {"error": {"message": "oops"}}), "oops"),
    (answer("429 Slow down", {"error": {"message": "slow down"}}), "slow down"),
    (answer("404 Not Found", b"nothing here"), "no such page"),
    (answer("400 Bad", {"error": {"message": "Expected 'messages'"}}), "Expected"),
    (answer("401 Unauthorized", {"error": {"message": "Invalid API Key"}}), "api_key"),
    (answer("403 Forbidden", b""), "api_key"),
]


@pytest.mark.parametrize(("reply", "said"), FAILED, ids=[said for _, said in FAILED])
async def test_a_server_that_answers_wrongly_has_failed(
    session: ClientSession, reply: Reply, said: str
) -> None:
    async with raw_server(reply) as server:
        with pytest.raises(BackendFailed) as caught:
            await collect(openai(server.url, session))
    assert said in str(caught.value)
    # What broke off may be asked for again; what was answered wrongly may not.
    broke = said in {"closed the stream", "in the middle"}
    assert isinstance(caught.value, BackendBroke) == broke


async def test_text_that_came_before_a_failure_is_not_lost(session: ClientSession) -> None:
    async with raw_server(stream(delta("half"), whole=False)) as server:
        chunks = openai(server.url, session).chat(HELLO)
        assert (await anext(chunks)).text == "half"
        with pytest.raises(BackendFailed):
            await anext(chunks)


OVERFLOWS = [
    {
        "error": {
            "code": 400,
            "message": "request (831 tokens) exceeds the available context size (512 tokens)",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": 831,
            "n_ctx": 512,
        }
    },
    {"error": {"message": "maximum context length is 512 tokens", "type": "BadRequestError"}},
    {"error": {"message": "too long", "code": "context_length_exceeded"}},
]


@pytest.mark.parametrize("body", OVERFLOWS, ids=["llama.cpp", "vLLM", "OpenAI"])
async def test_too_long_a_prompt_is_told_apart(
    session: ClientSession, body: dict[str, object]
) -> None:
    async with raw_server(answer("400 Bad Request", body)) as server:
        with pytest.raises(ContextExceeded) as caught:
            await collect(openai(server.url, session))
    if "n_ctx" in str(body):
        assert "831 tokens" in str(caught.value)
        assert "512" in str(caught.value)


async def test_a_prompt_that_fits_only_without_the_longest_answer_is_asked_without_that_limit(
    session: ClientSession,
) -> None:
    refused = answer("400 Bad Request", OVERFLOWS[1])
    request = replace(HELLO, max_tokens=4000)
    async with raw_server(refused, stream(delta("hi"), finish(), DONE), refused) as server:
        assert text_of(await collect(openai(server.url, session), request)) == "hi"
        asked = [sent.json.get("max_tokens") for sent in server.requests]
        assert asked == [4000, None]
        with pytest.raises(ContextExceeded):
            await collect(openai(server.url, session), request)
        assert len(server.requests) == 4
    half = stream(delta("half"), event(OVERFLOWS[1]))
    async with raw_server(half) as server:
        with pytest.raises(ContextExceeded):
            await collect(openai(server.url, session), request)
        assert len(server.requests) == 1


async def test_a_model_that_the_server_lacks_is_unknown(session: ClientSession) -> None:
    body = {"error": {"message": "The model `m` does not exist.", "code": "model_not_found"}}
    async with raw_server(answer("404 Not Found", body)) as server:
        with pytest.raises(UnknownModel, match="does not exist"):
            await collect(openai(server.url, session))


async def test_an_address_that_is_no_url_is_said_to_be_none(session: ClientSession) -> None:
    backend = OpenAIBackend("m", 1, "not a url", session=session)
    with pytest.raises(BackendFailed, match="no URL"):
        await collect(backend)


@pytest.mark.parametrize("listed", ["m", "other"])
async def test_loading_checks_that_the_server_answers(session: ClientSession, listed: str) -> None:
    async with raw_server(answer("200 OK", {"data": [{"id": listed}]})) as server:
        backend = openai(server.url, session)
        await backend.load()
        assert (await backend.residency()).resident
        await backend.unload()
        assert (backend.model, backend.context) == ("m", 4096)
    assert not (await backend.residency()).resident
    with pytest.raises(BackendUnavailable):
        await backend.load()


async def test_loading_refuses_what_is_no_list_of_models(session: ClientSession) -> None:
    async with raw_server(answer("200 OK", b"<html>hi</html>")) as server:
        with pytest.raises(BackendFailed, match="not OpenAI's"):
            await openai(server.url, session).load()


async def test_a_list_of_models_that_breaks_off_is_a_server_that_went_away(
    session: ClientSession,
) -> None:
    cut = Reply([b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"data": ['])
    async with raw_server(cut) as server:
        with pytest.raises(BackendUnavailable, match="broke off"):
            await openai(server.url, session).load()


async def test_a_body_without_end_does_not_fill_the_memory(session: ClientSession) -> None:
    endless = Reply([b"HTTP/1.1 200 OK\r\n\r\n", *[b" " * (1 << 20)] * 5], "hold")
    async with raw_server(endless) as server:
        with pytest.raises(BackendFailed, match="not OpenAI's"):
            await openai(server.url, session).load()


async def test_an_answer_may_end_without_the_word_done(session: ClientSession) -> None:
    async with raw_server(stream(delta("a"), finish())) as server:
        chunks = await collect(openai(server.url, session))
    assert chunks[-1] == Chunk(finish="stop")


async def test_recovery_waits_until_the_server_answers_again(session: ClientSession) -> None:
    loading = answer("503 Unavailable", {"error": {"message": "Loading model"}})
    async with raw_server(loading, Reply(end="reset"), answer("200 OK", MODELS)) as server:
        with anyio.fail_after(10):
            await openai(server.url, session).recover("it died")
        assert len(server.requests) == 3


async def test_recovery_gives_up_on_a_key_that_is_refused(session: ClientSession) -> None:
    async with raw_server(answer("401 Unauthorized", b"")) as server:
        with pytest.raises(BackendFailed, match="api_key"):
            await openai(server.url, session).recover("it died")


# -- our own processes ----------------------------------------------------------------------------


def embedded(launcher: Launcher, session: ClientSession) -> EmbeddedBackend:
    return EmbeddedBackend(
        "model-ux",
        "m",
        2048,
        launcher=launcher,
        module_args=["--model=m.gguf"],
        nice=19,
        token="secret",
        session=session,
    )


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


async def test_loading_has_the_process_started_and_waits_until_it_is_ready(
    session: ClientSession,
) -> None:
    launcher = InMemoryLauncher()
    backend = embedded(launcher, session)
    assert not (await backend.residency()).resident
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backend.load)
        await anyio.wait_all_tasks_blocked()
        assert launcher.calls == [("start", "model-ux")]
        launcher.comes_up("model-ux", "http://127.0.0.1:1")
        launcher.announce("model-ux")
    residency = await backend.residency()
    assert residency.resident
    assert residency.pid == os.getpid()
    assert residency.starts == 2
    assert residency.memory_bytes is not None
    assert residency.memory_bytes > 1 << 20
    assert (backend.model, backend.context) == ("m", 2048)


async def test_each_request_goes_to_where_the_process_is_now(session: ClientSession) -> None:
    launcher = InMemoryLauncher()
    backend = embedded(launcher, session)
    async with (
        raw_server(stream(delta("first"), finish(), DONE)) as first,
        raw_server(stream(delta("second"), finish(), DONE)) as second,
    ):
        launcher.comes_up("model-ux", first.url)
        await backend.load()
        assert text_of(await collect(backend)) == "first"
        launcher.comes_up("model-ux", second.url)
        launcher.announce("model-ux")
        assert text_of(await collect(backend)) == "second"
    sent = first.requests[0]
    assert sent.headers["authorization"] == "Bearer secret"
    assert sent.json["return_progress"] is True


@pytest.mark.parametrize(
    ("reply", "count"),
    [
        (answer("200 OK", b'{"tokens": [7, 8, 9]}'), 3),
        (answer("200 OK", b'{"tokens": "many"}'), None),
        (answer("500 Oops", b"{}"), None),
    ],
)
async def test_tokens_are_counted_by_the_process(
    session: ClientSession, reply: Reply, count: int | None
) -> None:
    launcher = InMemoryLauncher()
    backend = embedded(launcher, session)
    with pytest.raises(BackendUnavailable):
        await backend.count_tokens("a b c")
    async with raw_server(reply) as server:
        launcher.comes_up("model-ux", server.url)
        await backend.load()
        if count is None:
            with pytest.raises(BackendFailed):
                await backend.count_tokens("a b c")
        else:
            assert await backend.count_tokens("a b c") == count
    assert server.requests[0].json == {"content": "a b c"}
    assert server.requests[0].headers["authorization"] == "Bearer secret"


async def test_without_a_process_the_model_is_unavailable(session: ClientSession) -> None:
    with pytest.raises(BackendUnavailable, match="model-ux"):
        await collect(embedded(InMemoryLauncher(), session))


async def test_a_process_that_hangs_is_replaced(session: ClientSession) -> None:
    launcher = InMemoryLauncher()
    backend = embedded(launcher, session)
    async with raw_server(stream(delta("one"), end="hold", whole=False)) as server:
        launcher.comes_up("model-ux", server.url)
        await backend.load()
        async with aclosing(backend.chat(HELLO)) as chunks:
            await anext(chunks)
        await backend.recover("no token for 60 s")
    assert launcher.calls[-1] == ("restart", "model-ux")
    assert (await backend.residency()).starts == 2


async def test_a_process_that_was_replaced_meanwhile_is_left_alone(session: ClientSession) -> None:
    launcher = InMemoryLauncher()
    backend = embedded(launcher, session)
    async with raw_server(stream(delta("one"), whole=False)) as server:
        launcher.comes_up("model-ux", server.url)
        await backend.load()
        with pytest.raises(BackendFailed):
            await collect(backend)
        launcher.announce("model-ux")
        await backend.recover("it died")
        assert ("restart", "model-ux") not in launcher.calls
        with pytest.raises(BackendFailed):
            await collect(backend)
        await backend.recover("it hangs")
    assert launcher.calls[-1] == ("restart", "model-ux")


async def test_an_old_suspicion_ends_with_the_next_process(session: ClientSession) -> None:
    launcher = InMemoryLauncher()
    backend = embedded(launcher, session)
    async with raw_server(
        stream(delta("one"), whole=False), stream(delta("two"), finish(), DONE)
    ) as server:
        launcher.comes_up("model-ux", server.url)
        await backend.load()
        with pytest.raises(BackendFailed):
            await collect(backend)
        launcher.announce("model-ux")
        await collect(backend)
    await backend.recover("it hangs")
    assert launcher.calls[-1] == ("restart", "model-ux")


async def test_a_dead_process_is_waited_for_and_not_killed_again(session: ClientSession) -> None:
    launcher = InMemoryLauncher()
    backend = embedded(launcher, session)
    launcher.comes_up("model-ux", "http://127.0.0.1:1", pid=dead_pid())
    await backend.load()
    assert not (await backend.residency()).resident
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backend.recover, "it died")
        await anyio.wait_all_tasks_blocked()
        launcher.comes_up("model-ux", "http://127.0.0.1:2")
        launcher.announce("model-ux")
    assert launcher.calls == [("start", "model-ux")]
    assert (await backend.residency()).starts == 2


async def test_a_process_that_is_gone_is_asked_for_again(session: ClientSession) -> None:
    launcher = InMemoryLauncher()
    backend = embedded(launcher, session)
    launcher.comes_up("model-ux", "http://127.0.0.1:1")
    await backend.load()
    launcher.goes_down("model-ux")
    await backend.recover("it died")
    assert (await backend.residency()).resident
    launcher.stays_down("model-ux")
    await backend.unload()
    assert not (await backend.residency()).resident
    assert launcher.calls[-1] == ("stop", "model-ux")


async def test_a_process_that_can_not_load_fails_the_load_with_its_last_words(
    session: ClientSession,
) -> None:
    launcher = InMemoryLauncher()
    backend = embedded(launcher, session)
    launcher.fails("model-ux", ModelFileDamaged("m.gguf is cut off.", hint="Fetch it again."))
    for attempt in (backend.load, partial(backend.recover, "damaged"), backend.load):
        with pytest.raises(ModelFileDamaged, match="cut off"):
            await attempt()
        assert launcher.calls[-2:] == [("start", "model-ux"), ("stop", "model-ux")]
    launcher.fails("model-ux")
    with pytest.raises(LoadFailed, match="ended before it was ready: exit 70") as caught:
        await backend.load()
    assert "tale logs model-ux" in caught.value.hint
    launcher.comes_up("model-ux", "http://127.0.0.1:1")
    await backend.load()
    assert (await backend.residency()).resident


class LeashTwin(FixedPeers):
    """A leash whose supervisor records what it is asked, or refuses."""

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__()
        self.calls: list[tuple[str, dict[str, JsonValue]]] = []
        self.refuses = refuses

    async def call(self, operation: str, **arguments: JsonValue) -> JsonValue:
        self.calls.append((operation, arguments))
        if self.refuses:
            raise DaemonError("no more processes", hint="Stop some.")
        return {}


def announced(pid: int, starts: int) -> Peer:
    return Peer(service="model-ux", name="model-ux", url="http://x", pid=pid, starts=starts)


async def test_the_supervisor_is_asked_in_its_own_terms() -> None:
    leash = LeashTwin()
    launcher = LeashLauncher(leash)
    await launcher.start("model-ux", ["--model=m.gguf"], 19)
    await launcher.restart("model-ux", "it hangs")
    await launcher.stop("model-ux")
    await launcher.keep_only({"model-ux", "model-task"})
    assert leash.calls == [
        ("start_model", {"name": "model-ux", "module_args": ["--model=m.gguf"], "nice": 19}),
        ("restart_server", {"name": "model-ux", "reason": "it hangs"}),
        ("stop_server", {"name": "model-ux"}),
        ("keep_models", {"names": ["model-task", "model-ux"]}),
    ]


async def test_a_supervisor_that_can_not_end_old_processes_keeps_no_model_from_loading() -> None:
    leash = LeashTwin(refuses=True)
    await LeashLauncher(leash).keep_only(())
    assert leash.calls == [("keep_models", {"names": []})]


async def test_readiness_is_awaited_past_the_process_that_died() -> None:
    leash = LeashTwin()
    launcher = LeashLauncher(leash)
    old, new = announced(1, 1), announced(2, 2)
    leash.set(old)
    assert await launcher.wait_ready("model-ux") == old
    found: list[Peer] = []

    async def wait() -> None:
        found.append(await launcher.wait_ready("model-ux", after=old))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        leash.set()
        await anyio.wait_all_tasks_blocked()
        leash.set(new)
    assert found == [new]


async def test_a_failure_from_before_is_not_taken_for_that_of_a_new_attempt() -> None:
    leash = LeashTwin()
    launcher = LeashLauncher(leash)
    leash.set(failed=[FailedStart(name="model-ux", number=3, reason="exit 65")])
    await launcher.start("model-ux", [], 0)
    found: list[Peer] = []

    async def wait() -> None:
        found.append(await launcher.wait_ready("model-ux"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        leash.set(announced(1, 5))
    assert found == [announced(1, 5)]
    leash.set(failed=[FailedStart(name="model-ux", number=4, reason="exit 65")])
    with pytest.raises(LoadFailed, match="exit 65"):
        await launcher.wait_ready("model-ux")


async def test_what_the_supervisor_refuses_is_a_model_that_is_unavailable(
    session: ClientSession,
) -> None:
    backend = embedded(LeashLauncher(LeashTwin(refuses=True)), session)
    for attempt in (backend.load, backend.unload, partial(backend.recover, "why")):
        with pytest.raises(BackendUnavailable, match="no more processes") as caught:
            await attempt()
        assert caught.value.hint == "Stop some."


# -- the in-memory model --------------------------------------------------------------------------


async def test_the_in_memory_model_echoes_word_by_word() -> None:
    backend = InMemoryBackend(answers=["two words"])
    await backend.load()
    await backend.load()
    assert [chunk.text for chunk in await collect(backend)] == ["two", " words", ""]
    echoed = await collect(backend)
    assert text_of(echoed) == "hello"
    assert echoed[-1] == Chunk(finish="stop", usage=Usage(prompt=3, completion=1))
    assert (backend.loads, backend.running, backend.cancelled) == (1, 0, 0)
    assert backend.requests == [HELLO, HELLO]


async def test_the_in_memory_model_keeps_to_max_tokens() -> None:
    backend = InMemoryBackend(answers=["one two three", ""])
    await backend.load()
    chunks = await collect(backend, ChatRequest(messages=HELLO.messages, max_tokens=2))
    assert text_of(chunks) == "one two"
    assert chunks[-1].finish == "length"
    assert text_of(await collect(backend)) == ""
    assert (backend.model, backend.context) == ("memory", 4096)


async def test_the_in_memory_model_is_unavailable_unless_loaded() -> None:
    backend = InMemoryBackend()
    for leave in (backend.unload, None):
        with pytest.raises(BackendUnavailable):
            await collect(backend)
        assert not (await backend.residency()).resident
        await backend.load()
        assert (await backend.residency()).resident
        if leave:
            await leave()
    backend.evict()
    assert not (await backend.residency()).resident
    assert (backend.loads, backend.unloads) == (2, 1)


@pytest.mark.parametrize(
    ("failure", "error"),
    [("unavailable", BackendUnavailable), ("fail", BackendFailed), ("break", BackendFailed)],
)
async def test_the_in_memory_model_fails_as_often_as_it_is_told(
    failure: Failure, error: type[ModelError]
) -> None:
    backend = InMemoryBackend()
    await backend.load()
    backend.inject(failure, times=2)
    for _ in range(2):
        with pytest.raises(error):
            await collect(backend)
    assert text_of(await collect(backend)) == "hello"
    assert backend.cancelled == 0


async def test_the_in_memory_model_stalls_until_it_is_recovered() -> None:
    backend = InMemoryBackend()
    await backend.load()
    backend.inject("stall")
    async with aclosing(backend.chat(HELLO)) as chunks:
        assert (await anext(chunks)).text == "hello"
        with anyio.move_on_after(0) as scope:
            await anext(chunks)
        assert scope.cancelled_caught
    assert (backend.running, backend.cancelled) == (0, 1)
    await backend.recover("stalled")
    assert backend.recoveries == ["stalled"]
    assert text_of(await collect(backend)) == "hello"


async def test_the_in_memory_model_hangs_in_load_until_it_is_mended() -> None:
    backend = InMemoryBackend()
    backend.inject("hang_load")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backend.load)
        await anyio.wait_all_tasks_blocked()
        assert not (await backend.residency()).resident
        backend.mend()
    assert (await backend.residency()).resident
    backend.inject("unavailable")
    with pytest.raises(BackendUnavailable):
        await backend.load()
