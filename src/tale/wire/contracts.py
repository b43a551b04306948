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
    "KEPT_TASK",
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
    "KeptReply",
    "KeptRequest",
    "ListRequest",
    "SessionList",
    "SessionRequest",
    "SessionTurns",
    "SessionView",
    "SessionsRequest",
    "ShowRequest",
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
Effect = Literal["reads", "adds", "changes"]


class _Shape(BaseModel):
    # In a reply every field is there, and its schema says so.
    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_serialization_defaults_required=True
    )


@dataclass(frozen=True, slots=True)
class Tool(Generic[RequestT, ReplyT]):
    """One tool of one service.

    Attributes:
        service: Who serves it.
        name: Its MCP name.
        summary: When to use it and what comes back, for a model or a person that lists the tools.
        request: Shape of the arguments.
        reply: Shape of the structured result.
        idempotent: Whether calling it twice does no more than calling it once.
        title: Its name for people.
        effect: Whether a call only reads, only adds something, or may end or overwrite something.
            What only reads may be asked for elsewhere at the same time, where it is late.
        batched: Whether calls made at the same moment travel as one.
        patience: Seconds for which its server may show no sign of life, whatever the call itself
            takes, before a repeatable call is made elsewhere.
    """

    service: str
    name: str
    summary: str
    request: type[RequestT]
    reply: type[ReplyT]
    idempotent: bool = False
    title: str = ""
    effect: Effect = "adds"
    batched: bool = False
    patience: float = 0.75

    @property
    def read_only(self) -> bool:
        """Whether calling it changes nothing."""
        return self.effect == "reads"

    @property
    def repeatable(self) -> bool:
        """Whether it may be called again where it is not known how a first call ended."""
        return self.idempotent or self.read_only


class UsageView(_Shape):
    """Tokens spent."""

    prompt: int = 0
    completion: int = 0
    cached: int = Field(default=0, description="Tokens of the prompt that were computed before.")


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

    id: str = Field(description="The task's id, as `submit` and `list` give it.")


class ShowRequest(TaskRequest):
    """One task, by its id, at once or once it has ended."""

    wait: float = Field(
        default=0,
        ge=0,
        le=50,
        description="Seconds to wait for the end of a task that is not done.",
    )

    @property
    def alone(self) -> bool:
        """Whether it must not travel with others, whom it would let wait."""
        return self.wait > 0


class ListRequest(_Shape):
    """Which tasks to list, newest first."""

    state: TaskState | None = Field(
        default=None, description="Only tasks in this state; all if missing."
    )
    limit: int = Field(default=50, ge=1, le=1000, description="Most tasks to give.")


class TaskView(_Shape):
    """A task as it stands. Times are UTC; `answer` and what follows come with the result."""

    id: str
    text: str = Field(description="What was asked for.")
    state: TaskState = Field(description="The last three are final.")
    workspace: str = Field(description="Folder in which it works.")
    priority: int = 0
    session: str | None = Field(default=None, description="Conversation that it comes from.")
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    answer: str | None = Field(default=None, description="The result, in words, once it is done.")
    files: tuple[str, ...] = Field(default=(), description="Written; relative to the workspace.")
    role: RoleName | None = Field(
        default=None, description="The small model that talks, or the large one that works."
    )
    model: str | None = None
    reason: str | None = Field(default=None, description="Why that model was chosen.")
    usage: UsageView = UsageView()
    error: str | None = Field(default=None, description="Why it failed.")
    hint: str | None = Field(default=None, description="What to do about the error.")
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
    "Hand over a piece of work, which local language models do in the background: answer a "
    "question, write a text or a program. Files it makes are written into `workspace` and may "
    "replace those of the same name. Returns at once with the queued task; call `show` with its "
    "id for the result. It is kept through any crash.",
    SubmitRequest,
    TaskView,
    idempotent=True,
    title="Submit a task",
    effect="changes",
)
SHOW = Tool(
    "gateway",
    "show",
    "Show one task: its state and, once it has ended, the answer and the files it wrote, or the "
    "error. With `wait` it answers as soon as the task ends; where that takes longer, call again.",
    ShowRequest,
    TaskView,
    idempotent=True,
    title="Show a task",
    effect="reads",
    batched=True,
)
LIST = Tool(
    "gateway",
    "list",
    "List tasks, newest first, each as `show` gives it. Use it to find a task whose id you don't "
    "have, or with `state` to see what runs or waits.",
    ListRequest,
    TaskList,
    idempotent=True,
    title="List tasks",
    effect="reads",
)
CANCEL = Tool(
    "gateway",
    "cancel",
    "Stop a task for good. Files it has written stay. Returns the task as it stands now; one "
    "that had ended before is left as it was.",
    TaskRequest,
    TaskView,
    idempotent=True,
    title="Cancel a task",
    effect="changes",
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
    "Execute one step of a task in its workspace; returns its answer and the files it wrote. For "
    "the gateway: whoever has work calls `submit` there.",
    StepRequest,
    StepReply,
    idempotent=True,
    title="Run a step",
    effect="changes",
    # A step is minutes of work: a machine under load must not have it done twice.
    patience=15.0,
)

# -- ux --------------------------------------------------------------------------------------------


class ChatRequest(_Shape):
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


class ChatReply(_Shape):
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


class KeptRequest(_Shape):
    """Work that waits for the gateway, by its key."""

    key: str = Field(max_length=64)


class KeptReply(_Shape):
    """The task that came of it."""

    task: str


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
