"""The single-POST MCP caller, against the MCP SDK's own server over a real socket."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tale.cli.client import McpClient
from tale.cli.record import Record
from tale.cli.transport import Broken, NotSent, request_json
from tale.errors import TaleError, TaskNotFound, Unauthorized, WireError
from tale.servers.guard import Guard
from tale.servers.mcp_app import McpApp, Progress
from tale.wire.chat_contracts import CHAT, ChatReply, ChatRequest
from tale.wire.contracts import SHOW, TaskRequest, TaskView

TOKEN = "the-token"


async def _chat(request: ChatRequest, progress: Progress) -> ChatReply:
    for word in request.text.split():
        await progress({"token": word})
    return ChatReply(session="s", answer=request.text, model="tiny", role="ux")


async def _show(request: TaskRequest, progress: Progress) -> TaskView:
    del progress
    if request.id == "crash":
        raise RuntimeError("no")
    raise TaskNotFound(f"No task {request.id!r}.", hint="`tale tasks` lists them.")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = McpApp("test", "For tests.")
    app.add(CHAT, _chat)
    app.add(SHOW, _show)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(Guard(app.build(), TOKEN), log_config=None, ws="none", lifespan="on")
    )
    thread = threading.Thread(target=server.run, args=([sock],))
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    sock.close()


def test_a_call_gives_the_structured_result(url: str) -> None:
    reply = McpClient(url, TOKEN).call("chat", {"text": "hello"})
    assert reply.text("answer") == "hello"
    assert reply.text("model") == "tiny"


def test_progress_comes_in_order_before_the_result(url: str) -> None:
    said: list[str] = []
    reply = McpClient(url, TOKEN).call(
        "chat", {"text": "one two three"}, lambda record: said.append(record.text("token"))
    )
    assert said == ["one", "two", "three"]
    assert reply.text("answer") == "one two three"


def test_text_that_is_not_ascii_arrives_whole(url: str) -> None:
    assert McpClient(url, TOKEN).call("chat", {"text": "grüße 🌍"}).text("answer") == "grüße 🌍"


def test_an_error_of_the_tool_is_raised_as_its_class(url: str) -> None:
    with pytest.raises(TaskNotFound, match="No task 'x'") as caught:
        McpClient(url, TOKEN).call("show", {"id": "x"})
    assert caught.value.hint == "`tale tasks` lists them."


def test_a_crash_in_a_tool_names_the_log(url: str) -> None:
    with pytest.raises(TaleError, match="failed unexpectedly") as caught:
        McpClient(url, TOKEN).call("show", {"id": "crash"})
    assert "tale logs" in caught.value.hint


def test_bad_arguments_and_unknown_tools_are_errors_in_words(url: str) -> None:
    with pytest.raises(TaleError, match="text: Field required"):
        McpClient(url, TOKEN).call("chat", {})
    with pytest.raises(TaleError, match="no tool 'nope'"):
        McpClient(url, TOKEN).call("nope", {})


def test_an_answer_that_is_stopped_leaves_the_server_usable(url: str) -> None:
    def interrupt(record: Record) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        McpClient(url, TOKEN).call("chat", {"text": "one two"}, interrupt)
    assert McpClient(url, TOKEN).call("chat", {"text": "again"}).text("answer") == "again"


def test_a_wrong_token_is_refused(url: str) -> None:
    with pytest.raises(Unauthorized):
        McpClient(url, "wrong").call("chat", {"text": "x"})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_a_signal_that_comes_to_another_thread_ends_a_silent_wait() -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    heard = threading.Event()
    in_time: list[bool] = []
    waits_in = Path(f"/proc/self/task/{threading.get_native_id()}/wchan")

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            while not any(word in waits_in.read_text() for word in ("poll", "select")):
                assert not heard.is_set()
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            in_time.append(heard.wait(10))

    before = signal.signal(signal.SIGUSR1, interrupt)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(Interrupted):
                request_json(
                    "GET", f"http://127.0.0.1:{server.getsockname()[1]}", token="t", silence=60
                )
        finally:
            heard.set()
            thread.join()
            signal.signal(signal.SIGUSR1, before)
    assert in_time == [True]


def test_nobody_listening_means_not_sent() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(NotSent, match="does not answer"):
        McpClient(f"http://127.0.0.1:{port}", TOKEN).call("chat", {"text": "x"})


class _Canned:
    """Takes one connection, reads the request, and answers with fixed bytes."""

    def __init__(self, answer: bytes) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self._answer = answer
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> _Canned:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.join()
        self._sock.close()

    def _serve(self) -> None:
        connection, _ = self._sock.accept()
        with connection:
            # A socket that is closed with bytes unread takes its answer back.
            with connection.makefile("rb") as stream:
                length = 0
                while line := stream.readline().strip():
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                stream.read(length)
            connection.sendall(self._answer)


def _http(body: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"", Broken, "broke"),
        (_http(b""), WireError, "not JSON"),
        (_http(b"hello"), WireError, "not JSON"),
        (_http(b"data: {}\n\n", "text/event-stream"), Broken, "before the result"),
        (_http(b'{"error": {"code": -32601, "message": "no"}}'), WireError, "no .-32601."),
        (_http(b"gone", status="418 I'm a teapot"), WireError, "HTTP status 418"),
        (_http(b"gone", status="500 Internal Server Error"), Broken, "HTTP status 500"),
        (_http(b'{"result": {"isError": true}}'), WireError, "did not say why"),
        (
            _http(b'{"result": {"isError": true, "content": [{"type": "text", "text": "bad"}]}}'),
            WireError,
            "bad",
        ),
    ],
)
def test_answers_that_are_none_are_errors_in_words(
    answer: bytes, error: type[TaleError], words: str
) -> None:
    with _Canned(answer) as server, pytest.raises(error, match=words):
        McpClient(server.url, TOKEN, silence=5).call("chat", {"text": "x"})


def test_progress_that_is_not_ours_is_an_empty_record() -> None:
    note = b'{"method": "notifications/progress", "params": {"message": "plain words"}}'
    stream = b"data: " + note + b'\n\ndata: {"result": {"structuredContent": {"a": "b"}}}\n\n'
    said: list[Any] = []
    with _Canned(_http(stream, "text/event-stream")) as server:
        reply = McpClient(server.url, TOKEN).call("chat", {}, lambda r: said.append(r.raw))
    assert said == [{}]
    assert reply.raw == {"a": "b"}


def test_plain_http_that_is_not_json_is_an_error_in_words() -> None:
    with _Canned(_http(b"<html>")) as server, pytest.raises(WireError, match="not JSON"):
        request_json("GET", f"{server.url}/pool", token=TOKEN)
