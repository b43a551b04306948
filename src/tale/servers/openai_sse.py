"""OpenAI's chat completions as replies: whole bodies, stream events, error bodies.

Pure: values in, bytes out. A stream's unchanging part is written once, so that a token costs one
small `orjson.dumps` and a concatenation. Above: `openai_api`. Requests: `openai_shapes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from tale.errors import InvalidRequest, TaleError
from tale.models.answer import Completion, merge_tool_calls
from tale.models.backend import Chunk, Usage

__all__ = ["DONE", "EventWriter", "completion_body", "error_body"]

DONE: Final = b"data: [DONE]\n\n"
_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    409: "invalid_request_error",
    413: "invalid_request_error",
}


class EventWriter:
    """Writes the server-sent events of one streamed answer.

    Args:
        answer_id: The completion's id.
        created: Unix time in seconds.
        model: The real name of the model that answers.
        include_usage: Whether the tokens spent are to be told; every event then says so.
    """

    def __init__(self, answer_id: str, created: int, model: str, *, include_usage: bool) -> None:
        head = {"id": answer_id, "object": "chat.completion.chunk", "created": created}
        begin = b"data: " + orjson.dumps({**head, "model": model})[:-1] + b',"choices":['
        self._begin = begin + b'{"index":0,"delta":'
        self._bare = begin
        self._end = b'}],"usage":null}\n\n' if include_usage else b"}]}\n\n"
        self._include_usage = include_usage
        self._usage: Usage | None = None
        self._first = True
        self._finished = False

    def event(self, chunk: Chunk) -> bytes:
        """Write a chunk; empty bytes for one that says nothing."""
        self._usage = chunk.usage or self._usage
        events = b""
        if chunk.text or chunk.tool_calls or (self._first and chunk.finish):
            events = self._event(self._delta(chunk), b"null")
        if chunk.finish and not self._finished:
            self._finished = True
            events += self._event(b"{}", orjson.dumps(chunk.finish))
        return events

    def end(self) -> bytes:
        """Write what ends the stream."""
        events = b"" if self._finished else self._event(b"{}", b'"stop"')
        if self._include_usage:
            usage = orjson.dumps(_usage_fields(self._usage or Usage()))
            events += self._bare + b'],"usage":' + usage + b"}\n\n"
        return events + DONE

    def error(self, error: TaleError) -> bytes:
        """Write an error that came in the middle of the answer; it ends the stream."""
        return b"data: " + error_body(error) + b"\n\n"

    def _delta(self, chunk: Chunk) -> bytes:
        first, self._first = self._first, False
        if not first and not chunk.tool_calls:
            return b'{"content":' + orjson.dumps(chunk.text) + b"}"
        delta: dict[str, object] = {"role": "assistant"} if first else {}
        if chunk.text or not chunk.tool_calls:
            delta["content"] = chunk.text
        if chunk.tool_calls:
            delta["tool_calls"] = list(chunk.tool_calls)
        return orjson.dumps(delta)

    def _event(self, delta: bytes, finish: bytes) -> bytes:
        return self._begin + delta + b',"logprobs":null,"finish_reason":' + finish + self._end


def completion_body(answer_id: str, created: int, answer: Completion) -> bytes:
    """Write a whole answer."""
    calls = merge_tool_calls(answer.tool_calls)
    message: dict[str, object] = {
        "role": "assistant",
        "content": answer.text if answer.text or not calls else None,
        "refusal": None,
    }
    if calls:
        message["tool_calls"] = calls
    return orjson.dumps(
        {
            "id": answer_id,
            "object": "chat.completion",
            "created": created,
            "model": answer.model,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": answer.finish,
                }
            ],
            "usage": _usage_fields(answer.usage) if answer.usage else None,
        }
    )


def error_body(error: TaleError, status: int | None = None) -> bytes:
    """Write an error in OpenAI's shape, with tale's hint beside it."""
    param = error.param if isinstance(error, InvalidRequest) else ""
    return orjson.dumps(
        {
            "error": {
                "message": error.message,
                "type": _TYPES.get(status or error.status, "server_error"),
                "param": param or None,
                "code": error.code,
                "hint": error.hint,
            }
        }
    )


def _usage_fields(usage: Usage) -> dict[str, object]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    }
