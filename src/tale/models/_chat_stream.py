"""OpenAI's chat completions as they stand on the wire: request body and streamed events.

Pure: bytes in, chunks out. Above: `openai_http` (somebody's server, and through it our llama.cpp)
and `client` (our models server). The spelling of llama.cpp, vLLM and OpenAI is understood.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
from pydantic import BaseModel, ValidationError

from tale.errors import BackendBroke, BackendFailed, TaleError
from tale.models._faults import ErrorDetail, as_detail, shorten
from tale.models._sse import EventParser, LineTooLong
from tale.models.backend import ChatRequest, Chunk, FinishReason, Usage

__all__ = ["ChatDecoder", "request_body"]

_DONE = b"[DONE]"
_SIGN_OF_LIFE = Chunk()
_TELLING = {"usage", "timings", "error"}
# Providers invent reasons; tale's callers need to know three things only.
_FINISH: dict[str, FinishReason] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


class _CachedTokens(BaseModel):
    cached_tokens: int | None = None


class _UsageFields(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _CachedTokens | None = None


class _Timings(BaseModel):
    cache_n: int = 0
    prompt_n: int = 0
    predicted_n: int = 0


class _Delta(BaseModel):
    content: str | None = None
    tool_calls: tuple[dict[str, object], ...] | None = None


class _Choice(BaseModel):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Event(BaseModel):
    choices: tuple[_Choice, ...] = ()
    usage: _UsageFields | None = None
    timings: _Timings | None = None
    error: ErrorDetail | str | None = None


def request_body(model: str, request: ChatRequest) -> dict[str, object]:
    """Write a request as the body of a streamed `POST /chat/completions`."""
    body: dict[str, object] = {
        **request.options,
        "model": model,
        "messages": [
            {"role": turn.role, "content": turn.content, **turn.extra} for turn in request.messages
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop:
        body["stop"] = list(request.stop)
    return body


class ChatDecoder:
    """Turns the bytes of one streamed answer into chunks.

    Every event gives a chunk, even one without text (role, prompt progress, hidden reasoning): an
    empty chunk is a sign of life. The chunk with `finish` comes last, with the usage that servers
    send after it.

    Args:
        whose: Which server, for messages.
        fault: What an error that arrives in the stream is raised as.
    """

    def __init__(self, whose: str, fault: Callable[[ErrorDetail], TaleError]) -> None:
        self._whose = whose
        self._fault = fault
        self._events = EventParser()
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        self.generated = False
        self.done = False

    def feed(self, data: bytes) -> list[Chunk]:
        """Take in the next piece of the body.

        Raises:
            TaleError: The server reported an error, or what it sent isn't a completion.
        """
        try:
            events = self._events.feed(data)
        except LineTooLong as error:
            raise self._garbage(str(error)) from error
        return self._decode(events)

    def finish(self) -> list[Chunk]:
        """Take note that the body has ended.

        Raises:
            BackendBroke: It ended before the answer did.
        """
        chunks = self._decode(self._events.finish())
        if not self.done:
            if self._finish is None:
                raise BackendBroke(f"{self._whose} closed the stream before the answer's end.")
            chunks.append(self._last())
        return chunks

    def _decode(self, events: list[bytes]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for event in events:
            if self.done:
                break
            if event == _DONE:
                self._finish = self._finish or "stop"
                chunks.append(self._last())
            else:
                chunks.append(self._chunk(event))
        return chunks

    def _last(self) -> Chunk:
        self.done = True
        return Chunk(finish=self._finish, usage=self._usage)

    def _chunk(self, data: bytes) -> Chunk:
        if text := _plain_text(data):
            self.generated = True
            return Chunk(text)
        try:
            event = _Event.model_validate_json(data)
        except ValidationError as error:
            raise self._garbage(shorten(data)) from error
        if event.error is not None:
            raise self._fault(as_detail(event.error))
        if usage := _usage(event):
            self._usage = usage
        if not event.choices:
            return _SIGN_OF_LIFE
        choice = event.choices[0]
        if choice.finish_reason:
            self._finish = _FINISH.get(choice.finish_reason, "stop")
        delta = choice.delta
        if delta is None or not (delta.content or delta.tool_calls):
            return _SIGN_OF_LIFE
        self.generated = True
        return Chunk(text=delta.content or "", tool_calls=delta.tool_calls or ())

    def _garbage(self, what: str) -> BackendFailed:
        return BackendFailed(
            f"{self._whose} sent something that is no chat completion: {what}",
            hint="Check that its URL is that of an OpenAI-compatible API, ending in /v1.",
        )


def _plain_text(data: bytes) -> str:
    """Read what nearly every event is, a piece of text and nothing else; empty for any other.

    While a model generates, both cores are its own: what a token costs here it pays for. This takes
    a tenth of the whole check, which the others still get.
    """
    try:
        match orjson.loads(data):
            case {
                "choices": [{"delta": {"content": str(text), **delta}, "finish_reason": None}],
                **event,
            } if "tool_calls" not in delta and not _TELLING & event.keys():
                return text
            case _:
                return ""
    except orjson.JSONDecodeError:
        return ""


def _usage(event: _Event) -> Usage | None:
    """Read the tokens; llama.cpp's timings where the server leaves `usage` or its details out."""
    timings, usage = event.timings, event.usage
    if usage is None:
        if timings is None:
            return None
        return Usage(timings.cache_n + timings.prompt_n, timings.predicted_n, timings.cache_n)
    details = usage.prompt_tokens_details
    cached = details.cached_tokens if details else None
    if cached is None:
        cached = timings.cache_n if timings else 0
    return Usage(usage.prompt_tokens, usage.completion_tokens, cached)
