"""How far a task is and when it will be done, as it is shown. Pure.

A task's view, what was learned of durations, and the time now give one `Outlook`. Above:
`watching`, which keeps them up to date, and `words`. Below: `view`, `estimate`, `durations`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tale.tasks.durations import Expected
from tale.tasks.estimate import Eta, Progress, Work, WorkState, eta, fraction
from tale.tasks.plan_facts import PlanFacts
from tale.tasks.view import Part, PartState, View

__all__ = ["Outlook", "PartOutlook", "checked", "lessons", "outlook"]

_SILENT_SECONDS: Final = 5.0
"""After so long without an event there is no rate to speak of."""


@dataclass(frozen=True, slots=True)
class PartOutlook:
    """A subtask as it is shown.

    Attributes:
        part: What is known of it.
        percent: 0 to 100; one that runs is never at 100.
        elapsed: Seconds since it began, or that it took.
        expected: Seconds that such subtasks take, in the median.
    """

    part: Part
    percent: int
    elapsed: float
    expected: float

    @property
    def title(self) -> str:
        """What it is called; its id where it has no title."""
        return self.part.title or self.part.id


@dataclass(frozen=True, slots=True)
class Outlook:
    """A task as it is shown.

    Attributes:
        state: As `View.state`.
        percent: Of the work, not of the time; it goes back only for a `setback`.
        setback: Why it went back, the last time it did.
        elapsed: Seconds since work began, or that it took.
        eta: Until it is done; None where that can't be said, or it has ended.
        speed: Tokens a second just now; None where none come.
        doing: Titles of the subtasks that are being done.
        tool: What the agent does beside asking the model.
        facts: What is known of how its plan was made, and of each change of it, oldest first; the
            last is that of the plan about which the user is asked, where they are.
        holds: Whether all checks hold; None where nothing could be checked.
        check: What was checked, or why not, in words.
    """

    task: str
    state: str
    percent: int = 0
    setback: str = ""
    elapsed: float = 0.0
    eta: Eta | None = None
    speed: float | None = None
    tokens: int = 0
    doing: tuple[str, ...] = ()
    tool: str = ""
    note: str = ""
    question: str = ""
    detail: str = ""
    plan: str = ""
    digest: str = ""
    facts: tuple[PlanFacts, ...] = ()
    asked: str = ""
    action: str = ""
    error: str = ""
    files: tuple[str, ...] = ()
    parts: tuple[PartOutlook, ...] = ()
    holds: bool | None = None
    check: str = ""


def outlook(
    view: View,
    expect: Callable[[Part], Expected],
    *,
    now: datetime,
    progress: Progress | None = None,
    reason: str = "",
    lanes: int = 1,
    usual_speed: float | None = None,
) -> tuple[Outlook, Progress]:
    """Say how a task stands.

    Args:
        view: What its events told.
        expect: Gives the duration of a subtask as it is expected.
        now: The present time.
        progress: How far it was shown to be before.
        reason: What has undone work since then; empty where nothing has.
        lanes: How many subtasks run at a time.
        usual_speed: Tokens a second of the model that works; None where that is not known.

    Returns:
        What to show, and how far it is shown to be now.
    """
    works = [_work(part, expect(part), now) for part in view.parts]
    end = view.ended or now
    # While nothing is planned nobody knows how much there is to do.
    planned = [work for part, work in zip(view.parts, works, strict=True) if part.is_work]
    share = fraction(planned)
    done = view.state == "done"
    progress = (progress or Progress()).advance(share, reason=reason, done=done)
    speed = _speed(view, now)
    left: Eta | None = None
    if planned and view.state == "running":
        pace = usual_speed / speed if usual_speed and speed else 1.0
        living = [w for part, w in zip(view.parts, works, strict=True) if part.state != "dropped"]
        left = eta(living, lanes=lanes, pace=pace)
    holds, check = checked(view.parts)
    shown = Outlook(
        task=view.task,
        state=view.state,
        percent=progress.percent,
        setback=progress.setback,
        elapsed=_between(view.began, end),
        eta=left,
        speed=speed,
        tokens=view.tokens,
        doing=tuple(part.title for part in view.current if part.title),
        tool=view.tool,
        note=view.note,
        question=view.question,
        detail=view.detail,
        plan=view.plan,
        digest=view.digest,
        facts=view.facts if view.proposed is None else (*view.facts, view.proposed),
        asked=view.asked,
        action=view.action,
        error=view.error,
        files=view.files,
        parts=tuple(
            _part(part, work) for part, work in zip(view.parts, works, strict=True) if part.id
        ),
        holds=holds,
        check=check,
    )
    return shown, progress


def checked(parts: Sequence[Part]) -> tuple[bool | None, str]:
    """Say whether the checks of a task hold, and what they were, from those of its parts.

    Returns:
        None where nothing could be checked, then with the reason if there is one.
    """
    parts = [part for part in parts if part.is_work]
    if len(parts) == 1:
        return parts[0].holds, parts[0].check
    if failed := [part for part in parts if part.holds is False]:
        return False, ", ".join(f"{part.title or part.id} ({part.check})" for part in failed)
    held = [part for part in parts if part.holds]
    if held:
        return True, f"{len(held)} of {len(parts)} parts"
    return None, next((part.check for part in parts if part.check), "")


def lessons(view: View) -> list[tuple[Part, str, float]]:
    """Give the subtasks that were done, with who did each and its seconds, to learn from.

    What was interrupted or waited for its user is one run, without the time in which it rested.
    """
    found: list[tuple[Part, str, float]] = []
    for part in view.parts:
        if part.state == "done" and part.ended:
            seconds = part.seconds(part.ended)
            if seconds > 0:
                found.append((part, part.model or view.role, seconds))
    return found


def _work(part: Part, expected: Expected, now: datetime) -> Work:
    # A subtask that failed will not take any more time; if it is tried again, it runs again.
    states: dict[PartState, WorkState] = {
        "waiting": "waiting",
        "running": "running",
        "done": "done",
        "failed": "done",
        "dropped": "done",
    }
    elapsed = part.seconds(now) if part.state != "waiting" else 0.0
    if part.state in {"failed", "dropped"}:
        elapsed = 0.0  # tells nothing of how long it takes
    return Work(part.id, expected, part.depends_on, states[part.state], elapsed, part.kind)


def _part(part: Part, work: Work) -> PartOutlook:
    percent = 100 if part.state == "done" else min(99, int(fraction([work]) * 100))
    elapsed = work.elapsed
    if part.state in {"failed", "dropped"}:
        percent, elapsed = 0, part.seconds(part.ended) if part.ended else 0.0
    return PartOutlook(part, percent, elapsed, work.expected.median)


def _speed(view: View, now: datetime) -> float | None:
    if view.has_ended or view.last is None or _between(view.last, now) > _SILENT_SECONDS:
        return None
    return view.rate.last


def _between(since: datetime | None, until: datetime) -> float:
    return max(0.0, (until - since).total_seconds()) if since else 0.0
