"""The request and reply of every tool: the only shapes that cross process borders over MCP.

A `Tool` ties a name to its shapes and says whether repeating it is harmless, which decides what may
be retried. Servers register handlers for tools; callers hand a tool and a request to the pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "CANCEL",
    "CHAT",
    "DEADLINE_META",
    "LIST",
    "MANY",
    "RUN_STEP",
    "SESSION",
    "SESSIONS",
    "SHOW",
    "SUBMIT",
    "ChatReply",
    "ChatRequest",
    "Event",
    "ListRequest",
    "SessionList",
    "SessionRequest",
    "SessionTurns",
    "SessionView",
    "SessionsRequest",
    "StepReply",
    "StepRequest",
    "SubmitRequest",
    "TaskList",
    "TaskRequest",
    "TaskState",
    "TaskView",
    "Tool",
    "TurnView",
    "UsageView",
]

DEADLINE_META: Final = "tale/deadline"
"""Key of a request's `_meta` under which a caller says how many seconds it still has; relative, as
two clocks may differ (gRPC's `grpc-timeout`)."""
MANY: Final = "_many"
"""What the batched form of a tool is called: the tool's name and this."""

RequestT = TypeVar("RequestT", bound=BaseModel)
ReplyT = TypeVar("ReplyT", bound=BaseModel)

TaskState = Literal["queued", "running", "done", "failed", "cancelled"]
RoleName = Literal["ux", "task"]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Tool(Generic[RequestT, ReplyT]):
    """One tool of one service.

    Attributes:
        service: Who serves it.
        name: Its MCP name.
        summary: One sentence for whoever lists the tools.
        request: Shape of the arguments.
        reply: Shape of the structured result.
        idempotent: Whether calling it twice does no more than calling it once.
        read_only: Whether calling it changes nothing, so that a late answer may be asked for
            elsewhere at the same time.
        batched: Whether calls made at the same moment travel as one.
        patience: Seconds for which its server may show no sign of life, whatever the call itself
            takes, before an idempotent call is made elsewhere.
    """

    service: str
    name: str
    summary: str
    request: type[RequestT]
    reply: type[ReplyT]
    idempotent: bool = False
    read_only: bool = False
    batched: bool = False
    patience: float = 0.75

    @property
    def repeatable(self) -> bool:
        """Whether it may be called again where it is not known how a first call ended."""
        return self.idempotent or self.read_only


class UsageView(_Shape):
    """Tokens spent."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0


# -- gateway ---------------------------------------------------------------------------------------


class SubmitRequest(_Shape):
    """A piece of work."""

    text: str = Field(description="What to do, in plain words.")
    workspace: str | None = Field(
        default=None, description="Folder in which files are written; a new one is made if missing."
    )
    priority: int = Field(default=0, ge=-100, le=100, description="Higher is sooner.")
    session: str | None = Field(
        default=None, max_length=32, description="Conversation that the task comes from."
    )
    key: str = Field(
        default_factory=lambda: uuid4().hex,
        max_length=64,
        description="Names this submission: the same key again gives the same task.",
    )


class TaskRequest(_Shape):
    """One task, by its id."""

    id: str


class ListRequest(_Shape):
    """Which tasks to list, newest first."""

    state: TaskState | None = None
    limit: int = Field(default=50, ge=1, le=1000)


class TaskView(_Shape):
    """A task as it stands. Times are UTC; `answer` and what follows come with the result."""

    id: str
    text: str
    state: TaskState
    workspace: str
    priority: int = 0
    session: str | None = None
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    answer: str | None = None
    files: tuple[str, ...] = ()
    role: RoleName | None = None
    model: str | None = None
    reason: str | None = None
    usage: UsageView = UsageView()
    error: str | None = None
    hint: str | None = None
    last_event: int = 0


class TaskList(_Shape):
    """Tasks, newest first."""

    tasks: tuple[TaskView, ...]


class Event(_Shape):
    """Something that happened to a task. `seq` counts from 1 without gaps within the task.

    Kinds and their `data`: `queued` {}, `started` {role, reason}, `resumed` {why} (what was told
    since `started` is told again), `token` {text} (not stored; its `seq` is that of the last event
    that is), `file` {path, bytes}, `note` {text}, and the final `done` {answer, model, role,
    files}, `failed` {error, hint}, `cancelled` {}.
    """

    task: str
    seq: int
    at: datetime
    kind: str
    data: dict[str, object] = {}


SUBMIT = Tool(
    "gateway",
    "submit",
    "Record a piece of work and start it in the background.",
    SubmitRequest,
    TaskView,
    idempotent=True,
)
SHOW = Tool(
    "gateway",
    "show",
    "Show one task: state, answer, files.",
    TaskRequest,
    TaskView,
    read_only=True,
    batched=True,
)
LIST = Tool("gateway", "list", "List tasks, newest first.", ListRequest, TaskList, read_only=True)
CANCEL = Tool(
    "gateway",
    "cancel",
    "Cancel a task that has not ended.",
    TaskRequest,
    TaskView,
    idempotent=True,
)

# -- execution -------------------------------------------------------------------------------------


class StepRequest(_Shape):
    """One step of a task, to be executed in its workspace."""

    task: str
    text: str
    workspace: str
    role: RoleName
    kind: Literal["talk", "work"] = "work"


class StepReply(_Shape):
    """What a step gave. `files` are paths relative to the workspace."""

    answer: str
    model: str
    role: RoleName
    files: tuple[str, ...] = ()
    usage: UsageView = UsageView()


RUN_STEP = Tool(
    "execution",
    "run_step",
    "Execute one step of a task in its workspace.",
    StepRequest,
    StepReply,
    idempotent=True,
    # A step is minutes of work: a machine under load must not have it done twice.
    patience=15.0,
)

# -- ux --------------------------------------------------------------------------------------------


class ChatRequest(_Shape):
    """One turn of the user's.

    Progress notifications carry `{"session": id}` first, `{"task": id}` where the turn was handed
    over as work, and `{"token": text}` as the answer comes.
    """

    text: str
    session: str | None = Field(
        default=None, description="Conversation to continue; a new one if missing."
    )
    workspace: str | None = Field(
        default=None, description="Where work that comes out of it is done."
    )


class ChatReply(_Shape):
    """The whole answer. `task` is set where the turn was handed over as work."""

    session: str
    answer: str
    model: str
    role: RoleName
    task: str | None = None
    usage: UsageView = UsageView()


class SessionsRequest(_Shape):
    """How many conversations to list, the last used first."""

    limit: int = Field(default=50, ge=1, le=1000)


class SessionView(_Shape):
    """A conversation; `title` is the beginning of its first turn."""

    id: str
    title: str
    turns: int
    created: datetime
    updated: datetime


class SessionList(_Shape):
    """Conversations, the last used first."""

    sessions: tuple[SessionView, ...]


class SessionRequest(_Shape):
    """One conversation, by its id."""

    id: str
    limit: int = Field(default=100, ge=1, le=10_000, description="Last turns to give.")


class TurnView(_Shape):
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


class SessionTurns(_Shape):
    """The last turns of a conversation, oldest first."""

    session: SessionView
    turns: tuple[TurnView, ...]


CHAT = Tool("ux", "chat", "Say something and stream the answer.", ChatRequest, ChatReply)
SESSIONS = Tool(
    "ux", "sessions", "List conversations.", SessionsRequest, SessionList, read_only=True
)
SESSION = Tool(
    "ux",
    "session",
    "Show the turns of a conversation.",
    SessionRequest,
    SessionTurns,
    read_only=True,
)
