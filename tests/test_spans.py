"""Spans: none where nobody asked; else OpenTelemetry's, received over OTLP by a real server."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import orjson
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tale import spans, trace
from tale.errors import BackendFailed
from tale.models.backend import ChatRequest, Message, Usage
from tale.models.entry import Entry
from tale.servers.execution import Execution, performing
from tale.servers.model_spans import describe
from tale.servers.observed import Observed
from tale.servers.openai_shapes import ChatCall
from tale.tasks.hands import ReadFile, WriteFile
from tale.tasks.hands_json import write_action
from tale.tasks.sandbox_bare import Bare
from tale.tasks.task import Step, Task, TaskEvent
from tale.tasks.task_spans import TaskSpans, step_span
from tale.tasks.tools import Tooling
from tale.wire.execution_contracts import ActRequest
from tale.wire.metrics import WireMetrics
from test_openai_api import post, serving

if TYPE_CHECKING:
    from tale.models.caller import ModelCaller

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CALLER = trace.Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
STEP = Step("t-1", "write it", "/w", "task", "work", "s-1", subtask="parser")
CALL = ChatCall("auto", ChatRequest((Message("user", "a secret"),), 20, 0.5), True, False)
ENTRY = Entry(
    id="chatcmpl-1",
    at=0,
    session="s-1",
    own=False,
    model="small",
    role="ux",
    kind="talk",
    band="easy",
    usage=Usage(100, 20, 90),
    said="",
    prompt_bytes=1,
    first_token=0.25,
    seconds=1,
    finish="stop",
)


class Received:
    """A receiver of OTLP over HTTP."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.url = ""

    def spans(self) -> dict[str, dict[str, Any]]:
        """Give each span by its name, its attributes as plain values."""
        found: dict[str, dict[str, Any]] = {}
        for request in self.requests:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for one in scope.spans:
                        attributes: dict[str, Any] = {}
                        for pair in one.attributes:
                            ((kind, value),) = MessageToDict(pair.value).items()
                            attributes[pair.key] = int(value) if kind == "intValue" else value
                        found[one.name] = {
                            "trace": one.trace_id.hex(),
                            "span": one.span_id.hex(),
                            "parent": one.parent_span_id.hex(),
                            "seconds": (one.end_time_unix_nano - one.start_time_unix_nano) / 1e9,
                            "failed": one.status.code == 2,
                            **attributes,
                        }
        return found


@pytest.fixture(scope="module")
def receiver() -> Generator[Received]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield received
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def sending(
    receiver: Received, monkeypatch: pytest.MonkeyPatch, *, content: bool = False
) -> Generator[None]:
    """Make spans within the block, and have all of them received at its end."""
    receiver.requests.clear()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    if content:
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    assert spans.configure("execution-2") == ""
    try:
        yield
    finally:
        spans.stop()


def test_nothing_is_made_where_nobody_asked() -> None:
    assert spans.configure("gateway", {}) == ""
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}
    assert spans.configure("gateway", endpoint) == ""
    with spans.span("chat") as span:
        span.set({"a": 1}, name="other")
        span.fail("code")
    assert not spans.shows_content()


def test_a_callers_trace_goes_on_and_out_again(
    receiver: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    outgoing: list[str] = []

    def work() -> None:
        trace.enter(HEADER)
        with spans.span("outer"), spans.span("inner", calls=True):
            outgoing.append(trace.outgoing())

    with sending(receiver, monkeypatch):
        copy_context().run(work)
    seen = receiver.spans()
    assert seen["outer"]["trace"] == seen["inner"]["trace"] == CALLER.id
    assert seen["outer"]["parent"] == CALLER.span
    assert seen["inner"]["parent"] == seen["outer"]["span"]
    assert outgoing == [trace.Trace(CALLER.id, seen["inner"]["span"]).write()]
    (resource,) = receiver.requests[0].resource_spans
    named = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert named["service.name"] == "tale-execution"
    assert named["service.instance.id"].startswith("execution-2-")


def test_a_trace_that_begins_here_has_the_id_that_log_lines_have(
    receiver: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[trace.Trace] = []

    def work() -> None:
        begun.append(trace.enter(None))
        with spans.span("first"):
            pass

    with sending(receiver, monkeypatch):
        copy_context().run(work)
    first = receiver.spans()["first"]
    assert (first["trace"], first["parent"]) == (begun[0].id, "")


@pytest.mark.parametrize(
    ("error", "code"),
    [(BackendFailed("broken"), "backend_failed"), (KeyError("a secret"), "KeyError")],
)
def test_what_fails_says_how_and_never_why_it_might_be_secret(
    receiver: Received, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    with sending(receiver, monkeypatch), pytest.raises(type(error)), spans.span("broken"):
        raise error
    seen = receiver.spans()["broken"]
    assert seen["failed"]
    assert seen["error.type"] == code
    # What is recorded of an exception would be an event of the span, not an attribute.
    assert "Traceback" not in repr(receiver.requests)
    assert "a secret" not in repr(receiver.requests)


@pytest.mark.parametrize("content", [False, True])
def test_a_models_answer_is_told_by_the_conventions_and_its_text_only_if_asked(
    receiver: Received, monkeypatch: pytest.MonkeyPatch, *, content: bool
) -> None:
    with sending(receiver, monkeypatch, content=content), spans.span("chat", calls=True) as span:
        describe(span, CALL, ENTRY, "an answer")
    seen = receiver.spans()["chat small"]
    assert seen["gen_ai.operation.name"] == "chat"
    assert seen["gen_ai.request.model"] == "auto"
    assert seen["gen_ai.response.model"] == "small"
    assert seen["gen_ai.usage.input_tokens"] == 100
    assert seen["gen_ai.usage.cache_read.input_tokens"] == 90
    assert seen["gen_ai.response.time_to_first_chunk"] == 0.25
    assert seen["gen_ai.conversation.id"] == "s-1"
    shown = [key for key in seen if key.endswith(".messages")]
    assert bool(shown) is content
    if content:
        assert json.loads(seen["gen_ai.input.messages"]) == [
            {"role": "user", "parts": [{"type": "text", "content": "a secret"}]}
        ]
    assert ("a secret" in repr(receiver.requests)) is content


def test_attributes_are_those_of_the_conventions(
    receiver: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Private as long as the conventions are not stable, and so without types.
    module = import_module("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    known = {value for name, value in vars(module).items() if name.isupper()}
    with sending(receiver, monkeypatch, content=True):
        with spans.span("chat") as span:
            describe(span, CALL, ENTRY, "an answer")
        with step_span(STEP):
            pass
    used = {key for seen in receiver.spans().values() for key in seen if key.startswith("gen_ai.")}
    assert len(used) > 10
    assert used <= known


@pytest.mark.anyio
async def test_a_tasks_steps_are_in_one_trace_over_any_restart(
    receiver: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = datetime(2026, 1, 31, 12, tzinfo=UTC)
    ended = begun + timedelta(seconds=90)
    task = Task("t-1", "a secret", "done", "/w", begun, finished=ended)

    async def find(identity: str) -> Task:
        assert identity == "t-1"
        return task

    told = TaskSpans(find)
    told.take(TaskEvent("t-1", 3, ended, "note"))
    told.take(TaskEvent("t-1", 4, ended, "done"))
    with sending(receiver, monkeypatch):
        with step_span(STEP):
            pass
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(told.run)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    seen = receiver.spans()
    whole, part = seen["invoke_workflow tale"], seen["invoke_agent tale parser"]
    place = spans.of_task("t-1")
    assert (whole["trace"], whole["span"], whole["parent"]) == (place.id, place.span, "")
    assert (part["trace"], part["parent"]) == (place.id, place.span)
    assert whole["seconds"] == 90
    assert "a secret" not in repr(receiver.requests)


def test_the_place_of_a_task_is_a_place_and_its_own() -> None:
    first, second = spans.of_task("t-1"), spans.of_task("t-2")
    assert trace.Trace.read(first.write()) == first
    assert first.id != second.id


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tale.spans_sdk", None)
    said = spans.configure("gateway", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    assert "tale[otel]" in said


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_over_http_is_a_span_in_its_callers_trace(
    receiver: Received, monkeypatch: pytest.MonkeyPatch, *, stream: bool
) -> None:
    message = {"role": "user", "content": "one two three"}
    body = orjson.dumps({"model": "ux", "messages": [message], "stream": stream, "max_tokens": 2})
    with sending(receiver, monkeypatch):
        async with serving(door=lambda app: Observed(app, WireMetrics())) as served:
            status, _, _ = await post(served, "/v1/chat/completions", body, {"traceparent": HEADER})
    assert status == 200
    seen = receiver.spans()["chat small"]
    assert (seen["trace"], seen["parent"]) == (CALLER.id, CALLER.span)
    assert seen["gen_ai.usage.output_tokens"] == 2
    assert seen["gen_ai.request.max_tokens"] == 2
    assert "one two" not in repr(receiver.requests)


@pytest.mark.anyio
async def test_what_a_step_does_is_a_span_of_a_tool(
    receiver: Received, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    work = Execution(cast("ModelCaller", None), performing(Tooling(Bare())))

    async def ignore(data: Mapping[str, object]) -> None:
        del data

    with sending(receiver, monkeypatch):
        for action in (WriteFile("a.txt", "a secret"), ReadFile("missing.txt")):
            request = ActRequest(
                task="t-1", workspace=str(tmp_path), role="task", action=write_action(action)
            )
            await work.act(request, ignore)
    seen = receiver.spans()
    assert not seen["execute_tool WriteFile"]["failed"]
    assert seen["execute_tool ReadFile"]["error.type"] == "tool_error"
    assert seen["execute_tool ReadFile"]["tale.task.id"] == "t-1"
    assert "a secret" not in repr(receiver.requests)
