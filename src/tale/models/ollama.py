"""Models in Ollama, over its native API.

Not over its `/v1`: that can set neither `num_ctx` nor `keep_alive`, so Ollama would cut the window
to its default and drop the model when it is idle. Other programs share an Ollama; what they evict
is seen in `/api/ps` and brought back. Above: the pool. Wire shapes: `_ollama_wire`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from typing import Final

import anyio
from aiohttp import ClientSession

from tale.errors import BackendUnavailable, ModelError
from tale.models._http import BROKEN, fetch, open_reply, open_session, read_body, transport_fault
from tale.models._ollama_wire import (
    KEEP,
    AnswerDecoder,
    full_name,
    ollama_fault,
    read_running,
    read_tags,
    request_body,
)
from tale.models.backend import ChatRequest, Chunk, Residency
from tale.telemetry import get_logger

__all__ = ["TASK_MODEL", "UX_MODEL", "OllamaBackend", "find_pair"]

log = get_logger(__name__)

UX_MODEL: Final = "qwen2.5:7b"
TASK_MODEL: Final = "qwen2.5:14b"

_PROBE_SECONDS = 2.0
# A local Ollama answers in a few milliseconds; without one, start-up shall not wait for it.
_FIND_SECONDS = 0.3
# Throwing out a model that hangs may itself hang; loading it anew is tried all the same.
_UNLOAD_SECONDS = 10.0
_FIRST_BACKOFF, _LAST_BACKOFF = 0.1, 2.0


async def find_pair(url: str, names: Collection[str]) -> bool:
    """Say whether an Ollama answers at once and has all these models pulled."""
    try:
        async with open_session() as session:
            status, body = await fetch(
                session, "GET", f"{_root(url)}/api/tags", whose=url, seconds=_FIND_SECONDS
            )
        installed = read_tags(body, url) if status == 200 else frozenset[str]()
    except ModelError:
        return False
    return all(full_name(name) in installed for name in names)


class OllamaBackend:
    """One model of one Ollama.

    Args:
        model: Its name there, `qwen2.5:7b`; without a tag `:latest` is meant.
        context: Tokens of context; sent as `num_ctx` with every request, because a request that
            names another one makes Ollama load the model again.
        url: Ollama's address, without a path.
        session: From `open_session`; stays the caller's.
    """

    def __init__(self, model: str, context: int, url: str, *, session: ClientSession) -> None:
        self._model = model
        self._context = context
        self._url = _root(url)
        self._session = session
        self._whose = f"Ollama at {self._url}"
        self._window: int | None = None
        self._suspect = False

    @property
    def model(self) -> str:
        """The model's name in Ollama."""
        return self._model

    @property
    def context(self) -> int:
        """Tokens of context that one request may use."""
        return self._context

    async def load(self) -> None:
        """Load and pin the model; pins it again where another program's request unpinned it."""
        try:
            await self._set_keep_alive(KEEP)
        except anyio.get_cancelled_exc_class():
            self._suspect = True
            raise
        self._window = (await self._find_running())[1]

    async def unload(self) -> None:
        """Have Ollama free the model's memory."""
        await self._set_keep_alive(0, seconds=_UNLOAD_SECONDS)

    async def recover(self, reason: str) -> None:
        """Wait until Ollama answers, throw out a model that hangs, and load it again.

        It hangs if the last request or load that ended was broken off. Nothing else is a reason to
        throw out gigabytes that are in memory.
        Ollama isn't ours, so nothing says when it is back: it is asked, with growing pauses.
        """
        log.warning("model.recovering", model=self._model, url=self._url, reason=reason)
        pause = _FIRST_BACKOFF
        while True:
            try:
                if self._suspect and (await self._find_running())[0].resident:
                    with suppress(ModelError):
                        await self.unload()
                await self.load()
            except BackendUnavailable:
                await anyio.sleep(pause)
                pause = min(pause * 2, _LAST_BACKOFF)
            else:
                self._suspect = False
                return

    async def residency(self) -> Residency:
        """Look the model up in `/api/ps`.

        A model that another program had loaded again with another window counts as evicted: our
        next request would load it anew.

        Raises:
            ModelError: Ollama didn't say, which a busy one may not do in time.
        """
        residency, window = await self._find_running()
        if self._window is not None and window != self._window:
            return Residency(resident=False)
        return residency

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Generate. Closing the generator closes the connection: Ollama stops."""
        told = False
        answer = self._answer(request)
        try:
            async for chunk in answer:
                told = told or chunk.finish is not None
                yield chunk
        except ModelError:
            told = True
            raise
        finally:
            self._suspect = not told
            await answer.aclose()

    async def _answer(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        decoder = AnswerDecoder(self._model, self._context, self._whose)
        url = f"{self._url}/api/chat"
        body = request_body(self._model, self._context, request)
        async with open_reply(self._session, "POST", url, whose=self._whose, body=body) as response:
            try:
                if response.status != 200:
                    text = await read_body(response)
                    raise ollama_fault(text, response.status, self._model, self._whose)
                async for data in response.content.iter_any():
                    for chunk in decoder.feed(data):
                        yield chunk
                    if decoder.done:
                        return
            except BROKEN as error:
                raise transport_fault(error, self._whose, generated=decoder.generated) from error
            for chunk in decoder.finish():
                yield chunk

    async def _set_keep_alive(self, keep_alive: int, *, seconds: float | None = None) -> None:
        """Send a request without messages, which loads or unloads and generates nothing."""
        status, body = await fetch(
            self._session,
            "POST",
            f"{self._url}/api/chat",
            whose=self._whose,
            body={
                "model": self._model,
                "messages": [],
                "stream": False,
                "keep_alive": keep_alive,
                "options": {"num_ctx": self._context},
            },
            seconds=seconds,
        )
        if status != 200:
            raise ollama_fault(body, status, self._model, self._whose)

    async def _find_running(self) -> tuple[Residency, int | None]:
        """Give the model's place in memory, and its window where this Ollama tells it."""
        status, body = await fetch(
            self._session,
            "GET",
            f"{self._url}/api/ps",
            whose=self._whose,
            seconds=_PROBE_SECONDS,
        )
        if status != 200:
            raise ollama_fault(body, status, self._model, self._whose)
        running = read_running(body, self._whose).get(full_name(self._model))
        if running is None:
            return Residency(resident=False), None
        return Residency(resident=True, memory_bytes=running.size), running.context_length


def _root(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1").rstrip("/")
