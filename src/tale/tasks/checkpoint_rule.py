"""When a checkpoint is taken, and which are kept: pure, and each answer says why in words.

Taking: a task pays for checkpoints what `Cadence` allows, so they are frequent where they are cheap
and much has changed. Keeping: the newest ones, then the last of each hour and of each day, as
backups are thinned out (grandfather, father, son). Above: `tasks.engine` (takes),
`tasks.checkpoint_store` (keeps). Below: `tasks.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from tale.tasks.checkpoint import Checkpoint

__all__ = [
    "Cadence",
    "Due",
    "Moment",
    "Retention",
    "Situation",
    "Verdict",
    "due",
    "retained",
]

Moment = Literal["subtask", "effect", "pause", "end"]
"""What just happened: a subtask was done, an effect within one was, the task stops or ends."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a task stands when it is asked whether to take a checkpoint.

    Attributes:
        moment: What just happened.
        changed: Files that were written since the last checkpoint; None where nobody knows, as
            after a command.
        since: Seconds since the last checkpoint, or since the task began.
        step: Seconds that the present step has run.
        cost: Seconds that the last checkpoint took.
    """

    moment: Moment
    changed: int | None
    since: float
    step: float = 0.0
    cost: float = 0.05


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often a checkpoint is taken within a subtask.

    Attributes:
        seconds: Least time between two.
        long_step: Seconds after which a step is long: more could be lost, and `seconds` is halved.
        many: Files whose change is worth one at once, if it is paid for.
        share: Share of the time that may be spent on checkpoints.
    """

    seconds: float = 20.0
    long_step: float = 120.0
    many: int = 5
    share: float = 0.02


@dataclass(frozen=True, slots=True)
class Due:
    """Whether a checkpoint is taken, and why."""

    take: bool
    why: str


def due(now: Situation, cadence: Cadence = Cadence()) -> Due:
    """Decide whether to take a checkpoint."""
    if now.changed == 0:
        return Due(False, "nothing has changed since the last one")
    if now.moment != "effect":
        after = {"subtask": "a subtask is done", "pause": "the task stops", "end": "the task ends"}
        return Due(True, f"{after[now.moment]}, and files may have changed")
    affordable = now.cost / cadence.share
    if now.since < affordable:
        left = _left(affordable, now)
        return Due(False, f"the last one took {now.cost:.2g} s; the next in {left}")
    if now.changed is not None and now.changed >= cadence.many:
        return Due(True, f"{now.changed} files have changed")
    long = now.step >= cadence.long_step
    pause = cadence.seconds / 2 if long else cadence.seconds
    if now.since >= pause:
        why = "the step is long" if long else "files may have changed"
        return Due(True, f"{why}, and the last one is {now.since:.0f} s old")
    return Due(False, f"little has changed; the next in {_left(pause, now)}")


@dataclass(frozen=True, slots=True)
class Retention:
    """Which checkpoints of a task are kept.

    Attributes:
        newest: So many of the newest.
        hours: The last one of each hour, so far back.
        days: The last one of each day, so far back.
        max_bytes: What a task's checkpoints may have added to the store; the oldest go first. The
            newest, pinned and needed ones stay also above it.
    """

    newest: int = 20
    hours: int = 24
    days: int = 14
    max_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a checkpoint is kept, and why."""

    number: int
    kept: bool
    why: str


_FIRM: Final = ("it is the newest", "it is pinned", "the running task needs it")


def retained(
    checkpoints: Sequence[Checkpoint],
    rule: Retention,
    now: datetime,
    needed: Collection[int] = (),
) -> tuple[Verdict, ...]:
    """Judge a task's checkpoints.

    Args:
        checkpoints: All of them, in any order.
        rule: What to keep.
        now: The time that ages are counted from, with its zone.
        needed: Numbers that a live task relies on.

    Returns:
        A verdict for each, oldest first. The newest is always kept.
    """
    newest_first = sorted(checkpoints, key=lambda one: one.number, reverse=True)
    reasons = _reasons(newest_first, rule, now, needed)
    room = rule.max_bytes - sum(
        one.stored for one in newest_first if reasons.get(one.number) in _FIRM
    )
    verdicts: list[Verdict] = []
    for one in newest_first:
        why = reasons.get(one.number)
        if why is None:
            verdicts.append(Verdict(one.number, False, "a later one stands for its time"))
        elif why in _FIRM or (room := room - one.stored) >= 0:
            verdicts.append(Verdict(one.number, True, why))
        else:
            limit = f"{rule.max_bytes / 1_000_000:,.0f} MB"
            verdicts.append(Verdict(one.number, False, f"the task's share of {limit} is used up"))
    return tuple(reversed(verdicts))


def _reasons(
    newest_first: Sequence[Checkpoint], rule: Retention, now: datetime, needed: Collection[int]
) -> dict[int, str]:
    """Why checkpoints are kept, the firmest reason of each; those without one aren't named."""
    reasons: dict[int, str] = {}
    hours: set[str] = set()
    days: set[str] = set()
    for place, one in enumerate(newest_first):
        at = one.at.astimezone(UTC)
        age = now - at
        hour, day = f"{at:%Y-%m-%d %H}:00 UTC", f"{at:%Y-%m-%d}"
        if place == 0:
            why = _FIRM[0]
        elif one.pinned:
            why = _FIRM[1]
        elif one.number in needed:
            why = _FIRM[2]
        elif place < rule.newest:
            why = f"it is one of the newest {rule.newest}"
        elif age < timedelta(hours=rule.hours) and hour not in hours:
            why = f"it is the last of the hour {hour}"
        elif age < timedelta(days=rule.days) and day not in days:
            why = f"it is the last of {day}"
        else:
            continue
        reasons[one.number] = why
        hours.add(hour)
        days.add(day)
    return reasons


def _left(pause: float, now: Situation) -> str:
    return f"{max(1.0, pause - now.since):.0f} s"
