"""Ollama's native API as it stands on the wire: bodies out, JSON lines in, errors.

Pure. Above: `ollama`. Refusals are understood as Ollama 0.12 to 0.40 word them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, cast

import orjson
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from tale.errors import (
    BackendBroke,
    BackendFailed,
    BackendUnavailable,
    ContextExceeded,
    InsufficientMemory,
    ModelError,
    UnknownModel,
)
from tale.models._faults import overflow, read_error, shorten
from tale.models._sse import LineParser, LineTooLong
from tale.models.backend import ChatRequest, Chunk, FinishReason, Message, Usage

__all__ = [
    "KEEP",
    "AnswerDecoder",
    "RunningModel",
    "full_name",
    "ollama_fault",
    "read_running",
    "read_tags",
    "request_body",
]

KEEP: Final = -1
"""`keep_alive` for "never unload". An integer: Ollama refuses the string "-1" (no unit)."""

_SIGN_OF_LIFE = Chunk()
# OpenAI request fields that Ollama knows under the same name, among its `options`.
_SAMPLING = ("top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty")


_OBJECT: Final = TypeAdapter(dict[str, object])


class RunningModel(BaseModel):
    """An entry of `/api/ps`: `size` in bytes, video memory included; newer ones tell the window."""

    name: str
    size: int | None = None
    context_length: int | None = None


class _Running(BaseModel):
    models: tuple[RunningModel, ...] | None = None


class _Function(BaseModel):
    name: str
    arguments: dict[str, object] = {}


class _ToolCall(BaseModel):
    function: _Function


class _Message(BaseModel):
    content: str = ""
    tool_calls: tuple[_ToolCall, ...] | None = None


class _GivenFunction(BaseModel):
    name: str
    arguments: object = None


class _GivenCall(BaseModel):
    """A call of an earlier turn, in OpenAI's shape."""

    id: str = ""
    function: _GivenFunction


class _JsonSchema(BaseModel):
    schema_: dict[str, object] = Field(alias="schema")


class _ResponseFormat(BaseModel):
    type: str
    json_schema: _JsonSchema | None = None


class _Line(BaseModel):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int = 0
    eval_count: int = 0
    error: str | None = None


def full_name(name: str) -> str:
    """Complete a model's name with the tag that Ollama takes where none is given."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def request_body(model: str, context: int, request: ChatRequest) -> dict[str, object]:
    """Write a request as the body of a streamed `POST /api/chat`.

    `truncate` and `shift` off: a prompt that is too long is refused instead of being cut short in
    silence, and an answer that fills the window ends instead of pushing the prompt out.
    """
    settings: dict[str, object] = {
        key: request.options[key] for key in _SAMPLING if key in request.options
    }
    settings["num_ctx"] = context
    if request.max_tokens is not None:
        settings["num_predict"] = request.max_tokens
    if request.temperature is not None:
        settings["temperature"] = request.temperature
    if request.stop:
        settings["stop"] = list(request.stop)
    body: dict[str, object] = {
        "model": model,
        "messages": _turns(request.messages),
        "stream": True,
        "keep_alive": KEEP,
        "truncate": False,
        "shift": False,
        "options": settings,
    }
    tools = request.options.get("tools")
    # Ollama has no `tool_choice`: what must not be called must not be offered.
    if tools and request.options.get("tool_choice") != "none":
        body["tools"] = tools
    if shape := _format(request.options.get("response_format")):
        body["format"] = shape
    return body


def _turns(messages: Sequence[Message]) -> list[dict[str, object]]:
    """Write a conversation; a result is told by its tool's name, not by the id of its call."""
    names: dict[str, str] = {}
    turns: list[dict[str, object]] = []
    for turn in messages:
        said: dict[str, object] = {"role": turn.role, "content": turn.content}
        if calls := _given_calls(turn.extra.get("tool_calls")):
            said["tool_calls"] = [
                {
                    "function": {
                        "name": call.function.name,
                        "arguments": _arguments(call.function.arguments),
                    }
                }
                for call in calls
            ]
            # Ids come again with each answer; the last call of an id is the one that is meant.
            names.update((call.id, call.function.name) for call in calls)
        called = names.get(str(turn.extra.get("tool_call_id", ""))) or turn.extra.get("name")
        if turn.role == "tool" and isinstance(called, str):
            said["tool_name"] = called
        turns.append(said)
    return turns


def _given_calls(found: object) -> list[_GivenCall]:
    """Read calls as a client sends them back; what is none is left out."""
    calls: list[_GivenCall] = []
    for one in cast("list[object]", found) if isinstance(found, list) else []:
        with suppress(ValidationError):
            calls.append(_GivenCall.model_validate(one))
    return calls


def _arguments(given: object) -> dict[str, object]:
    """Turn JSON text into the object that Ollama insists on; text that is none keeps its words."""
    try:
        if isinstance(given, str):
            return _OBJECT.validate_json(given.strip() or "{}")
        return _OBJECT.validate_python(given or {})
    except ValidationError:
        return {"arguments": str(given)}


def _format(wanted: object) -> object:
    """Turn OpenAI's `response_format` into Ollama's `format`: "json", or a JSON schema."""
    try:
        shape = _ResponseFormat.model_validate(wanted)
    except ValidationError:
        return None
    if shape.type == "json_object":
        return "json"
    return shape.json_schema.schema_ if shape.json_schema else None


def read_tags(body: bytes, whose: str) -> frozenset[str]:
    """Read from `/api/tags` which models are pulled."""
    return frozenset(_read_models(body, whose))


def read_running(body: bytes, whose: str) -> Mapping[str, RunningModel]:
    """Read from `/api/ps` which models are in memory, by their full names."""
    return _read_models(body, whose)


def _read_models(body: bytes, whose: str) -> dict[str, RunningModel]:
    try:
        listed = _Running.model_validate_json(body).models or ()
    except ValidationError as error:
        raise _garbage(body, whose) from error
    return {full_name(entry.name): entry for entry in listed}


class AnswerDecoder:
    """Turns the bytes of one streamed answer into chunks; the chunk with `finish` comes last.

    Args:
        model: Which model was asked.
        context: The `num_ctx` it was asked with.
        whose: Which Ollama, for messages.
    """

    def __init__(self, model: str, context: int, whose: str) -> None:
        self._model = model
        self._context = context
        self._whose = whose
        self._lines = LineParser()
        self._calls = 0
        self.generated = False
        self.done = False

    def feed(self, data: bytes) -> list[Chunk]:
        """Take in the next piece of the body.

        Raises:
            ModelError: Ollama reported an error, or what it sent is no answer.
        """
        try:
            lines = self._lines.feed(data)
        except LineTooLong as error:
            raise _garbage(str(error).encode(), self._whose) from error
        return [chunk for line in lines if line for chunk in self._chunks(line)]

    def finish(self) -> list[Chunk]:
        """Take note that the body has ended.

        Raises:
            BackendBroke: It ended before the answer did.
        """
        rest = self._lines.finish()
        chunks = self._chunks(rest) if rest else []
        if not self.done:
            raise BackendBroke(f"{self._whose} closed the stream before the answer's end.")
        return chunks

    def _chunks(self, data: bytes) -> list[Chunk]:
        try:
            line = _Line.model_validate_json(data)
        except ValidationError as error:
            raise _garbage(data, self._whose) from error
        if line.error is not None:
            raise ollama_fault(data, 500, self._model, self._whose)
        chunks = [self._content(line.message)] if line.message else []
        if line.done:
            chunks.append(self._last(line))
        return chunks

    def _content(self, message: _Message) -> Chunk:
        calls = tuple(self._call(call) for call in message.tool_calls or ())
        if not (message.content or calls):
            return _SIGN_OF_LIFE
        self.generated = True
        return Chunk(text=message.content, tool_calls=calls)

    def _call(self, call: _ToolCall) -> Mapping[str, object]:
        """Write a tool call as OpenAI streams it: numbered, arguments as JSON text."""
        index, self._calls = self._calls, self._calls + 1
        arguments = orjson.dumps(call.function.arguments).decode()
        return {
            "index": index,
            "id": f"call_{index}",
            "type": "function",
            "function": {"name": call.function.name, "arguments": arguments},
        }

    def _last(self, line: _Line) -> Chunk:
        self.done = True
        # Before 0.12.6 Ollama ignores `truncate` and cuts a long prompt to exactly the window.
        if line.prompt_eval_count >= self._context:
            raise ContextExceeded(
                f"The prompt fills the window of {self._context} tokens, and {self._whose} cut it "
                "short.",
                hint="Shorten the prompt, raise context of the model in tale.toml, or update "
                "Ollama.",
            )
        finish: FinishReason = "length" if line.done_reason == "length" else "stop"
        if self._calls:
            finish = "tool_calls"
        return Chunk(finish=finish, usage=Usage(line.prompt_eval_count, line.eval_count))


def ollama_fault(body: bytes, status: int, model: str, whose: str) -> ModelError:
    """Say in tale's terms what Ollama answered instead of an answer."""
    detail = read_error(body)
    # From 0.34 on the inner server's own error comes as JSON inside the message.
    if detail.message.startswith("{"):
        detail = read_error(detail.message.encode())
    message = detail.message
    if too_long := overflow(detail, whose):
        return too_long
    if "not found" in message and "model" in message:
        return UnknownModel(f"{whose} does not have {model}.", hint=f"Run: ollama pull {model}")
    if "more system memory" in message:
        return InsufficientMemory(
            f"{whose} can't load {model}: {message}.",
            hint="Close other programs, or set a smaller model or context in tale.toml.",
        )
    if status in {502, 503}:
        return BackendUnavailable(f"{whose} is not ready (HTTP {status}): {message}.")
    return BackendFailed(f"{whose} answered with an error (HTTP {status}): {message}.")


def _garbage(data: bytes, whose: str) -> BackendFailed:
    return BackendFailed(
        f"{whose} sent something that is not Ollama's: {shorten(data)}",
        hint="Check that ollama_url in tale.toml is Ollama's address.",
    )
