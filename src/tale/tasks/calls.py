"""Calls of external tools as a small model writes them: lines `CALL: server.tool {…}`. Pure.

Read leniently, as its files and commands are. Above: `tasks.by_fences`. Beside: `tasks.fenced`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from tale.tasks.hands import CallTool
from tale.tasks.lenient_json import Fault, read_object
from tale.tasks.offers import find_tool
from tale.tasks.task import ToolOffer
from tale.tasks.tool_schema import fault_of

__all__ = ["Calls", "call_line", "is_call", "read_calls"]

_LINE: Final = re.compile(r"^[\s>*_`#-]*(CALL|RUN)[*_`]*:[*_`\s]*([\w./:-]*\w)[`*_]*[ \t]*(.*)$")
_NEXT: Final = re.compile(r"^[\s>*_`#-]*(?:CALL|RUN|FILE)[*_`]*:", re.IGNORECASE)
_FENCE: Final = re.compile(r"^\s*(?:`{3,}|~{3,})")
_KEYWORD: Final = re.compile(r"(?<![\w\"'])([A-Za-z_]\w*)\s*=\s*")
_PARENTHESES: Final = re.compile(r"^\(([^{]*?)\)")
_MOST_CALLS: Final = 4
_MOST_NAMES: Final = 20


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls that an answer asks for, and what the model must be told of the others."""

    calls: tuple[CallTool, ...] = ()
    faults: tuple[str, ...] = ()


def read_calls(text: str, tools: Sequence[ToolOffer]) -> Calls:
    """Read the calls in an answer, outside of its blocks; each once. Total."""
    if not tools:
        return Calls()
    lines = text.splitlines()
    calls: list[CallTool] = []
    faults: list[str] = []
    inside = False
    for place, line in enumerate(lines):
        if _FENCE.match(line):
            inside = not inside
        if inside or not (match := _LINE.match(line)):
            continue
        word, name, rest = match.groups()
        offer = find_tool(name, tools)
        if offer is None:
            if word == "CALL":
                known = ", ".join(each.name for each in tools[:_MOST_NAMES])
                faults.append(f"There is no tool {name!r}. There are: {known}.")
            continue
        arguments = _arguments(rest, lines[place + 1 :], offer)
        if isinstance(arguments, Fault):
            faults.append(f"The arguments of {offer.name} can't be read: {arguments.text}")
            continue
        if lacks := fault_of(arguments, offer.schema):
            faults.append(f"{offer.name} was not called: {lacks}")
            continue
        call = CallTool(offer.server, offer.tool, arguments)
        if call not in calls:
            calls.append(call)
    return Calls(tuple(calls[:_MOST_CALLS]), tuple(dict.fromkeys(faults)))


def is_call(command: str, tools: Sequence[ToolOffer]) -> bool:
    """Say whether what stands after `RUN:` names a tool rather than a program."""
    match = _LINE.match(f"RUN: {command}")
    return bool(match) and find_tool(match[2], tools) is not None


def call_line(call: CallTool) -> str:
    """Write a call as the model is shown it."""
    return f"CALL: {call.server}.{call.tool} {json.dumps(call.arguments, ensure_ascii=False)}"


def _arguments(
    rest: str, following: Sequence[str], offer: ToolOffer
) -> Mapping[str, object] | Fault:
    """Read what stands after a tool's name, or below it."""
    rest = rest.strip().strip("`").strip()
    below: list[str] = []
    for line in following:
        if _NEXT.match(line):
            break
        below.append(line)
    if match := _PARENTHESES.match(rest):
        inner = match[1]
        named = _KEYWORD.sub(r'"\1": ', inner)
        return read_object("{" + named + "}") if inner.strip() else {}
    if rest in {"", "(", "{}"}:
        said = [line for line in below if line.strip() and not _FENCE.match(line)]
        starts = bool(said) and said[0].lstrip().startswith("{")
        return read_object("\n".join(said)) if starts and rest != "{}" else {}
    if "{" in rest:
        if re.fullmatch(r"\(?\{\s*\}\)?.*", rest):
            return {}
        return read_object("\n".join((rest[rest.index("{") :], *below)))
    return _only_argument(rest, offer)


def _only_argument(rest: str, offer: ToolOffer) -> Mapping[str, object] | Fault:
    """Take bare words for the one text that a tool needs."""
    properties = cast("Mapping[str, object]", offer.schema.get("properties") or {})
    required = cast("Sequence[str]", offer.schema.get("required") or list(properties))
    if len(required) == 1 and properties.get(required[0]) == {"type": "string"}:
        return {required[0]: rest.strip("\"'")}
    return Fault('Give them as JSON, as in CALL: name {"argument": "value"}.')
