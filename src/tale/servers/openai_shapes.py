"""OpenAI's chat completions as requests: a JSON body becomes a `ChatRequest`, or a 400.

Pure. Checked by hand rather than by pydantic: what tale doesn't interpret is handed on as it came,
and the error must name the wrong parameter in OpenAI's way. Above: `openai_api`. Replies:
`openai_sse`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

import orjson

from tale.errors import InvalidRequest
from tale.models.backend import ChatRequest, Message

__all__ = [
    "ChatCall",
    "object_of",
    "parse_chat",
    "parse_deadline",
    "parse_name",
    "parse_text",
    "parse_texts",
]

_MAX_STOPS: Final = 16
# Fields that say nothing to a local model, or that are interpreted here.
_OWN: Final = frozenset(
    """
    model messages stream stream_options max_tokens max_completion_tokens temperature stop n
    logprobs top_logprobs user metadata store service_tier modalities safety_identifier
    prompt_cache_key
    """.split()  # noqa: SIM905 - a list would take a line for each
)
_LISTS: Final = frozenset(("tools",))
_OBJECTS: Final = frozenset(("response_format", "logit_bias"))
_NUMBERS: Final = frozenset(("top_p", "presence_penalty", "frequency_penalty", "min_p"))
_INTEGERS: Final = frozenset(("seed", "top_k"))
_ROLES: Final[Mapping[str, Literal["system", "user", "assistant", "tool"]]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_EXTRA: Final = ("tool_calls", "tool_call_id", "name")

_Object = dict[str, object]


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One call of `/v1/chat/completions`.

    Attributes:
        model: What was asked for: `auto`, a role, or a real name.
        request: What to generate.
        stream: Whether the answer goes out token by token.
        include_usage: Whether a stream ends with the tokens spent.
    """

    model: str
    request: ChatRequest
    stream: bool
    include_usage: bool

    @property
    def last_user_text(self) -> str:
        """What the user said last; empty if nothing."""
        turns = self.request.messages
        return next((turn.content for turn in reversed(turns) if turn.role == "user"), "")


def parse_chat(body: bytes) -> ChatCall:
    """Read the body of a chat completion.

    Raises:
        InvalidRequest: It isn't one; says which parameter is wrong, and how.
    """
    fields = object_of(body)
    for absent in ("model", "messages"):
        if absent not in fields:
            raise _bad(absent, "is missing")
    model = fields["model"]
    if not isinstance(model, str) or not model:
        raise _bad("model", "must be a string: auto, ux, task or a model's name")
    _check_count(fields)
    stream = _flag(fields, "stream")
    return ChatCall(
        model=model,
        request=ChatRequest(
            messages=_messages(fields["messages"]),
            max_tokens=_max_tokens(fields),
            temperature=_number(fields, "temperature", 0, 2),
            stop=_stop(fields.get("stop")),
            options=_options(fields),
        ),
        stream=stream,
        include_usage=stream and _include_usage(fields.get("stream_options")),
    )


def parse_deadline(header: str | None) -> float | None:
    """Read `x-tale-deadline`: seconds that the caller gives.

    Raises:
        InvalidRequest: It isn't a positive number.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise _bad("x-tale-deadline", f"must be a positive number of seconds, not {header!r}")
    return seconds


def parse_name(body: bytes) -> str:
    """Read the body of a request that names a model: `{"model": …}`.

    Raises:
        InvalidRequest: It doesn't.
    """
    name = object_of(body).get("model")
    if not isinstance(name, str) or not name:
        raise _bad("model", "must be a model's name")
    return name


def parse_text(body: bytes) -> str:
    """Read the body of a request about a text: `{"text": …}`.

    Raises:
        InvalidRequest: It has none.
    """
    text = object_of(body).get("text")
    if not isinstance(text, str):
        raise _bad("text", "must be a string")
    return text


def parse_texts(body: bytes) -> tuple[str, list[str]]:
    """Read the body of a request about texts: `{"model": …, "texts": […]}`.

    Raises:
        InvalidRequest: It isn't one.
    """
    texts = object_of(body).get("texts")
    if not isinstance(texts, list):
        raise _bad("texts", "must be a list of strings")
    strings = [text for text in cast("list[object]", texts) if isinstance(text, str)]
    if len(strings) < len(cast("list[object]", texts)):
        raise _bad("texts", "must be a list of strings")
    return parse_name(body), strings


def object_of(body: bytes) -> _Object:
    """Read a body that is to be a JSON object.

    Raises:
        InvalidRequest: It isn't one.
    """
    try:
        # orjson takes strict UTF-8 only and refuses lone surrogates, which no model can be sent.
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"The body is not JSON in UTF-8: {error}.",
            hint='Send an object such as {"model": "auto", "messages": [{"role": "user", …}]}.',
        ) from error
    if not isinstance(found, dict):
        raise InvalidRequest(f"The body must be a JSON object, not {_kind(found)}.")
    return cast("_Object", found)


def _messages(found: object) -> tuple[Message, ...]:
    if not isinstance(found, list):
        raise _bad("messages", f"must be a list, not {_kind(found)}")
    turns = cast("list[object]", found)
    if not turns:
        raise _bad("messages", "must have at least one message")
    return tuple(_message(turn, f"messages[{index}]") for index, turn in enumerate(turns))


def _message(found: object, where: str) -> Message:
    if not isinstance(found, dict):
        raise _bad(where, f"must be an object, not {_kind(found)}")
    turn = cast("_Object", found)
    role = turn.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _bad(f"{where}.role", f"must be one of {', '.join(_ROLES)}, not {role!r}")
    calls = turn.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise _bad(f"{where}.tool_calls", f"must be a list, not {_kind(calls)}")
    extra = {name: turn[name] for name in _EXTRA if turn.get(name) is not None}
    content = turn.get("content")
    if content is None and role == "assistant":
        return Message("assistant", "", extra)
    return Message(_ROLES[role], _text(content, f"{where}.content"), extra)


def _text(content: object, where: str) -> str:
    """Read a content: a string, or a list of text parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _bad(where, f"must be a string or a list of parts, not {_kind(content)}")
    texts: list[str] = []
    for index, part in enumerate(cast("list[object]", content)):
        piece = cast("_Object", part) if isinstance(part, dict) else {}
        text = piece.get("refusal" if piece.get("type") == "refusal" else "text")
        if piece.get("type") not in ("text", "refusal") or not isinstance(text, str):
            raise _bad(
                f"{where}[{index}]",
                'must be {"type": "text", "text": …}; images, audio and files are not supported',
            )
        texts.append(text)
    return "\n".join(texts)


def _check_count(fields: _Object) -> None:
    """Refuse what would need several answers, or probabilities of tokens."""
    if fields.get("n") not in (None, 1) or isinstance(fields.get("n"), bool):
        raise _bad("n", "must be 1: one answer is generated at a time")
    if fields.get("logprobs") not in (None, False) or fields.get("top_logprobs") not in (None, 0):
        raise _bad("logprobs", "is not supported")


def _max_tokens(fields: _Object) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        if (value := _integer(fields, name)) is not None:
            if value < 1:
                raise _bad(name, f"must be at least 1, not {value}")
            return value
    return None


def _stop(found: object) -> tuple[str, ...]:
    stops = cast("list[object]", found) if isinstance(found, list) else [found]
    if found is None:
        return ()
    if len(stops) > _MAX_STOPS:
        raise _bad("stop", f"may have {_MAX_STOPS} strings at most, not {len(stops)}")
    if not all(isinstance(stop, str) and stop for stop in stops):
        raise _bad("stop", "must be a string or a list of strings, none of them empty")
    return tuple(stop for stop in stops if isinstance(stop, str))


def _include_usage(found: object) -> bool:
    if found is None:
        return False
    if not isinstance(found, dict):
        raise _bad("stream_options", f"must be an object, not {_kind(found)}")
    return _flag(cast("_Object", found), "include_usage", "stream_options.")


def _options(fields: _Object) -> _Object:
    """Gather what is handed on to the backend; checks the types of the fields OpenAI defines."""
    options = {
        name: value for name, value in fields.items() if name not in _OWN and value is not None
    }
    for name in options:
        if name in _LISTS and not isinstance(fields[name], list):
            raise _bad(name, f"must be a list, not {_kind(fields[name])}")
        if name in _OBJECTS and not isinstance(fields[name], dict):
            raise _bad(name, f"must be an object, not {_kind(fields[name])}")
        if name in _NUMBERS:
            _number(fields, name, -math.inf, math.inf)
        if name in _INTEGERS:
            _integer(fields, name)
    for index, tool in enumerate(cast("list[object]", options.get("tools", []))):
        if not isinstance(tool, dict):
            raise _bad(f"tools[{index}]", f"must be an object, not {_kind(tool)}")
    return options


def _flag(fields: _Object, name: str, prefix: str = "") -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise _bad(prefix + name, f"must be true or false, not {_kind(value)}")
    return bool(value)


def _integer(fields: _Object, name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _bad(name, f"must be an integer, not {_kind(value)}")


def _number(fields: _Object, name: str, least: float, most: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(name, f"must be a number, not {_kind(value)}")
    if not least <= value <= most:
        raise _bad(name, f"must be from {least:g} to {most:g}, not {value}")
    return value


def _kind(value: object) -> str:
    """Name a value's type as JSON does."""
    match value:
        case None:
            name = "null"
        case bool():
            name = "a boolean"
        case str():
            name = "a string"
        case int() | float():
            name = "a number"
        case dict():
            name = "an object"
        case _:
            name = "a list"
    return name


def _bad(param: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{param} {what}.", param=param)
