"""What a request is to tale: talk or work, and whether a plan is made of it first. Pure.

At once, and no model is asked: what becomes of a request is said here alone, to whoever submits it
and to whoever only wants to know. Above: `servers.gateway`, `tale route`. Below: `tasks.extent`,
`models.assess`.
"""

from __future__ import annotations

from typing import Final, cast

from tale.models.assess import assess
from tale.tasks.extent import extent_of
from tale.tasks.task import Judgement, WorkKind

__all__ = ["judge", "kind_of", "work_kind"]

_PLANNED: Final = "it is large, so it is planned first"


def judge(text: str) -> Judgement:
    """Say which model a text is for, whether it is work, and whether that needs a plan."""
    found = assess(text)
    if not found.work:
        return Judgement("ux", "talk", found.reason)
    extent = extent_of(text, found)
    reason = f"{_PLANNED}: {extent.reason}" if extent.large else found.reason
    return Judgement("task", "work", reason, planned=extent.large)


def kind_of(text: str) -> str:
    """Say what kind of work a text asks for: like kinds take about as long."""
    return assess(text).kind


def work_kind(text: str) -> WorkKind:
    """Say what kind of work a part of a plan is, that of which nobody said it."""
    kind = assess(text).kind
    # Nothing of a plan is talk, and only tale plans: it is something to be put down in words.
    return "write" if kind in {"talk", "question", "plan"} else cast("WorkKind", kind)
