"""A daemon for tests of the command line: real sockets, real HTTP, scripted answers, no model.

One HTTP server stands for the gateway, the ux and the models server; beside it is the control
endpoint.
`tests/test_cli_client.py` runs the same client against the MCP SDK's own server, so that this fake
can't teach it a dialect of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import socketserver
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tale import __version__
from tale.paths import Paths

Json = dict[str, Any]
Say = Callable[[Json], None]
Tool = Callable[[Json, Say], Json]

TOKEN = "secret-token"
TIME = "2026-01-31T12:00:00+00:00"


class ToolError(Exception):
    """Makes a fake tool report an error."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "hint": hint}


class Gone(Exception):
    """Makes a fake handler drop the connection."""


def task(identifier: str = "t1", **fields: Any) -> Json:
    """Make a task as the gateway would show it."""
    return {
        "id": identifier,
        "text": "hello world",
        "state": "done",
        "workspace": "/work/space",
        "priority": 0,
        "session": None,
        "created": TIME,
        "started": "2026-01-31T12:00:01+00:00",
        "finished": "2026-01-31T12:00:03.500000+00:00",
        "answer": "Hello there.",
        "files": [],
        "role": "ux",
        "model": "tiny",
        "reason": "short",
        "usage": {"prompt": 12, "completion": 5, "cached": 3},
        "error": None,
        "hint": None,
        "last_event": 3,
        **fields,
    }


def event(seq: int, kind: str, identifier: str = "t1", **data: Any) -> Json:
    """Make an event as the gateway would send it."""
    return {"task": identifier, "seq": seq, "at": TIME, "kind": kind, "data": data}


def model(role: str | None = "ux", **fields: Any) -> Json:
    """Make a model as the pool would show it."""
    return {
        "role": role,
        "name": f"tiny-{role}",
        "backend": "embedded",
        "state": "ready",
        "detail": "",
        "resident": True,
        "memory_bytes": 650 << 20,
        "pid": 4242,
        "starts": 1,
        "context": 8192,
        "slots": 2,
        "load_seconds": 1.5,
        "ttft_cold_ms": 812.0,
        "ttft_warm_ms": 91.4,
        "tokens_per_second": 38.25,
        "requests": 7,
        "fallbacks": 0,
        "recoveries": 0,
        "last_error": "",
        "in_flight": 0,
        "waiting": 0,
        **fields,
    }


def server(name: str, **fields: Any) -> Json:
    """Make a server as the supervisor would show it."""
    return {
        "name": name,
        "service": name.split("-", maxsplit=1)[0],
        "state": "ready",
        "pid": 100,
        "url": "",
        "restarts": 0,
        "starts": 1,
        "uptime": 125.0,
        "rss": 80 << 20,
        "cpu": 1.5,
        "last_exit": "",
        "log": "",
        **fields,
    }


def default_events() -> list[Json]:
    """Make the events of a task that was done at once."""
    return [
        event(1, "queued"),
        event(2, "started", role="ux", reason="short"),
        event(2, "token", text="Hello "),
        event(2, "token", text="there."),
        event(3, "done", answer="Hello there.", model="tiny", files=[]),
    ]


class FakeDaemon:
    """The scripts, and what was asked. Change the attributes before the command runs."""

    def __init__(self, home: Path) -> None:
        self.paths = Paths.from_environment({"TALE_HOME": str(home)})
        self.version = __version__
        self.url = ""
        self.calls: list[tuple[str, Json]] = []
        self.controls: list[Json] = []
        self.changes: Json = {"started": [], "stopped": [], "restarted": []}
        self.event_queries: list[tuple[str, int]] = []
        self.servers = [server("models"), server("gateway"), server("ux")]
        self.pool: Json = {
            "models": [model("ux"), model("task")],
            "switching": [],
            "available_bytes": 20 << 30,
            "reserve_bytes": 512 << 20,
        }
        self.usage: Json = {}
        self.decision: Json = {}
        self.overview: Json = {}
        # What the stream of overviews sends before it breaks off, or `hold` is set.
        self.frames: list[tuple[str, str]] = []
        self.routed: list[str] = []
        self.usage_queries: list[str] = []
        self.wire: Json = {"made": [], "served": [], "instances": []}
        self.events: dict[str, list[Json]] = {"t1": default_events()}
        # How many events a stream sends before it breaks off; empty: all of them.
        self.breaks: list[int] = []
        self.hold = threading.Event()  # a stream waits for it before its last event
        self.hold.set()
        self.waiting = threading.Event()  # a stream has come to its last event
        self.not_ready = 0  # how many waits end without the service being ready
        self.completions: list[Json] = []
        self.loads: dict[str, Callable[[Json], Json]] = {}
        self.tools: dict[str, Tool] = {
            "submit": lambda arguments, say: task(state="queued", text=arguments["text"]),
            "show": lambda arguments, say: task(arguments["id"]),
            "list": lambda arguments, say: {"tasks": [task()]},
            "cancel": lambda arguments, say: task(arguments["id"], state="cancelled"),
            "pause": lambda arguments, say: task(arguments["id"], state="paused"),
            "resume": lambda arguments, say: task(arguments["id"], state="queued"),
            "approve": lambda arguments, say: task(arguments["id"], state="queued"),
            "reject": lambda arguments, say: task(arguments["id"], state="queued"),
            "chat": self.chat,
            "sessions": lambda arguments, say: {"sessions": []},
        }

    def chat(self, arguments: Json, say: Say) -> Json:
        """Answer a turn with its own words."""
        words = ["You ", "said: ", arguments["text"]]
        for word in words:
            say({"token": word})
        return {
            "session": arguments.get("session") or "s1",
            "answer": "".join(words),
            "model": "tiny",
            "role": "ux",
            "task": None,
            "usage": {"prompt": 5, "completion": 3, "cached": 0},
        }

    def calls_of(self, tool: str) -> list[Json]:
        """Give the arguments of every call of a tool."""
        return [arguments for name, arguments in self.calls if name == tool]

    @contextmanager
    def running(self) -> Generator[FakeDaemon]:
        """Serve, with a runtime file and the lock that a daemon holds."""
        web, control = _WebServer(self), _ControlServer(self)
        self.url = f"http://127.0.0.1:{web.server_port}"
        threads = [threading.Thread(target=s.serve_forever, args=(0.02,)) for s in (web, control)]
        for thread in threads:
            thread.start()
        try:
            with self._published(control.server_address[1]):
                yield self
        finally:
            self.hold.set()
            for each in (web, control):
                each.shutdown()
                each.server_close()
            for thread in threads:
                thread.join()

    @contextmanager
    def _published(self, control_port: int) -> Generator[None]:
        self.paths.runtime.mkdir(parents=True, exist_ok=True)
        runtime = {
            "pid": os.getpid(),
            "version": self.version,
            "token": TOKEN,
            "control": f"127.0.0.1:{control_port}",
            "gateway": self.url,
            "models": self.url,
            "started": TIME,
        }
        self.paths.runtime_file.write_text(json.dumps(runtime))
        with self.paths.lock_file.open("w") as lock:
            lock.write(str(os.getpid()))
            lock.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        self.paths.runtime_file.unlink()

    def control(self, request: Json) -> Json:
        """Answer one control request."""
        self.controls.append(request)
        if request["token"] != TOKEN:
            return {"error": {"code": "unauthorized", "message": "Wrong token.", "hint": ""}}
        if request["op"] == "wait":
            return self._wait(request["timeout"])
        if request["op"] == "status":
            servers = [{**s, "url": self.url} for s in self.servers]
            head = {"version": self.version, "pid": os.getpid(), "started": TIME}
            return {"ok": {**head, "servers": servers}}
        if request["op"] == "restart" and request.get("server") == "nobody":
            message = "There is no server 'nobody'."
            return {"error": {"code": "daemon_error", "message": message, "hint": "tale status"}}
        if request["op"] == "reload":
            return {"ok": self.changes}
        return {"ok": {}}

    def _wait(self, seconds: float) -> Json:
        if not self.not_ready:
            return {"ok": {"url": self.url}}
        self.not_ready -= 1
        message = f"Not ready after {seconds:g} s: ux is in state 'backoff'."
        return {"error": {"code": "deadline_exceeded", "message": message, "hint": ""}}


class _Control(socketserver.StreamRequestHandler):
    server: _ControlServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle(self) -> None:
        reply = self.server.fake.control(json.loads(self.rfile.readline()))
        self.wfile.write(json.dumps(reply).encode() + b"\n")


class _ControlServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, fake: FakeDaemon) -> None:
        super().__init__(("127.0.0.1", 0), _Control)
        self.fake = fake


class _WebServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: FakeDaemon) -> None:
        super().__init__(("127.0.0.1", 0), _Web)
        self.fake = fake


class _Web(BaseHTTPRequestHandler):
    server: _WebServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay silent."""

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def _guarded(self, answer: Callable[[], None]) -> None:
        self.close_connection = True
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._json(401, {"error": {"code": "unauthorized", "message": "No."}})
            return
        with suppress(Gone, BrokenPipeError, ConnectionResetError):
            answer()

    def _get(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/wire":
            self._json(200, self.server.fake.wire)
        elif url.path == "/pool":
            self._json(200, self.server.fake.pool)
        elif url.path == "/pool/usage":
            self.server.fake.usage_queries.append(url.query)
            self._json(200, self.server.fake.usage)
        elif url.path == "/api/events":
            query = parse_qs(url.query)
            if "task" in query:
                self._events(query["task"][0], int(query["after"][0]))
            else:
                self._overviews()
        elif url.path == "/api/overview":
            self._json(200, self.server.fake.overview)
        else:
            self._json(404, {"detail": "nothing here"})

    def _events(self, identifier: str, after: int) -> None:
        self.server.fake.event_queries.append((identifier, after))
        if identifier not in self.server.fake.events:
            error = {"code": "task_not_found", "message": f"No task {identifier!r}."}
            self._json(404, {"error": error})
            return
        send = self._stream()
        send(": hello\n\n")
        limit = self.server.fake.breaks.pop(0) if self.server.fake.breaks else None
        events = [e for e in self.server.fake.events[identifier] if e["seq"] > after]
        for number, each in enumerate(events):
            if number == limit:
                raise Gone
            if number == len(events) - 1:
                self.server.fake.waiting.set()
                self.server.fake.hold.wait(30)
            send(f"id: {each['seq']}\nevent: {each['kind']}\ndata: {json.dumps(each)}\n\n")

    def _overviews(self) -> None:
        send = self._stream()
        send(": hello\n\n")
        for kind, data in self.server.fake.frames:
            send(f"event: {kind}\ndata: {data}\n\n")
        self.server.fake.waiting.set()
        self.server.fake.hold.wait(30)

    def _post(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/mcp":
            self._tool(body)
        elif self.path == "/v1/chat/completions":
            self._completion(body)
        elif self.path == "/pool/route":
            self.server.fake.routed.append(body["text"])
            self._json(200, self.server.fake.decision)
        elif self.path in self.server.fake.loads:
            reply = self.server.fake.loads[self.path](body)
            self._json(409 if "error" in reply else 200, reply)
        else:
            self._json(404, {})

    def _tool(self, body: Json) -> None:
        name, arguments = body["params"]["name"], body["params"]["arguments"]
        self.server.fake.calls.append((name, arguments))
        send: Callable[[str], None] | None = None
        number = 0

        def say(data: Json) -> None:
            nonlocal send, number
            send, number = send or self._stream(), number + 1
            params = {"progressToken": 1, "progress": number, "message": json.dumps(data)}
            note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            send(f"event: message\r\ndata: {json.dumps(note)}\r\n\r\n")

        try:
            result: Json = {"structuredContent": self.server.fake.tools[name](arguments, say)}
        except ToolError as error:
            result = {"structuredContent": {"error": error.error}, "isError": True}
        message: Json = {"jsonrpc": "2.0", "id": body["id"], "result": {**result, "content": []}}
        if send is None:
            self._json(200, message)
        else:
            send(f"event: message\r\ndata: {json.dumps(message)}\r\n\r\n")

    def _completion(self, body: Json) -> None:
        self.server.fake.completions.append(body)
        send = self._stream()
        for word in ("Once ", "upon ", "a time"):
            send(f"data: {json.dumps({'choices': [{'delta': {'content': word}}]})}\n\n")
        usage = {"prompt_tokens": 200, "completion_tokens": 3}
        send(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n")
        send("data: [DONE]\n\n")

    def _stream(self) -> Callable[[str], None]:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()

        def send(text: str) -> None:
            self.wfile.write(text.encode())
            self.wfile.flush()

        return send

    def _json(self, status: int, body: Json) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
