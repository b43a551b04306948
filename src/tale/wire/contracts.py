"""The request and reply of the gateway's own tools.

With `execution_contracts`, `tool_contracts`, `checkpoint_contracts`, `portable_contracts` and
`chat_contracts` these are the only shapes that cross process borders over MCP. Below:
`part_contracts` (the parts of tasks, and how far they are), `tool`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import uuid4

from pydantic import Field

from tale.wire.part_contracts import (
    EtaView,
    PartView,
    PlanningView,
    ProgressView,
    SubtaskRequest,
)
from tale.wire.tool import Shape, Tool

__all__ = [
    "APPROVE",
    "CANCEL",
    "LIST",
    "PAUSE",
    "REJECT",
    "RESUME",
    "SHOW",
    "SUBMIT",
    "Approve",
    "EtaView",
    "Event",
    "ListRequest",
    "PartView",
    "Permission",
    "PlanningView",
    "ProgressView",
    "RoleName",
    "ShowRequest",
    "SubmitRequest",
    "SubtaskRequest",
    "TaskList",
    "TaskRequest",
    "TaskState",
    "TaskView",
    "UsageView",
    "VerdictRequest",
]

TaskState = Literal["queued", "running", "waiting", "paused", "done", "failed", "cancelled"]
RoleName = Literal["ux", "task"]
Permission = Literal["ask", "workspace", "full"]
Approve = Literal["auto", "always", "never"]


class UsageView(Shape):
    """Tokens spent."""

    prompt: int = 0
    completion: int = 0
    cached: int = Field(default=0, description="Tokens of the prompt that were computed before.")


# -- gateway ---------------------------------------------------------------------------------------


class SubmitRequest(Shape):
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
    subtasks: tuple[SubtaskRequest, ...] = Field(
        default=(),
        description="The parts of the work, if it has several; those that don't depend on each "
        "other are done at the same time.",
    )
    approve: Approve | None = Field(
        default=None,
        description="Whether a plan that is made for it waits for its user: `auto` where it is "
        "large, costly, or goes outside of the workspace, `always`, `never`. As the settings say "
        "if missing.",
    )
    permission: Permission | None = Field(
        default=None,
        description="What it may do by itself: `ask` nothing but reading, `workspace` all within "
        "its workspace and the sandbox, `full` everything. As the settings say if missing; give "
        "`full` only on the user's word.",
    )
    private: bool = Field(default=False, description="Whether nothing of it is remembered.")


class TaskRequest(Shape):
    """One task, by its id."""

    id: str = Field(description="The task's id, as `submit` and `list` give it.")


class VerdictRequest(TaskRequest):
    """The user's word to a task that waits for it."""

    text: str = Field(
        default="",
        max_length=200_000,
        description="The answer where the task asked something, or what it is to mind; a plan as "
        "YAML where it asked about its plan, which is worked on instead; with `reject` why not, so "
        "that it can go another way.",
    )
    digest: str = Field(
        default="",
        max_length=64,
        description="The `digest` of the plan that the user saw, where it asked about its plan: "
        "then a yes to one that has changed meanwhile is refused.",
    )
    asked: str = Field(
        default="",
        max_length=500,
        description="The `asked` of what the user saw: then a word on what was answered "
        "meanwhile is refused.",
    )


class ShowRequest(TaskRequest):
    """One task, by its id, at once or once it has ended."""

    wait: float = Field(
        default=0,
        ge=0,
        le=50,
        description="Seconds to wait until the task has ended, or waits for its user.",
    )
    reasoning: bool = Field(
        default=False,
        description="Whether `planning` has what the model thought before it planned.",
    )

    @property
    def alone(self) -> bool:
        """Whether it must not travel with others, whom it would let wait."""
        return self.wait > 0


class ListRequest(Shape):
    """Which tasks to list, newest first."""

    state: TaskState | None = Field(
        default=None, description="Only tasks in this state; all if missing."
    )
    limit: int = Field(default=50, ge=1, le=1000, description="Most tasks to give.")


class TaskView(Shape):
    """A task as it stands. Times are UTC; `answer` and what follows come with the result."""

    id: str
    text: str = Field(description="What was asked for.")
    state: TaskState = Field(description="Done, failed and cancelled are final.")
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
    permission: Permission | None = Field(
        default=None, description="What it may do by itself, where that was said of this task."
    )
    approve: Approve | None = Field(
        default=None, description="Whether its plan waits for its user, where that was said."
    )
    progress: ProgressView | None = Field(default=None, description="Only `show` gives it.")
    plan: str = Field(
        default="",
        description="The plan that its user is asked about, as YAML; `approve` takes it back, "
        "changed, as `text`. Only `show` gives it.",
    )
    detail: str = Field(
        default="", description="What would be done, where it asks that. Only `show` gives it."
    )
    digest: str = Field(default="", description="Names that plan. Only `show` gives it.")
    asked: str = Field(
        default="",
        description="Names what its user is asked; `approve` and `reject` take it back. Only "
        "`show` gives it.",
    )
    action: str = Field(
        default="",
        description="The kind of act that its user is asked about: `ApprovePlan`, `RunCommand` …; "
        "`AskUser` where words are the answer. Only `show` gives it.",
    )
    planning: tuple[PlanningView, ...] = Field(
        default=(),
        description="How its plan was made, and how it was changed since, oldest first; the last "
        "is that of the plan that its user is asked about, if they are. Only `show` gives it.",
    )
    holds: bool | None = Field(
        default=None,
        description="Whether the checks of the result hold; missing if nothing could be checked. "
        "Only `show` gives it.",
    )
    check: str = Field(
        default="", description="What was checked, or why not, in words. Only `show` gives it."
    )


class TaskList(Shape):
    """Tasks, newest first."""

    tasks: tuple[TaskView, ...]


class Event(Shape):
    """Something that happened to a task. `seq` counts from 1 without gaps within the task.

    Kinds and their `data`: `queued` {subtasks, forked: {task, number}}, `started` {role, reason,
    again}, `paused` {}, `resumed` {why}, `imported` {from, exported, tale} (it came, paused, from
    another machine), `plan` {subtasks: [{id, title, kind, depends_on, reads, writes, check, size,
    priority, state}], why, changes, used, notes, remembered} (the whole plan, now and at each
    change, which `changes` tells in sentences; it rests on the files in `used` and on what is in
    `remembered`; `state` is that of what is done, failed or, if dropped, cancelled; the subtasks of
    `queued` are such, too), `subtask` {id, title, state} (a part begins or, with `files`, `holds`
    and `check`, is done or, with `why`, has failed), `acting` {action, what} (what is done now),
    `approval` {id, text, action, detail, digest} (it waits for its user; with `digest` it is about
    the plan in `detail`, and has its why, changes, used, notes, remembered, and `seconds` of parts
    by id), `approved` and `rejected` {id, text}, `token` {text} (not stored; its `seq` is that of
    the last event that is), `file` {path, bytes}, `note` {text}, `checkpoint` {number, why,
    changed} (the workspace as it was then can be restored), `restoring` and then `restored`
    {number, saved, subtasks} (the workspace is brought back to a checkpoint, what it was is
    another; what is unfinished, and those subtasks, begin anew; both may follow the final event),
    and the final `done` {answer, model, role, files, holds, check}, `failed` {error, hint},
    `cancelled` {}. What happens in a part carries its id as `subtask`. Who asks for it gets
    `progress` with the fields of `ProgressView`, about once a second; it is not stored either.
    """

    task: str
    seq: int
    at: datetime
    kind: str
    data: dict[str, object] = Field(default_factory=dict)


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
    "error. With `wait` it answers as soon as the task ends, and meanwhile has the client ask its "
    "user what the task asks, where it can; where that takes longer, call again.",
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
PAUSE = Tool(
    "gateway",
    "pause",
    "Let a task rest until `resume`. What it has done stays done; the model call under way is "
    "stopped. Returns the task as it stands now.",
    TaskRequest,
    TaskView,
    idempotent=True,
    title="Pause a task",
    effect="changes",
)
RESUME = Tool(
    "gateway",
    "resume",
    "Let a paused task go on where it was. Returns the task as it stands now; one that was not "
    "paused is left as it is.",
    TaskRequest,
    TaskView,
    idempotent=True,
    title="Resume a task",
    effect="adds",
)

APPROVE = Tool(
    "gateway",
    "approve",
    "Tell a task whose state is `waiting` that it may do what it asks for in `progress.question`, "
    "or with `text` answer its question. Only do so on its user's word. Returns the task as it "
    "stands now; it goes on.",
    VerdictRequest,
    TaskView,
    title="Approve what a task asks for",
    effect="changes",
)
REJECT = Tool(
    "gateway",
    "reject",
    "Tell a task whose state is `waiting` that it may not do what it asks for in "
    "`progress.question`; `text` says why. It goes on and looks for another way.",
    VerdictRequest,
    TaskView,
    title="Reject what a task asks for",
    effect="adds",
)
