"""Ctrl-C while a task is followed: it goes on, unless the person at the terminal says otherwise.

Above: `submit`. Below: `connection` (tools of the gateway), `follow`.
"""

from __future__ import annotations

import sys
from typing import Literal

from tale.cli.connection import Connection
from tale.cli.follow import background_hint
from tale.cli.render import Screen
from tale.cli.views import Task

__all__ = ["Wish", "leave", "read_wish"]

Wish = Literal["leave", "pause", "cancel"]

_WISHES: tuple[Wish, ...] = ("leave", "pause", "cancel")
_QUESTION = "Leave it running, pause it, or cancel it? [L/p/c] "


def read_wish(said: str) -> Wish | None:
    """Take an answer: a wish's first letters, in either case, or nothing, which leaves the task.

    Returns:
        None where it is no answer to that question.
    """
    word = said.strip().lower() or "leave"
    return next((wish for wish in _WISHES if wish.startswith(word)), None)


def leave(connection: Connection, screen: Screen, task: str) -> None:
    """Ask what is to become of a task whose follower was interrupted, and see to that.

    Where nobody can be asked, and at a second interrupt, it goes on. What it refuses (it may have
    ended meanwhile) is raised as the `TaleError` that it is.

    Args:
        connection: The daemon.
        screen: Whose standard error the question goes to.
        task: The task's id.
    """
    screen.note("")  # the terminal has shown ^C
    match _ask(screen):
        case "leave":
            background_hint(screen, task)
        case "pause":
            connection.call("gateway", "pause", {"id": task}, idempotent=True)
            screen.note(f"It is paused. `tale resume {task}` lets it go on.")
        case "cancel":
            reply = connection.call("gateway", "cancel", {"id": task}, idempotent=True)
            state = Task.read(reply).state
            screen.note("It is cancelled." if state == "cancelled" else f"It had ended: {state}.")


def _ask(screen: Screen) -> Wish:
    if not (screen.err_is_terminal and sys.stdin.isatty()):
        return "leave"
    try:
        while True:
            screen.err.write(_QUESTION)
            screen.err.flush()
            said = sys.stdin.readline()
            if not said:  # Ctrl-D
                break
            if wish := read_wish(said):
                return wish
    except KeyboardInterrupt:
        pass
    screen.note("")
    return "leave"
