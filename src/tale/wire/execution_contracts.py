"""The request and reply of what the gateway asks of execution servers: `ask` and `act`.

Above: `servers.execution`, which does it, and `servers.steps`. Below: `contracts`, `tool`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tale.wire.contracts import RoleName
from tale.wire.tool import Shape, Tool

__all__ = ["ACT", "ASK", "ActReply", "ActRequest", "AskReply", "AskRequest", "WorkRequest"]


class WorkRequest(Shape):
    """What is to be done for a step of a task: who asks, and whether it is talk or work."""

    task: str
    subtask: str | None = None
    workspace: str
    role: RoleName
    kind: Literal["talk", "work"] = "work"
    session: str | None = None
    anywhere: bool = Field(
        default=False, description="Outside of the workspace too: the user agreed to it."
    )


class AskRequest(WorkRequest):
    """One question to a model; `question` is as `tasks.hands_json` writes it."""

    question: dict[str, object]


class AskReply(Shape):
    """What the model answered."""

    reply: dict[str, object]


class ActRequest(WorkRequest):
    """One action in the step's workspace; `action` is as `tasks.hands_json` writes it."""

    action: dict[str, object]


class ActReply(Shape):
    """What came of it."""

    outcome: dict[str, object]


ASK = Tool(
    "execution",
    "ask",
    "Ask a model one question for a step of a task; its answer is told as it comes. For the "
    "gateway: whoever has work calls `submit` there.",
    AskRequest,
    AskReply,
    idempotent=True,
    title="Ask a model",
    effect="adds",
    # An answer is minutes of work: a machine under load must not have it made twice.
    patience=15.0,
)
ACT = Tool(
    "execution",
    "act",
    "Do one thing in a task's workspace: read or write a file, run a command. For the gateway: "
    "whoever has work calls `submit` there.",
    ActRequest,
    ActReply,
    title="Act in a workspace",
    effect="changes",
    patience=15.0,
)
