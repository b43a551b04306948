"""What is wrong with a whole answer, as far as that can be told without a model. Pure.

Each check gives a fault in words that go on after the model's name ("refused to answer"), empty if
it finds none. Above: `whole`, which asks the next model for a better answer; whoever makes an
`Order` picks its `check` here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from textwrap import dedent
from typing import Final, cast

import orjson

from tale.models.answer import Completion, merge_tool_calls
from tale.models.assess import Kind
from tale.models.backend import ChatRequest
from tale.models.order import Check
from tale.models.runaway import before_rambling, runs_away
from tale.models.written_calls import tool_names

__all__ = ["broken_format", "check_for"]

_FENCED: Final = re.compile(
    r"^[ \t]*```[ \t]*(\w*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL
)
_PYTHON: Final = frozenset(("python", "py", "python3"))
# How instruction-tuned models begin when they won't. Only the beginning counts: a story may have a
# character who is sorry. "I can't wait" is none, so what follows has to be a verb of service.
_REFUSAL: Final = re.compile(
    r"""\W*
    (?: (?:(?:i\ ?'?a?m|i\ am)\ (?:\w+\ )?(?:sorry|afraid)|sorry|unfortunately|as\ an\ ai)
        \b [^.!?\n]{0,60}? )?
    \b i (?:
        \ ?(?:'m|\ am)\ (?:unable|not\ able)\ to\b
      | \ (?:can'?t|can\ ?not|won'?t|will\ not)\ (?:be\ able\ to\ )?
        (?:assist|help|comply|fulfil|provide|answer|do|complete|create|write|generate|access|process
           |perform|support|continue|engage|discuss)
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def check_for(kind: Kind) -> Check:
    """Give the check for an answer to a kind of request."""

    def check(answer: Completion) -> str:
        fault = _unfinished(answer) or _refusal(answer.text)
        if not fault and kind == "code":
            fault = _broken_python(answer.text)
        return fault

    return check


def broken_format(request: ChatRequest, answer: Completion) -> str:
    """Tell whether an answer has the form that the request asked for.

    An answer that the caller's own limit cut off can't have it, and no other model's would.
    """
    if answer.finish == "length" and request.max_tokens is not None:
        return ""
    if answer.tool_calls:
        return _broken_calls(request, answer)
    shape = request.options.get("response_format")
    if not isinstance(shape, Mapping):
        return ""
    return _broken_json(cast("Mapping[str, object]", shape), answer.text)


def _broken_json(shape: Mapping[str, object], text: str) -> str:
    if shape.get("type") not in ("json_object", "json_schema"):
        return ""
    try:
        found: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "gave invalid JSON"
    if shape.get("type") == "json_object":
        return "" if isinstance(found, dict) else "gave JSON that is no object"
    named = shape.get("json_schema")
    schema = cast("dict[str, object]", named).get("schema") if isinstance(named, dict) else None
    return _broken_schema(cast("dict[str, object]", schema), found) if schema else ""


def _broken_schema(schema: Mapping[str, object], found: object) -> str:
    """Validate with what the MCP SDK brings along; the import takes 0.2 s."""
    import jsonschema  # noqa: PLC0415

    try:
        jsonschema.validate(found, schema, jsonschema.Draft202012Validator)
    except jsonschema.ValidationError as error:
        return f"gave JSON that breaks its schema at {error.json_path}"
    except jsonschema.SchemaError:
        return ""  # the caller's fault, and no model can answer to it
    return ""


def _broken_calls(request: ChatRequest, answer: Completion) -> str:
    offered = tool_names(request.options.get("tools"))
    for call in merge_tool_calls(answer.tool_calls):
        function = cast("Mapping[str, str]", call["function"])
        name = function.get("name", "")
        if offered and name not in offered:
            return f"called a tool that was not offered ({name or 'without a name'})"
        try:
            arguments: object = orjson.loads(function.get("arguments") or "{}")
        except orjson.JSONDecodeError:
            return f"called {name} with invalid JSON"
        if not isinstance(arguments, dict):
            return f"called {name} with something else than an object"
    return ""


def _unfinished(answer: Completion) -> str:
    """Tell whether an answer is one; what ended by itself may repeat itself, as a list does."""
    if not answer.text.strip() and not answer.tool_calls:
        return "gave an empty answer"
    if answer.finish != "length":
        return ""
    if runs_away(answer.text) or before_rambling(answer.text) is not None:
        return "repeated itself without end"
    return "did not come to an end"


def _refusal(text: str) -> str:
    return "refused to answer" if _REFUSAL.match(text[:200].replace("\u2019", "'")) else ""


def _broken_python(text: str) -> str:
    for language, code in _FENCED.findall(text):
        if language.lower() in _PYTHON:
            try:
                ast.parse(dedent(code))
            except (SyntaxError, ValueError, MemoryError, RecursionError):
                return "wrote Python that does not parse"
    return ""
