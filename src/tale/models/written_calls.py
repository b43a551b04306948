"""Tool calls that a model wrote into its text, read as the calls that they are meant as.

Small models that are offered tools often answer with the call in a fence, or bare, where their own
marks should stand; no server finds it there, and a client is shown JSON. What begins like a call is
held back until it is one or isn't; all other text passes at once. Only an answer that is nothing
but calls of offered tools counts. Pure but for the calls' ids. Above: `generation`, `checks`.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

from tale.models.backend import ChatRequest, Chunk

__all__ = ["CallReader", "offered_tools", "read_calls", "tool_names"]

_FENCES: Final = ("```", "```json", "```xml", "```tool_call")
_MARKS: Final = ("", "<tool_call>", "<tools>")
_BEGINNINGS: Final = tuple(
    f'{wrap}{bracket}{{"{key}":'
    for wrap in (*_MARKS, *(fence + mark for fence in _FENCES for mark in _MARKS))
    for bracket in ("", "[")
    for key in ("name", "arguments")
)
"""How calls begin, without white space."""
_LONGEST: Final = 200
"""Characters in which a beginning stands, with its white space."""
_BETWEEN: Final = re.compile(r"(?:[\s,;]|```[ \t]*\w*|</?(?:tool_call|tools)>)*")
"""What stands around calls and is part of none."""
_DECODER: Final = json.JSONDecoder()


def tool_names(tools: object) -> frozenset[str]:
    """Give the names in the `tools` of a request."""
    names: set[str] = set()
    for tool in cast("list[object]", tools) if isinstance(tools, list) else []:
        match tool:
            case {"function": {"name": str(name)}}:
                names.add(name)
            case _:
                pass
    return frozenset(names)


def offered_tools(request: ChatRequest) -> frozenset[str]:
    """Give the tools that an answer may call; none where it is to be text or JSON."""
    options = request.options
    if options.get("tool_choice") == "none" or "response_format" in options:
        return frozenset()
    return tool_names(options.get("tools"))


def read_calls(text: str, offered: frozenset[str]) -> tuple[Mapping[str, object], ...]:
    """Read an answer as calls, in the shape of OpenAI's deltas; empty where it is anything else."""
    if not _may_be_call(text):
        return ()
    calls: list[Mapping[str, object]] = []
    at = _end_of_dress(text, 0)
    while at < len(text):
        try:
            found, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return ()
        for one in cast("list[object]", found) if isinstance(found, list) else [found]:
            call = _call(one, offered, len(calls))
            if call is None:
                return ()
            calls.append(call)
        at = _end_of_dress(text, at)
    return tuple(calls)


def _end_of_dress(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _call(found: object, offered: frozenset[str], index: int) -> Mapping[str, object] | None:
    fields = cast("dict[str, object]", found) if isinstance(found, dict) else {}
    name, arguments = fields.get("name"), fields.get("arguments")
    # What says more than a call does isn't one.
    if len(fields) != 2 or name not in offered or not isinstance(arguments, dict):
        return None
    given = json.dumps(cast("object", arguments), ensure_ascii=False)
    return {
        "index": index,
        "id": f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": name, "arguments": given},
    }


class CallReader:
    """Reads one answer's chunks: calls take the place of their text, all else passes.

    Args:
        offered: The tools that it may call.
    """

    def __init__(self, offered: frozenset[str]) -> None:
        self._offered = offered
        self._held = ""
        self._passing = not offered

    def take(self, chunk: Chunk | None) -> Chunk | None:
        """Take the next chunk, None after the last, and give what is to be passed on.

        For what is held back an empty chunk is given: it is a sign of life.
        """
        if self._passing:
            return chunk
        if chunk is None:
            self._passing = True
            return Chunk(text=self._held) if self._held else None
        self._held += chunk.text
        calls = read_calls(self._held, self._offered) if chunk.finish == "stop" else ()
        if calls:
            self._passing = True
            return replace(chunk, text="", tool_calls=calls, finish="tool_calls")
        if chunk.finish or chunk.tool_calls or not _may_be_call(self._held):
            self._passing = True
            return replace(chunk, text=self._held)
        return replace(chunk, text="")


def _may_be_call(text: str) -> bool:
    squeezed = re.sub(r"\s", "", text[:_LONGEST])
    return any(begin.startswith(squeezed) or squeezed.startswith(begin) for begin in _BEGINNINGS)
