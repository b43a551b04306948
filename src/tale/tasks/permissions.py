"""May this action be done, must the user be asked first, or is it out of the question? Pure.

Above: `tasks.engine`, which waits for the user's word durably. Beside: `tasks.tools`, which does
what is allowed. Levels, from the careful to the free:

    ask        reads by itself, asks before every change, program and tool
    workspace  does what it likes in its workspace and in the sandbox, asks before anything else
    full       asks for nothing, except what the user forbade or wants to be asked for
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from tale.tasks.hands import (
    Action,
    ApprovePlan,
    AskUser,
    CallTool,
    EditFile,
    ListFiles,
    ReadFile,
    RunCommand,
    RunPython,
    WriteFile,
)
from tale.tasks.task import Level
from tale.tasks.workspace import Workspace

__all__ = ["Allowed", "MustAsk", "Refused", "Rule", "Verdict", "needed", "tool_name"]

Rule = Literal["allow", "ask", "deny"]


@dataclass(frozen=True, slots=True)
class Allowed:
    """It may be done."""


@dataclass(frozen=True, slots=True)
class MustAsk:
    """The user decides; `reason` completes "may it ...?"."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It is not done, whoever asks; `reason` is for the model."""

    reason: str


Verdict = Allowed | MustAsk | Refused


def tool_name(call: CallTool) -> str:
    """Name a tool with its server, as rules do."""
    return f"{call.server}.{call.tool}"


def needed(
    action: Action,
    level: Level,
    read_only_tools: Collection[str] = (),
    *,
    workspace: Workspace,
    rules: Mapping[str, Rule] | None = None,
    sandboxed: bool = True,
) -> Verdict:
    """Say what an action needs.

    Args:
        action: What is to be done.
        level: What the user trusts tasks with.
        read_only_tools: Tools, as `server.tool`, that their servers call read-only.
        workspace: Where the task works.
        rules: The user's word on a tool (`server.tool`) or on all of a server (`server`).
        sandboxed: Whether programs are shut in; if not, they reach whatever the user reaches.
    """
    match action:
        case CallTool():
            return _tool(action, level, read_only_tools, rules or {})
        case RunCommand(line):
            return _program(f"run {line!r}", level, sandboxed=sandboxed)
        case RunPython(about=about):
            what = f"run a Python program ({about})" if about else "run a Python program"
            return _program(what, level, sandboxed=sandboxed)
        case AskUser(question) | ApprovePlan(question):
            return MustAsk(question)
        case _:
            return _file(action, level, workspace)


def _file(
    action: ListFiles | ReadFile | WriteFile | EditFile, level: Level, workspace: Workspace
) -> Verdict:
    changes = isinstance(action, WriteFile | EditFile)
    inside = workspace.holds(action.path)
    if level == "full" or (inside and not (changes and level == "ask")):
        return Allowed()
    what = f"{'write' if changes else 'read'} {action.path}"
    if inside:
        return MustAsk(what)
    if why := workspace.barred(action.path):
        return Refused(f"{action.path} can't be {'written' if changes else 'read'}: {why}.")
    return MustAsk(f"{what}, which is outside of the workspace")


def _program(what: str, level: Level, *, sandboxed: bool) -> Verdict:
    if level == "full" or (level == "workspace" and sandboxed):
        return Allowed()
    return MustAsk(what if sandboxed else f"{what} without a sandbox")


def _tool(
    call: CallTool, level: Level, read_only: Collection[str], rules: Mapping[str, Rule]
) -> Verdict:
    name = tool_name(call)
    rule = rules.get(name) or rules.get(call.server)
    if rule == "deny":
        return Refused(f"The user doesn't allow {name}. Do it in another way.")
    if rule == "ask":
        return MustAsk(f"use {name}, before which you want to be asked")
    if rule == "allow" or level == "full" or name in read_only:
        return Allowed()
    return MustAsk(f"use {name}, which may change something outside of the workspace")
