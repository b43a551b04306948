"""Doing what an agent decided: files of its workspace, programs in the sandbox, tools of others.

Whatever goes wrong is an `Outcome` that tells the model exactly what, so that it can mend it. What
may be repeated after a crash is: writing a file by its content, and an edit that shows already.
Above: `servers.execution`. Beside: `tasks.permissions`, which is asked before. Below:
`tasks.workspace`, `tasks.sandbox`, `tasks.mcp_tools`.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

import anyio.to_thread

from tale.errors import TaleError
from tale.tasks.edits import Done, Edited, NotOne, edit
from tale.tasks.hands import (
    Action,
    ApprovePlan,
    AskUser,
    CallTool,
    EditFile,
    FileChange,
    ListFiles,
    Outcome,
    ReadFile,
    RunCommand,
    RunPython,
    WriteFile,
)
from tale.tasks.redaction import redact
from tale.tasks.sandbox import Command, Limits, Ran, Sandbox, why_stopped
from tale.tasks.workspace import Entry, Refused, Workspace
from tale.telemetry import get_logger

__all__ = ["ToolCaller", "Tooling", "perform"]

log = get_logger(__name__)

_MAX_READ: Final = 64 * 1024
_MAX_EDIT: Final = 4 * 1024 * 1024
_MAX_ENTRIES: Final = 300
_SNIFFED: Final = 8192
_LOGGED: Final = 200
_ANYWHERE: Final = Workspace(Path("/"))


class ToolCaller(Protocol):
    """Calls tools of external MCP servers."""

    async def call(self, server: str, tool: str, arguments: Mapping[str, object]) -> Outcome:
        """Call a tool; what goes wrong is an `Outcome` that is not ok."""
        ...


@dataclass(frozen=True, slots=True)
class Tooling:
    """What actions are done with.

    Attributes:
        sandbox: Runs programs.
        tools: Calls tools of external servers; None where there are none.
        limits: What a program may take.
        seconds: The most time that a program is given, whatever it asks for.
        network: Whether programs may reach the network.
        spill: Folder for output that is too long.
        anywhere: Files outside of the workspace too: the user said so.
        secrets: Values that no log may show.
    """

    sandbox: Sandbox
    tools: ToolCaller | None = None
    limits: Limits = field(default_factory=Limits)
    seconds: float = 600.0
    network: bool = False
    spill: Path | None = None
    anywhere: bool = False
    secrets: frozenset[str] = frozenset()


async def perform(action: Action, workspace: Workspace, tooling: Tooling) -> Outcome:
    """Do an action.

    Args:
        action: What to do; whether it may be is decided before.
        workspace: Where.
        tooling: With what.

    Raises:
        WorkspaceUnusable: The workspace itself can't be used, or its disk is full.
    """
    outcome = await _perform(action, workspace, tooling)
    log.info(
        "action.done",
        action=type(action).__name__,
        about=redact(_about(action), tooling.secrets)[:_LOGGED],
        ok=outcome.ok,
        exit=outcome.exit,
    )
    return outcome


async def _perform(action: Action, workspace: Workspace, tooling: Tooling) -> Outcome:
    if isinstance(action, RunCommand | RunPython):
        return await _run(action, workspace, tooling)
    if isinstance(action, CallTool):
        if tooling.tools is None:
            return Outcome(False, f"There is no MCP server {action.server!r}.")
        return await tooling.tools.call(action.server, action.tool, action.arguments)
    if isinstance(action, AskUser | ApprovePlan):
        return Outcome(False, "Nobody can be asked here.")
    place = _place(action.path, workspace, anywhere=tooling.anywhere)
    return await anyio.to_thread.run_sync(_file, action, place)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file is: the folder that bounds what is done, the path in it, and how it is told."""

    where: Workspace
    path: str
    name: str


def _place(path: str, workspace: Workspace, *, anywhere: bool) -> _Place:
    """Give the place of an action.

    Outside of the workspace no link is followed either: the user agreed to the path as shown.
    """
    if not anywhere or workspace.holds(path):
        return _Place(workspace, path, path)
    name = workspace.called(path)
    return _Place(_ANYWHERE, name.lstrip("/") or ".", name)


def _file(action: ListFiles | ReadFile | WriteFile | EditFile, place: _Place) -> Outcome:
    match action:
        case ListFiles():
            return _listed(place.name, place.where.list(place.path))
        case ReadFile():
            return _read(place)
        case WriteFile():
            return _written(place, action.content)
        case EditFile():
            return _edited(place, action)


def _listed(path: str, found: tuple[Entry, ...] | Refused) -> Outcome:
    if isinstance(found, Refused):
        return Outcome(False, f"{path} can't be listed: {found.why}.")
    if not found:
        return Outcome(True, f"{path} is empty.")
    marks = {"folder": "/", "link": " (a link)", "other": " (no plain file)"}
    lines = [
        f"{entry.name}{marks.get(entry.kind, '')}"
        + ("" if entry.size is None else f" ({entry.size:,} bytes)")
        for entry in found[:_MAX_ENTRIES]
    ]
    if len(found) > _MAX_ENTRIES:
        lines.append(f"... and {len(found) - _MAX_ENTRIES:,} more")
    return Outcome(True, "\n".join(lines))


def _read(place: _Place) -> Outcome:
    found = place.where.read(place.path, _MAX_READ)
    if isinstance(found, Refused):
        return Outcome(False, f"{place.name} can't be read: {found.why}.")
    if _is_binary(found.data):
        return Outcome(False, f"{place.name} is a binary file of {found.size:,} bytes, not text.")
    text = found.data.decode(errors="replace")
    if found.size > len(found.data):
        text = text.rstrip("\N{REPLACEMENT CHARACTER}")  # of a character that was cut
        text += f"\n[... the first {len(found.data):,} of {found.size:,} bytes ...]"
    return Outcome(True, text)


def _written(place: _Place, content: str) -> Outcome:
    written = place.where.write(place.path, content)
    if isinstance(written, Refused):
        return Outcome(False, f"{place.name} was not written: {written.why}.")
    name = place.name if place.where is _ANYWHERE else written.path
    change = FileChange(name, written.bytes, written.replaced)
    word = "replaced" if written.replaced else "written"
    return Outcome(True, f"{place.name} is {word} ({written.bytes:,} bytes).", files=(change,))


def _edited(place: _Place, action: EditFile) -> Outcome:
    found = place.where.read(place.path, _MAX_EDIT + 1)
    if isinstance(found, Refused):
        return Outcome(False, f"{place.name} can't be edited: {found.why}.")
    try:
        text = found.data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if found.size > _MAX_EDIT or "\0" in text:
        return Outcome(False, f"{place.name} can't be edited: it is too large, or not UTF-8 text.")
    match edit(text, action.old, action.new):
        case NotOne(why):
            return Outcome(False, f"{place.name} was not edited: {why}")
        case Done(line):
            return Outcome(True, f"{place.name} says so already, at line {line}.")
        case Edited(changed, line):
            written = _written(place, changed)
            told = f"{place.name} is edited at line {line}." if written.ok else written.text
            return replace(written, text=told)


async def _run(action: RunCommand | RunPython, workspace: Workspace, tooling: Tooling) -> Outcome:
    await anyio.to_thread.run_sync(workspace.make)
    if isinstance(action, RunCommand):
        argv, stdin = ("/bin/sh", "-c", action.line), b""
    else:
        argv, stdin = (sys.executable, "-"), action.code.encode(errors="replace")
    command = Command(
        argv,
        workspace.root,
        min(action.seconds, tooling.seconds),
        tooling.limits,
        network=tooling.network,
        stdin=stdin,
        spill=tooling.spill,
    )
    try:
        ran = await tooling.sandbox.run(command)
    except TaleError as error:
        return Outcome(False, f"{error.message} {error.hint}".strip(), note=error.message)
    except (OSError, ValueError) as error:
        if (why := _not_a_line(error)) is None:
            raise
        return Outcome(False, f"It can't be run: {why}.")
    if isinstance(action, RunPython):
        return _told(command, ran, _with_source(ran.output, action.code))
    return _told(command, ran, ran.output)


def _not_a_line(error: OSError | ValueError) -> str | None:
    """Say why the system takes no such line; None where that is not what is wrong."""
    if isinstance(error, OSError):
        return "the line is too long; write it to a file" if error.errno == errno.E2BIG else None
    return "the line holds a NUL; write it as \\0" if "null byte" in str(error) else None


def _told(command: Command, ran: Ran, output: str) -> Outcome:
    note = f"All of the output: {ran.overflow}" if ran.overflow else ""
    if ran.stopped:
        why = f"It was stopped: {why_stopped(command, ran.stopped)}."
        return Outcome(False, f"{output.rstrip()}\n{why}".lstrip(), note=note)
    if not ran.ok:
        said = output.rstrip() or "(no output)"
        return Outcome(False, f"{said}\nIt exited with {ran.exit}.", ran.exit, note=note)
    return Outcome(True, output.rstrip() or "(no output)", ran.exit, note=note)


def _with_source(output: str, code: str) -> str:
    """Add the lines that a traceback names, which Python can't where it read them from a pipe."""
    source, told = code.splitlines(), output.splitlines()
    shown: list[str] = []
    for place, line in enumerate(told):
        shown.append(line)
        head, _, rest = line.partition('File "<stdin>", line ')
        digits = rest.split(",", 1)[0]
        follows = told[place + 1] if place + 1 < len(told) else ""
        if head.strip() or not digits.isdigit() or follows.startswith(f"{head}  "):
            continue
        if 0 < int(digits) <= len(source):
            shown.append(f"{head}  {source[int(digits) - 1].strip()}")
    return "\n".join(shown)


def _is_binary(data: bytes) -> bool:
    return b"\0" in data[:_SNIFFED]


def _about(action: Action) -> str:
    match action:
        case RunCommand(line):
            return line
        case RunPython(code):
            return code
        case CallTool(server, tool):
            return f"{server}.{tool}"
        case AskUser(question) | ApprovePlan(question):
            return question
        case _:
            return action.path
