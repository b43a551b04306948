"""The commands of a conversation: their names, what they take, and what they do. Pure.

The one list of them: what is typed is read by it, `/help` and completion show it, and a pipe says
by it what does the same elsewhere. Above: `chat`, `chat_terminal` (performs), `chat_prompt`.
Below: nothing of tale's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "COMMANDS",
    "HELP",
    "ChatCommand",
    "Takes",
    "Typed",
    "help_rows",
    "nearest",
    "typed",
]

Takes = Literal["", "task", "question", "session", "words"]
"""What completion offers behind a name: `question` is a task that waits for its user's word."""


@dataclass(frozen=True, slots=True)
class ChatCommand:
    """A command.

    Attributes:
        name: What is typed, without the slash.
        takes: What its first word is.
        arguments: How that reads in the help.
        help: What it does.
        elsewhere: What does the same outside of a conversation; empty if nothing does.
        aliases: Other names, which only reading knows.
    """

    name: str
    help: str
    takes: Takes = ""
    arguments: str = ""
    elsewhere: str = ""
    aliases: tuple[str, ...] = ()


COMMANDS: Final = (
    ChatCommand("help", "this list", aliases=("?",)),
    ChatCommand("why", "who gave the last answer, why, and what was recalled for it"),
    ChatCommand("tasks", "the tasks of this conversation", elsewhere="tale tasks"),
    ChatCommand("show", "all of a task", "task", "[ID]", "tale show ID"),
    ChatCommand(
        "approve", "let a task do what it asks for, or answer it", "question", "[ID] [TEXT]",
        "tale approve ID",
    ),
    ChatCommand(
        "reject", "don't let it; say why, and it goes another way", "question", "[ID] [WHY]",
        "tale reject ID REASON",
    ),
    ChatCommand(
        "edit", "change the plan that a task asks about, in your editor", "question", "[ID]",
        "tale edit ID --file FILE",
    ),
    ChatCommand("pause", "let a task rest", "task", "[ID]", "tale pause ID"),
    ChatCommand("resume", "let a paused task go on", "task", "[ID]", "tale resume ID"),
    ChatCommand("cancel", "stop a task for good", "task", "[ID]", "tale cancel ID"),
    ChatCommand("new", "begin another conversation"),
    ChatCommand("private", "begin one of which nothing is kept", elsewhere="tale chat --private"),
    ChatCommand(
        "sessions", "list conversations, or go on with one", "session", "[ID]",
        "tale chat --session ID",
    ),
    ChatCommand(
        "memory", "what is noted, or what was said about something", "words", "[TEXT]",
        "tale memory search TEXT",
    ),
    ChatCommand("editor", "write the next text in your editor"),
    ChatCommand("clear", "clear the screen"),
    ChatCommand("quit", "leave; tasks go on", aliases=("exit", "q")),
)  # fmt: skip
HELP: Final = """\
Enter sends; Alt-Enter or Ctrl-J begins a line. Up and Ctrl-R find what you typed before.
Ctrl-C stops an answer, Ctrl-L clears the screen, Ctrl-D leaves. Tasks go on when you leave."""
_NAME: Final = re.compile(r"/([a-z?]+)\Z")
_BY_NAME: Final = {name: one for one in COMMANDS for name in (one.name, *one.aliases)}
_NEAR: Final = 0.6
"""Likeness (of 1) from which on a name may have been meant."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A command as it was typed.

    Attributes:
        name: As it was typed.
        command: What it is; None where there is none of that name.
        words: What stands behind it.
    """

    name: str
    command: ChatCommand | None
    words: tuple[str, ...] = ()


def typed(line: str) -> Typed | None:
    """Read a line; None where it is something to say: also a path like `/etc/hosts`."""
    first, *words = line.split() or [""]
    named = _NAME.match(first)
    return Typed(first, _BY_NAME.get(named[1]), tuple(words)) if named else None


def nearest(name: str) -> ChatCommand | None:
    """Give the command that was probably meant by a name that none has."""
    from difflib import get_close_matches  # noqa: PLC0415 - for who mistyped something

    bare = name.removeprefix("/")
    if begun := [one for one in COMMANDS if bare and one.name.startswith(bare)]:
        return begun[0]
    found = get_close_matches(bare, list(_BY_NAME), 1, _NEAR)
    return _BY_NAME[found[0]] if found else None


def help_rows() -> Sequence[tuple[str, str]]:
    """Give a row for each command: how it is typed, and what it does."""
    return [(f"/{one.name} {one.arguments}".rstrip(), one.help) for one in COMMANDS]
