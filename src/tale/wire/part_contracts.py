"""The parts of a task as they are asked for, and how far they and the task are.

Above: `contracts`, which has them in its requests and replies. Below: `tool`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tale.wire.tool import Shape

__all__ = [
    "EtaView",
    "PartView",
    "PlanningView",
    "ProgressView",
    "Size",
    "SubtaskRequest",
    "WorkKind",
]

WorkKind = Literal["code", "write", "act", "summarise", "extract", "transform"]
"""What a part is, as the router names it; `plan` is what tale itself does."""
Size = Literal["small", "medium", "large"]


class SubtaskRequest(Shape):
    """One part of a task."""

    id: str = Field(description="Names it in the plan; without spaces and dots.")
    title: str = Field(default="", description="A few words; its id if missing.")
    text: str = Field(description="What to do, in plain words.")
    depends_on: tuple[str, ...] = Field(
        default=(), description="Ids of those that come before it, whose results it is given."
    )
    kind: WorkKind | None = Field(
        default=None, description="What is asked for; judged from its text if missing."
    )
    reads: tuple[str, ...] = Field(
        default=(), description="Files that it needs; relative to the workspace."
    )
    writes: tuple[str, ...] = Field(
        default=(),
        description="Files that it will write; relative to the workspace. Two that may be done at "
        "the same time can't write the same.",
    )
    check: str = Field(
        default="",
        description="A shell line that exits with 0 where it is done well, such as `pytest -q`.",
    )
    size: Size = Field(default="medium", description="How much work it is.")
    priority: int = Field(
        default=0, ge=-100, le=100, description="Higher is sooner, among those that can begin."
    )


class EtaView(Shape):
    """Seconds until a task is done."""

    median: float
    low: float = Field(description="It will hardly be sooner.")
    high: float = Field(description="It will hardly be later; far off where little is known.")
    why: str = Field(default="", description="What the estimate rests on.")


class PartView(Shape):
    """A subtask as it stands."""

    id: str
    title: str
    state: Literal["waiting", "running", "done", "failed", "dropped"] = Field(
        description="Dropped: it turned out needless, or others took its place."
    )
    kind: str = Field(default="", description="What is asked for; `plan` plans the others.")
    depends_on: tuple[str, ...] = Field(default=(), description="Ids of those that come before it.")
    percent: int = 0
    elapsed: float = Field(default=0, description="Seconds since it began, or that it took.")
    expected: float = Field(default=0, description="Seconds that such a subtask usually takes.")
    tokens: int = 0
    holds: bool | None = Field(
        default=None, description="Whether its checks hold; missing if nothing could be checked."
    )
    check: str = Field(default="", description="What was checked, or why not, in words.")
    reads: tuple[str, ...] = Field(default=(), description="Files that it needs.")
    writes: tuple[str, ...] = Field(default=(), description="Files that it is to write.")
    acceptance: str = Field(default="", description="The shell line by which it is checked.")
    size: str = ""
    priority: int = 0


class PlanningView(Shape):
    """How a plan was made, or changed."""

    why: str = Field(
        default="",
        description="What the model thought before, or why the plan was changed. Only with "
        "`reasoning`.",
    )
    changes: tuple[str, ...] = Field(
        default=(), description="What was changed, each in a sentence with its reason."
    )
    used: tuple[str, ...] = Field(
        default=(), description="Files of the workspace that the plan rests on."
    )
    notes: tuple[str, ...] = Field(default=(), description="What its user was told meanwhile.")
    seconds: dict[str, float] = Field(
        default_factory=dict,
        description="How long each part probably takes, by id, where its user is asked.",
    )
    remembered: tuple[str, ...] = Field(
        default=(), description="What is remembered that the plan rests on, each in words."
    )


class ProgressView(Shape):
    """How far a task is, and when it will be done."""

    state: str = Field(description="The task's state; `approval` where its user is asked.")
    percent: int = Field(default=0, description="Of the work; it only goes back for a `setback`.")
    setback: str = Field(default="", description="Why it went back, the last time it did.")
    elapsed: float = Field(default=0, description="Seconds since it began, or that it took.")
    eta: EtaView | None = Field(default=None, description="Missing while it does not run.")
    speed: float | None = Field(default=None, description="Tokens a second, just now.")
    tokens: int = 0
    doing: tuple[str, ...] = Field(default=(), description="Subtasks that are being done.")
    tool: str = Field(default="", description="What the agent does beside asking the model.")
    question: str = Field(default="", description="What its user is asked.")
    parts: tuple[PartView, ...] = Field(default=(), description="Its subtasks, where it has any.")
    words: str = Field(default="", description="The same in a sentence or two.")
