"""A real HTTP server that behaves like Ollama as far as tale uses it.

It loads models on the first request, keeps them as `keep_alive` says, loads them anew when
`num_ctx` changes, and refuses what Ollama refuses. Answers repeat the last message, word by word.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import BaseModel

_STREAM = "application/x-ndjson"
SIZE = 5_000_000_000


class _Message(BaseModel):
    role: str
    content: str


class _Chat(BaseModel):
    model: str
    messages: list[_Message]
    stream: bool = True
    # The real one refuses a string without a unit; here any string is refused.
    keep_alive: int = 300
    truncate: bool = True
    options: dict[str, object] = {}


@dataclass(slots=True)
class Loaded:
    """A model in memory."""

    window: int
    keep_alive: int


@dataclass(slots=True)
class FakeOllama:
    """Its state, for tests to look at and to spoil.

    Attributes:
        installed: Pulled models, by full name.
        loaded: Models in memory.
        bodies: What was asked of `/api/chat`, in order.
        loads: How often a model was brought into memory.
        lines: Sent instead of an answer, as they are.
        answer: Gives what a model says to a request, by its messages; awaited if it takes time.
        refusal: HTTP status and error that every chat request gets.
        hangs: Whether answers stop after the first word.
        slow: Whether `/api/tags` never answers.
        client_left: Set when a client goes away in the middle of an answer.
        tells_window: Whether `/api/ps` has `context_length`, as newer ones have.
    """

    installed: set[str]
    loaded: dict[str, Loaded] = field(default_factory=dict[str, Loaded])
    bodies: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    loads: int = 0
    url: str = ""
    lines: list[bytes] = field(default_factory=list[bytes])
    answer: Callable[[list[_Message]], Awaitable[str]] | None = None
    refusal: tuple[int, str] | None = None
    hangs: bool = False
    slow: bool = False
    client_left: anyio.Event = field(default_factory=anyio.Event)
    tells_window: bool = True

    def evict(self, name: str) -> None:
        """Drop a model, as Ollama does when another program asks for one that doesn't fit."""
        del self.loaded[name]

    async def tags(self, _: web.Request) -> web.Response:
        if self.slow:
            await anyio.sleep_forever()
        return _json({"models": [{"name": name, "size": SIZE} for name in sorted(self.installed)]})

    async def ps(self, _: web.Request) -> web.Response:
        models: list[dict[str, object]] = []
        for name, loaded in self.loaded.items():
            window = {"context_length": loaded.window} if self.tells_window else {}
            models.append({"name": name, "model": name, "size": SIZE, "size_vram": 0, **window})
        return _json({"models": models})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.bodies.append(orjson.loads(raw))
        body = _Chat.model_validate_json(raw)
        if self.refusal:
            return _error(*self.refusal)
        name = body.model if ":" in body.model else f"{body.model}:latest"
        if name not in self.installed:
            return _error(404, f"model '{body.model}' not found")
        window = body.options.get("num_ctx", 4096)
        assert isinstance(window, int)
        if not body.messages and body.keep_alive == 0:
            self.loaded.pop(name, None)
            return _json({**_said(""), "done": True, "done_reason": "unload"})
        if name not in self.loaded or self.loaded[name].window != window:
            self.loads += 1
        self.loaded[name] = Loaded(window, body.keep_alive)
        if not body.messages:
            return _json({**_said(""), "done": True, "done_reason": "load"})
        prompt = sum(len(message.content.split()) for message in body.messages)
        if prompt > window and not body.truncate:
            return _error(400, _overflow(prompt, window))
        return await self._stream(request, body, prompt)

    async def _stream(self, request: web.Request, body: _Chat, prompt: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": _STREAM})
        await response.prepare(request)
        words = body.messages[-1].content.split()
        if self.answer:
            words = [await self.answer(body.messages)]
        limit = body.options.get("num_predict", len(words))
        assert isinstance(limit, int)
        ended = {
            **_said(""),
            "done": True,
            "done_reason": "length" if limit < len(words) else "stop",
            "prompt_eval_count": prompt,
            "eval_count": min(limit, len(words)),
        }
        said = [orjson.dumps({**_said(word), "done": False}) + b"\n" for word in words[:limit]]
        try:
            for line in self.lines or [*said, orjson.dumps(ended) + b"\n"]:
                await response.write(line)
                if self.hangs:
                    await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            self.client_left.set()
            raise
        return response


def _said(text: str) -> dict[str, object]:
    return {"model": "m", "message": {"role": "assistant", "content": text}}


def _overflow(prompt: int, window: int) -> str:
    """Ollama 0.34 hands the inner server's error on as JSON in a string."""
    message = f"request ({prompt} tokens) exceeds the available context size ({window} tokens)"
    detail = {"message": message, "type": "exceed_context_size_error"}
    return orjson.dumps({"error": {**detail, "n_prompt_tokens": prompt, "n_ctx": window}}).decode()


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def _error(status: int, message: str) -> web.Response:
    body = orjson.dumps({"error": message})
    return web.Response(status=status, body=body, content_type="application/json")


@asynccontextmanager
async def fake_ollama(*installed: str) -> AsyncGenerator[FakeOllama, None]:
    """Serve on a free loopback port for as long as the block lasts."""
    fake = FakeOllama(set(installed))
    app = web.Application()
    app.router.add_get("/api/tags", fake.tags)
    app.router.add_get("/api/ps", fake.ps)
    app.router.add_post("/api/chat", fake.chat)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0)
    fake.url = str(server.make_url("/"))
    try:
        yield fake
    finally:
        await server.close()
