"""The request and reply of the gateway's tools for checkpoints.

Above: `servers.checkpoints` and the command line. Beside: `contracts`. Below: `tool`.
"""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from pydantic import Field

from tale.wire.contracts import TaskRequest, TaskView
from tale.wire.tool import Shape, Tool

__all__ = [
    "CHECKPOINTS",
    "FORK",
    "PIN",
    "RESTORE",
    "UNPIN",
    "CheckpointList",
    "CheckpointRequest",
    "CheckpointView",
    "ForkRequest",
    "LeftOutView",
    "RestoreReply",
]


class CheckpointRequest(TaskRequest):
    """One checkpoint of a task."""

    number: int = Field(
        ge=1, lt=1 << 31, description="The checkpoint's number, as `checkpoints` gives it."
    )


class LeftOutView(Shape):
    """Something of the workspace that is not as a checkpoint would have it."""

    path: str = Field(description="Relative to the workspace.")
    why: str


class CheckpointView(Shape):
    """A state of a task's workspace that can be restored."""

    number: int = Field(description="Counts the task's checkpoints from 1.")
    id: str = Field(description="Its commit in tale's own git repository of checkpoints.")
    at: datetime
    why: str = Field(description="After what it was taken, in words.")
    files: int = Field(description="Files that it holds.")
    size: int = Field(description="Their bytes.")
    stored: int = Field(description="Bytes that it added to the repository, compressed.")
    changes: int = Field(description="Files that differ from the checkpoint before.")
    changed: tuple[str, ...] = Field(description="The first 100 of them.")
    pinned: bool = Field(description="It is never thinned out.")
    omissions: int = Field(description="Things in the workspace that it does not hold.")
    left_out: tuple[LeftOutView, ...] = Field(description="The first 100 of them.")


class CheckpointList(Shape):
    """A task's checkpoints, oldest first."""

    task: str
    checkpoints: tuple[CheckpointView, ...]


class RestoreReply(Shape):
    """A task whose workspace was restored."""

    task: TaskView
    number: int = Field(description="The checkpoint that the workspace holds now.")
    saved: int | None = Field(
        description="The checkpoint that holds what it held before; missing if it wasn't there."
    )
    written: int = Field(description="Files that were written.")
    removed: int = Field(description="Files that were removed.")
    kept: tuple[LeftOutView, ...] = Field(description="What could not be made as it was, and why.")
    again: tuple[str, ...] = Field(description="Subtasks that are to be done again.")
    anew: bool = Field(description="The task has not ended; it begins anew when it is resumed.")


class ForkRequest(CheckpointRequest):
    """A new task that begins with a checkpoint's files."""

    text: str | None = Field(
        default=None, description="What to do; the same as the other task if missing."
    )
    workspace: str | None = Field(
        default=None, description="New or empty folder for the files; one is made if missing."
    )
    key: str = Field(
        default_factory=lambda: uuid4().hex,
        max_length=64,
        description="Names this fork: the same key again gives the same task.",
    )


CHECKPOINTS = Tool(
    "gateway",
    "checkpoints",
    "List the checkpoints of a task, oldest first: states of its workspace that are saved while it "
    "works. `restore` brings one back, `fork` begins a new task with one. Each says after what it "
    "was taken, what changed, and what of the workspace it does not hold.",
    TaskRequest,
    CheckpointList,
    idempotent=True,
    title="List checkpoints",
    effect="reads",
)
PIN = Tool(
    "gateway",
    "pin",
    "Keep a checkpoint until it is unpinned; others are thinned out as they age. Returns it.",
    CheckpointRequest,
    CheckpointView,
    idempotent=True,
    title="Pin a checkpoint",
    effect="adds",
)
UNPIN = Tool(
    "gateway",
    "unpin",
    "Let a pinned checkpoint be thinned out like the others as it ages. Returns it.",
    CheckpointRequest,
    CheckpointView,
    idempotent=True,
    title="Unpin a checkpoint",
    effect="changes",
)
RESTORE = Tool(
    "gateway",
    "restore",
    "Bring a task's workspace back to a checkpoint. What it holds now is saved as a checkpoint "
    "first, whose number is in `saved`. A task that is queued or runs is refused: `pause` it. One "
    "that has not ended begins anew with these files when it is resumed; subtasks whose work the "
    "checkpoint holds stay done.",
    CheckpointRequest,
    RestoreReply,
    idempotent=True,
    title="Restore a checkpoint",
    effect="changes",
)
FORK = Tool(
    "gateway",
    "fork",
    "Begin a new task with the files of a task's checkpoint, in a folder of its own; the other "
    "task is left as it is. It is asked for the same, from its beginning, or for `text`. Returns "
    "at once with the queued task, as `submit` does.",
    ForkRequest,
    TaskView,
    idempotent=True,
    title="Fork a task",
    effect="adds",
)
