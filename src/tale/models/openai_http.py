"""Models behind any OpenAI-compatible URL: vLLM, llama-server, a hosted service.

The server isn't ours: nothing here loads, unloads or restarts
it. Above: the pool, and `embedded`, which streams from our own llama.cpp through `stream_chat`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace

import anyio
from aiohttp import ClientSession
from pydantic import BaseModel, ValidationError

from tale.errors import BackendFailed, BackendUnavailable, ContextExceeded, ModelError
from tale.models._chat_stream import ChatDecoder, request_body
from tale.models._faults import model_fault, read_error, shorten, status_of
from tale.models._http import BROKEN, fetch, open_reply, open_session, read_body, transport_fault
from tale.models.backend import ChatRequest, Chunk, Residency
from tale.telemetry import get_logger

__all__ = ["OpenAIBackend", "open_session", "stream_chat"]

log = get_logger(__name__)

_PROBE_SECONDS = 2.0
_LOAD_SECONDS = 10.0
_FIRST_BACKOFF, _LAST_BACKOFF = 0.1, 2.0


class OpenAIBackend:
    """One model of one OpenAI-compatible server.

    Args:
        model: Its name there.
        context: Tokens of context that one request may use, as configured on that server.
        base_url: The API's address, ending in `/v1`.
        api_key: Sent as bearer token if not empty.
        session: From `open_session`; stays the caller's.
    """

    def __init__(
        self, model: str, context: int, base_url: str, api_key: str = "", *, session: ClientSession
    ) -> None:
        self._model = model
        self._context = context
        self._url = base_url.rstrip("/")
        self._headers = _bearer(api_key)
        self._session = session
        self._whose = f"The model server at {self._url}"

    @property
    def model(self) -> str:
        """The model's name on that server."""
        return self._model

    @property
    def context(self) -> int:
        """Tokens of context that one request may use."""
        return self._context

    async def load(self) -> None:
        """Check that the server answers and takes our key; loading is its own business.

        A name that the server doesn't list is only logged: some serve names they don't list.
        """
        names = await self._list_models(_LOAD_SECONDS)
        if names and self._model not in names:
            log.warning("model.not_listed", model=self._model, url=self._url, listed=len(names))

    async def unload(self) -> None:
        """Do nothing: memory on somebody else's server isn't ours to free."""
        log.info("model.unload_skipped", model=self._model, url=self._url, reason="not our server")

    async def recover(self, reason: str) -> None:
        """Wait until the server answers again; bound the wait by a cancel scope.

        A foreign server tells nobody that it is back, so it is asked, with growing pauses.
        """
        log.warning("model.recovering", model=self._model, url=self._url, reason=reason)
        pause = _FIRST_BACKOFF
        while True:
            try:
                await self._list_models(_PROBE_SECONDS)
            except BackendUnavailable:
                await anyio.sleep(pause)
                pause = min(pause * 2, _LAST_BACKOFF)
            else:
                return

    async def residency(self) -> Residency:
        """Look whether the server answers; what it holds in memory it doesn't say."""
        try:
            await self._list_models(_PROBE_SECONDS)
        except ModelError:
            return Residency(resident=False)
        return Residency(resident=True)

    def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Generate; see `stream_chat`.

        Strict servers (vLLM) refuse a prompt that fits where it doesn't beside the longest answer
        that is allowed. They are asked once more without that limit: what is left of the window is
        less than it.
        """
        return self._stream(request) if request.max_tokens is None else self._fitted(request)

    async def _fitted(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        begun = False
        try:
            async with aclosing(self._stream(request)) as answer:
                async for chunk in answer:
                    begun = True
                    yield chunk
                return
        except ContextExceeded as error:
            if begun:
                raise
            log.info("model.asked_without_limit", model=self._model, reason=error.message)
        async with aclosing(self._stream(replace(request, max_tokens=None))) as answer:
            async for chunk in answer:
                yield chunk

    def _stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        return stream_chat(
            self._session,
            self._url,
            request_body(self._model, request),
            headers=self._headers,
            whose=self._whose,
        )

    async def _list_models(self, seconds: float) -> frozenset[str]:
        status, body = await fetch(
            self._session,
            "GET",
            f"{self._url}/models",
            whose=self._whose,
            headers=self._headers,
            seconds=seconds,
        )
        if status != 200:
            raise model_fault(read_error(body), status, self._whose)
        try:
            return frozenset(entry.id for entry in _ModelList.model_validate_json(body).data)
        except ValidationError as error:
            raise BackendFailed(
                f"{self._whose} lists its models in a way that is not OpenAI's: {shorten(body)}",
                hint="Check that url ends in /v1.",
            ) from error


class _ModelEntry(BaseModel):
    id: str


class _ModelList(BaseModel):
    data: tuple[_ModelEntry, ...]


async def stream_chat(
    session: ClientSession,
    base_url: str,
    body: Mapping[str, object],
    *,
    headers: Mapping[str, str],
    whose: str,
) -> AsyncGenerator[Chunk, None]:
    """Stream one completion. Closing the generator closes the connection: the server stops.

    Args:
        session: From `open_session`.
        base_url: The API's address, ending in `/v1`.
        body: From `request_body`.
        headers: Request headers.
        whose: Which server, for messages.

    Raises:
        BackendUnavailable: Not there, still loading, or gone before it generated anything.
        ContextExceeded: The prompt is larger than the window.
        UnknownModel: The server doesn't have the model.
        BackendFailed: Any other error, also one in mid-answer.
    """
    decoder = ChatDecoder(whose, lambda detail: model_fault(detail, status_of(detail), whose))
    url = f"{base_url}/chat/completions"
    async with open_reply(
        session, "POST", url, whose=whose, headers=headers, body=body
    ) as response:
        try:
            if response.status != 200:
                raise model_fault(read_error(await read_body(response)), response.status, whose)
            async for data in response.content.iter_any():
                for chunk in decoder.feed(data):
                    yield chunk
                if decoder.done:
                    return
        except BROKEN as error:
            raise transport_fault(error, whose, generated=decoder.generated) from error
        for chunk in decoder.finish():
            yield chunk


def _bearer(api_key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}
