"""The request and reply of every tool of the ux server: conversations. Beside: `contracts`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from tale.wire.contracts import RoleName, UsageView
from tale.wire.tool import Shape, Tool

__all__ = [
    "CHAT",
    "CONTEXT",
    "KEPT_TASK",
    "SESSION",
    "SESSIONS",
    "ChatReply",
    "ChatRequest",
    "ContextReply",
    "ContextRequest",
    "KeptReply",
    "KeptRequest",
    "LeftOutView",
    "PartView",
    "RecalledView",
    "SessionList",
    "SessionRequest",
    "SessionTurns",
    "SessionView",
    "SessionsRequest",
    "TurnView",
]


class ChatRequest(Shape):
    """One turn of the user's.

    Progress notifications carry `{"session": id}` first, `{"task": id}` where the turn was handed
    over as work, `{"kept": key}` where it is work that waits for the gateway, `{"note": text}`
    where the answer is held up, and `{"token": text}` as it comes.
    """

    text: str
    session: str | None = Field(
        default=None, description="Conversation to continue; a new one if missing."
    )
    workspace: str | None = Field(
        default=None, description="Where work that comes out of it is done."
    )
    private: bool = Field(
        default=False,
        description="Keep nothing of it; a new private conversation, or the private `session`.",
    )


class RecalledView(Shape):
    """Something that was said elsewhere, or noted, and stood beside the question."""

    session: str = Field(description="Of a note that came from no turn its id, and `seq` is 0.")
    seq: int
    text: str
    score: float


class ChatReply(Shape):
    """The whole answer.

    `task` is set where the turn was handed over as work, `kept` where it is work that waits for the
    gateway: a key by which `kept_task` tells the task that comes of it.
    """

    session: str
    answer: str
    model: str
    role: RoleName
    task: str | None = None
    kept: str | None = None
    usage: UsageView = UsageView()
    reason: str = Field(default="", description="Why that model was asked, or why none was.")
    recalled: tuple[RecalledView, ...] = ()


class KeptRequest(Shape):
    """Work that waits for the gateway, by its key."""

    key: str = Field(max_length=64)


class KeptReply(Shape):
    """The task that came of it."""

    task: str


class SessionsRequest(Shape):
    """How many conversations to list, the last used first."""

    limit: int = Field(default=50, ge=1, le=1000)


class SessionView(Shape):
    """A conversation; `title` is the beginning of its first turn."""

    id: str
    title: str
    turns: int
    created: datetime
    updated: datetime


class SessionList(Shape):
    """Conversations, the last used first."""

    sessions: tuple[SessionView, ...]


class SessionRequest(Shape):
    """One conversation, by its id."""

    id: str
    limit: int = Field(default=100, ge=1, le=10_000, description="Last turns to give.")


class TurnView(Shape):
    """One turn; `model`, `task` and `interrupted` are about turns of tale's."""

    seq: int
    speaker: Literal["user", "assistant"]
    text: str
    at: datetime
    model: str | None = None
    task: str | None = None
    interrupted: bool = Field(
        default=False, description="The text stops where its reader or its model went away."
    )


class SessionTurns(Shape):
    """The last turns of a conversation, oldest first."""

    session: SessionView
    turns: tuple[TurnView, ...]


class ContextRequest(Shape):
    """Whose window to show."""

    session: str | None = Field(
        default=None, max_length=32, description="Conversation; the last used one if missing."
    )
    model: RoleName = Field(
        default="ux", description="The model that it would be sent to, whose tokenizer counts."
    )


class PartView(Shape):
    """A part of a window; `count` is how many turns it is made of."""

    name: Literal["system", "facts", "summary", "turns", "recalled", "request"]
    tokens: int = Field(description="As that model counts, with what its chat template adds.")
    cached: bool = Field(
        description="It was there at the last answer, so that the prefix cache has it."
    )
    count: int
    text: str = Field(description="As it is sent.")


class LeftOutView(Shape):
    """What a window does not have of its conversation."""

    turns: int = Field(description="Turns before the one that it begins with.")
    summed_up: bool = Field(description="Whether the summary tells of all of them.")
    shortened: tuple[int, ...] = Field(
        default=(), description="Numbers of the turns in it whose middle is left out."
    )


class ContextReply(Shape):
    """A window as it would be sent now, in its order; the next request would come last."""

    session: str
    model: RoleName
    tokens: int
    budget: int = Field(description="Tokens that it may have.")
    begins: int = Field(description="Number of the turn that it begins with.")
    parts: tuple[PartView, ...]
    left_out: LeftOutView


CHAT = Tool(
    "ux",
    "chat",
    "Say something and get the small model's answer, token by token as progress and whole in the "
    "end. What turns out to be work is submitted as a task, whose id comes back. Give the "
    "`session` of the last answer to go on with its conversation.",
    ChatRequest,
    ChatReply,
    title="Chat",
    effect="changes",
)
KEPT_TASK = Tool(
    "ux",
    "kept_task",
    "Wait until work that was kept, while tasks could not be taken, has become a task; gives its "
    "id. Use it after a chat answer that says so.",
    KeptRequest,
    KeptReply,
    idempotent=True,
    title="Wait for kept work",
    effect="reads",
)
SESSIONS = Tool(
    "ux",
    "sessions",
    "List conversations, the last used first: id, title and length of each.",
    SessionsRequest,
    SessionList,
    idempotent=True,
    title="List conversations",
    effect="reads",
)
SESSION = Tool(
    "ux",
    "session",
    "Show the last turns of a conversation, oldest first.",
    SessionRequest,
    SessionTurns,
    idempotent=True,
    title="Show a conversation",
    effect="reads",
)
CONTEXT = Tool(
    "ux",
    "context",
    "Show what a model would be sent of a conversation now: each part with its tokens, what of it "
    "the prefix cache has, and what is left out.",
    ContextRequest,
    ContextReply,
    idempotent=True,
    title="Show what is sent",
    effect="reads",
)
