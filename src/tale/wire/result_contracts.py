"""The request and reply of the gateway's tool that tells what came of tasks. Beside: `contracts`.

Only tale's own processes call it: who remembers results follows them here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from tale.wire.tool import Shape, Tool

__all__ = ["RESULTS", "ResultList", "ResultView", "ResultsRequest", "VerdictView"]


class ResultsRequest(Shape):
    """Which results."""

    after: int = Field(default=0, ge=0, description="Number of the last that is known.")
    limit: int = Field(default=50, ge=1, le=200)
    wait: float = Field(
        default=0, ge=0, le=50, description="Seconds to wait for one, where there is none yet."
    )


class VerdictView(Shape):
    """What a task's user was asked, and what they said."""

    plan: bool = Field(description="It was about its plan.")
    asked: str = ""
    yes: bool
    said: str = ""


class ResultView(Shape):
    """A task that has ended; `number` counts those that have."""

    number: int
    task: str
    key: str | None = Field(default=None, description="Names its submission.")
    session: str | None = None
    text: str
    state: Literal["done", "failed", "cancelled"]
    finished: datetime
    answer: str = ""
    files: tuple[str, ...] = ()
    error: str = ""
    parts: tuple[str, ...] = Field(default=(), description="Titles of what was done of its plan.")
    verdicts: tuple[VerdictView, ...] = ()


class ResultList(Shape):
    """Results, in the order in which they came; those of private tasks are left out."""

    results: tuple[ResultView, ...]
    through: int = Field(description="Number of the last that was looked at.")


RESULTS = Tool(
    "gateway",
    "results",
    "Tell what came of the tasks that ended after the one of a number; with `wait`, as soon as one "
    "has.",
    ResultsRequest,
    ResultList,
    idempotent=True,
    title="Results of tasks",
    effect="reads",
    listed=False,
)
