"""What passes between a conversation and those around it: work, events, answers.

Values only. Above: `conversation`, which makes them, and `servers.ux`, which puts them on the wire.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tale.memory.recall import Recalled
from tale.models.backend import Role, Usage

__all__ = [
    "Answer",
    "Event",
    "HandedOver",
    "Heard",
    "HeldUp",
    "Kept",
    "Report",
    "Said",
    "Standing",
    "TaskGateway",
    "TaskTaker",
    "Work",
]


@dataclass(frozen=True, slots=True)
class Work:
    """What is handed over.

    Attributes:
        text: What is to be done; behind it, what it refers to (`referring.with_context`).
        workspace: The folder in which; None leaves it to the gateway.
        session: The conversation in which it came up; empty where nobody is to know.
        key: Tells the turn; handed over twice, it is one task.
        private: Whether nothing of it is to be remembered.
    """

    text: str
    workspace: str | None
    session: str
    key: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How a task stands.

    Attributes:
        text: What it is to do.
        state: As `tasks.task.State` has it.
        words: What is known of how far it is: "is being worked on: 40 % are done."
        ended: When it came to its end; None while it has not.
        answer: Its result in words, once it is done.
        files: What it wrote.
    """

    task: str
    text: str
    state: str
    words: str
    ended: datetime | None = None
    answer: str = ""
    files: tuple[str, ...] = ()


class TaskTaker(Protocol):
    """Who takes work."""

    async def submit(self, work: Work) -> str:
        """Record a task and give its id; raises `tale.errors.TaleError`s."""
        ...


class TaskGateway(TaskTaker, Protocol):
    """Who takes work, and knows what became of it."""

    async def stands(self, task: str) -> Standing:
        """Say how a task stands; raises `tale.errors.TaleError`s."""
        ...


@dataclass(frozen=True, slots=True)
class Heard:
    """What the user said is recorded, in this conversation."""

    session: str


@dataclass(frozen=True, slots=True)
class Said:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The work is recorded as this task."""

    task: str


@dataclass(frozen=True, slots=True)
class Kept:
    """The work is kept until the gateway is back; `key` is that of the work."""

    key: str


@dataclass(frozen=True, slots=True)
class HeldUp:
    """The answer is held up, for a reason that the user is told."""

    why: str


Event = Heard | Said | HandedOver | Kept | HeldUp
Report = Callable[[Event], Awaitable[None]]
"""Told what happens while a turn is answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A turn as it was answered.

    Attributes:
        session: The conversation.
        text: What was said.
        model: The real name of who said it; empty where no model did.
        role: Its role.
        task: The task that came of it.
        usage: Tokens.
        kept: Key of the work that waits for the gateway to become a task.
        reason: Why that model was asked, or none.
        recalled: What was recalled of other conversations for it.
    """

    session: str
    text: str
    model: str
    role: Role
    task: str | None
    usage: Usage
    kept: str | None = None
    reason: str = ""
    recalled: tuple[Recalled, ...] = ()
