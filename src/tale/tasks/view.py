"""What a task's events add up to: its state, its subtasks, what is done just now, how fast. Pure.

A fold: the view after an event depends on the view before it and on the event alone, so that a
reader who begins late, and a gateway that was killed, come to the same. Kinds that it doesn't know
change nothing. Above: `outlook`, which adds how long it will take. Below: `task`.

Beside the events of every task these are understood:

    plan       {subtasks: [{id, title, kind, model, depends_on, reads, writes, check, size,
               priority, state}], why, changes, used, notes, remembered} the plan, or a new one;
               `queued` may have one too. It has the state of what has ended alone; who is not in
               it any more is gone
    subtask    {id, title, state, model, why, holds, check}              its state changed: queued,
               running, done, failed, cancelled
    acting     {action, what, subtask}                                   the agent does something
    approval   {id, text, detail, digest, why, changes, used, notes, seconds, remembered}
                                                                         it waits for the user
    approved, rejected, paused                                           what the user said
    restoring  {number, subtasks}                                        its files go back to that
               checkpoint; what is unfinished, and those subtasks, begin anew

A task without a plan has one subtask, which is itself. Subtasks of the kind `plan` plan the others:
they are shown, and are no part of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, cast

from tale.tasks.plan_facts import PlanFacts, read_facts
from tale.tasks.task import ENDED, Task, TaskEvent
from tale.tasks.view_part import STATES, WHOLE, Part, PartState, listed_part, text, texts, truth

__all__ = ["WHOLE", "Finished", "Part", "PartState", "Rate", "View", "fold", "replay"]

_WINDOW: Final = 2.0
"""Seconds over which tokens are counted for a rate."""
_TOOL_TEXT: Final = 200
"""Characters kept of what a tool is told."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens a second: counted since `since`, and over the window before."""

    since: datetime | None = None
    count: int = 0
    last: float | None = None

    def take(self, at: datetime) -> Rate:
        """Count a token."""
        if self.since is None:
            return Rate(at, 0, self.last)
        seconds = (at - self.since).total_seconds()
        if not 0 <= seconds <= 3 * _WINDOW:  # a pause between two calls, or a clock that jumped
            return Rate(at, 0, self.last)
        if seconds >= _WINDOW:
            return Rate(at, 0, (self.count + 1) / seconds)
        return Rate(self.since, self.count + 1, self.last)


@dataclass(frozen=True, slots=True)
class View:
    """A task as its events tell it.

    Attributes:
        state: As `task.State`, or `approval` and `paused`, in which it waits for the user.
        role: Which model works, the small or the large one.
        tool: What the agent does now beside asking the model; empty where it does not.
        note: What the user was told last.
        question: What the user is asked.
        detail: What would be done, as far as it is shown; of a plan, all of it.
        plan: The plan that they are asked about, as `plan_text` writes it; empty where it is none.
        digest: Names that plan.
        asked: Names the question.
        action: The kind of act that it is about; `AskUser` where words are its answer.
        proposed: What is known of the plan that is asked about.
        facts: What is known of how the plan was made, and of each change of it, oldest first.
        error: Why it failed.
        began: When work began, for the first time.
        setback: Why work was undone or planned anew, the last time.
        setbacks: How often.
        seq: Number of the last stored event.
    """

    task: str = ""
    state: str = "queued"
    role: str = ""
    model: str = ""
    parts: tuple[Part, ...] = ()
    tool: str = ""
    note: str = ""
    question: str = ""
    detail: str = ""
    plan: str = ""
    digest: str = ""
    asked: str = ""
    action: str = ""
    proposed: PlanFacts | None = None
    facts: tuple[PlanFacts, ...] = ()
    error: str = ""
    files: tuple[str, ...] = ()
    created: datetime | None = None
    began: datetime | None = None
    ended: datetime | None = None
    last: datetime | None = None
    rate: Rate = Rate()
    setback: str = ""
    setbacks: int = 0
    seq: int = 0

    @property
    def tokens(self) -> int:
        """Pieces of text that came so far."""
        return sum(part.tokens for part in self.parts)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens."""
        return self.state in ENDED

    @property
    def current(self) -> tuple[Part, ...]:
        """The subtasks that are being done."""
        return tuple(part for part in self.parts if part.state == "running")


@dataclass(frozen=True, slots=True)
class Finished:
    """A task that was done, with the events that tell how long its parts took."""

    task: Task
    events: Sequence[TaskEvent]


def replay(events: Sequence[TaskEvent], view: View | None = None) -> View:
    """Fold several events."""
    view = view or View()
    for event in events:
        view = fold(view, event)
    return view


def fold(view: View, event: TaskEvent) -> View:
    """Give the view after an event; one that was taken already changes nothing."""
    if event.kind == "token":
        return _token(view, event)
    if event.seq <= view.seq:
        return view
    take = _TAKES.get(event.kind)
    view = take(view, event) if take else view
    return replace(view, task=event.task, seq=event.seq, last=event.at)


def _queued(view: View, event: TaskEvent) -> View:
    return _planned(replace(view, created=view.created or event.at), event)


def _token(view: View, event: TaskEvent) -> View:
    # Without the name of one, the text is that of whatever runs.
    wanted = text(event.data, "subtask")
    target = wanted or next((part.id for part in view.current), None)
    parts = tuple(
        replace(part, tokens=part.tokens + 1) if part.id == target else part for part in view.parts
    )
    return replace(view, parts=parts, tool="", last=event.at, rate=view.rate.take(event.at))


def _started(view: View, event: TaskEvent) -> View:
    """Begin, or go on; a task without a plan is one subtask that runs."""
    role, began = text(event.data, "role"), view.began or event.at
    view = replace(view, state="running", role=role, began=began)
    if view.parts and view.parts[0].id != WHOLE:
        return view
    before = next((part for part in view.parts if part.state == "running"), Part(WHOLE))
    whole = replace(before, model=role, state="running", began=event.at, ended=None)
    return replace(view, parts=(whole,), tool="")


def _resumed(view: View, event: TaskEvent) -> View:
    """Let what ran go on; how long it took until a crash is known by the last that came of it."""
    if view.began is None:  # it waited, or was paused before it began, and waits on
        return replace(view, state="queued")
    why = text(event.data, "why") or "it was begun again"
    setbacks = view.setbacks + 1
    if view.state == "paused":  # the user's own wish is no setback
        why, setbacks = view.setback, view.setbacks
    held = _held(view, view.last or event.at)
    return replace(_going_on(held, event.at), setback=why, setbacks=setbacks)


def _planned(view: View, event: TaskEvent) -> View:
    """Take a plan; subtasks that were there before keep what is known of them."""
    before = {part.id: part for part in view.parts if part.id != WHOLE}
    listed = event.data.get("subtasks")
    parts = tuple(
        listed_part(cast("Mapping[str, object]", row), before, event.at)
        for row in (cast("list[object]", listed) if isinstance(listed, list) else [])
        if isinstance(row, Mapping)
    )
    if not parts:
        return view
    facts = (*view.facts, read_facts(event.data)) if event.kind == "plan" else view.facts
    view = replace(view, parts=parts, tool="", facts=facts)
    # Only where there is more to do than there was, less of it is done now.
    work = {part.id for part in before.values() if part.is_work}
    if not work or work.issuperset(part.id for part in parts if part.is_work):
        return view
    why = text(event.data, "why") or "the plan was changed"
    return replace(view, setback=why, setbacks=view.setbacks + 1)


def _changed(view: View, event: TaskEvent) -> View:
    data = event.data
    name, said = text(data, "id"), text(data, "state")
    state = STATES.get(said)
    if state is None or not name:
        return view
    before = next((part for part in view.parts if part.id == name), None)
    if before is None:  # nobody told the plan, so it grows as it is worked on
        before = Part(name, text(data, "title"))
        known = tuple(part for part in view.parts if part.id != WHOLE)
        view = replace(view, parts=(*known, before))
    goes_on = before.state == state == "running"
    again = state in {"waiting", "running"} and not goes_on
    after = replace(
        before,
        state=state,
        model=text(data, "model") or before.model,
        spent=0.0 if again else before.spent,
        began=event.at if state == "running" else before.began,
        ended=None if again or goes_on else event.at,
        tokens=0 if again else before.tokens,
        holds=truth(data, "holds"),
        check=text(data, "check"),
    )
    view = replace(
        view, parts=tuple(after if part is before else part for part in view.parts), tool=""
    )
    if before.state == "waiting" or not again:
        return view
    why = text(data, "why") or f"{before.title or name} is done again"
    return replace(view, setback=why, setbacks=view.setbacks + 1)


def _acting(view: View, event: TaskEvent) -> View:
    said = f"{text(event.data, 'action')} {text(event.data, 'what')}"
    return replace(view, tool=" ".join(said.split())[:_TOOL_TEXT])


def _file(view: View, event: TaskEvent) -> View:
    path = text(event.data, "path")
    return view if path in view.files else replace(view, files=(*view.files, path), tool="")


def _note(view: View, event: TaskEvent) -> View:
    return replace(view, note=text(event.data, "text"))


def _asked(view: View, event: TaskEvent) -> View:
    digest = text(event.data, "digest")
    return replace(
        _held(view, event.at),
        state="approval",
        question=text(event.data, "text"),
        detail=text(event.data, "detail"),
        plan=text(event.data, "detail") if digest else "",
        digest=digest,
        asked=text(event.data, "id"),
        action=text(event.data, "action"),
        proposed=read_facts(event.data) if digest else None,
    )


def _answered(view: View, event: TaskEvent) -> View:
    return _going_on(_unasked(view), event.at)


def _paused(view: View, event: TaskEvent) -> View:
    """Rest; what it asked is asked again once it goes on, if it still has to."""
    return replace(_held(_unasked(view), event.at), state="paused")


def _restoring(view: View, event: TaskEvent) -> View:
    """Let what has not ended begin anew, and what the files no longer hold be done again."""
    if view.has_ended or view.began is None:
        return view
    again = texts(event.data, "subtasks")
    parts = tuple(
        replace(part, state="waiting", spent=0.0, ended=None, tokens=0)
        if part.state == "running" or part.id in again
        else part
        for part in view.parts
    )
    why = f"its files went back to checkpoint {event.data.get('number')}"
    return replace(
        _stopped(_unasked(view)),
        parts=parts,
        setback=why,
        setbacks=view.setbacks + 1,
    )


def _unasked(view: View) -> View:
    asked = dict.fromkeys(("question", "detail", "plan", "digest", "asked", "action"), "")
    return replace(view, **asked, proposed=None)


def _held(view: View, at: datetime) -> View:
    """Stop what runs."""
    parts = tuple(
        replace(part, spent=part.seconds(at), began=None) if part.state == "running" else part
        for part in view.parts
    )
    return replace(_stopped(view), parts=parts)


def _going_on(view: View, at: datetime) -> View:
    """Let what was stopped run again."""
    parts = tuple(
        replace(part, began=at) if part.state == "running" else part for part in view.parts
    )
    return replace(view, state="running", parts=parts)


def _stopped(view: View) -> View:
    return replace(view, tool="", rate=Rate())


def _ended(view: View, event: TaskEvent) -> View:
    data = event.data
    ended: PartState = "done" if event.kind == "done" else "failed"
    holds, check = truth(data, "holds"), text(data, "check")
    parts = tuple(
        replace(part, state=ended, ended=event.at, holds=holds, check=check)
        if part.state == "running"
        else part
        for part in view.parts
    )
    return replace(
        _stopped(_unasked(view)),
        state=event.kind,
        parts=parts,
        model=text(data, "model") or view.model,
        error=text(data, "error"),
        ended=event.at,
    )


_TAKES: Final[Mapping[str, Callable[[View, TaskEvent], View]]] = {
    "queued": _queued,
    "started": _started,
    "resumed": _resumed,
    "plan": _planned,
    "subtask": _changed,
    "acting": _acting,
    "file": _file,
    "note": _note,
    "approval": _asked,
    "approved": _answered,
    "rejected": _answered,
    "paused": _paused,
    "restoring": _restoring,
    "done": _ended,
    "failed": _ended,
    "cancelled": _ended,
}
