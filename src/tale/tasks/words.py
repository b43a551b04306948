"""How a task stands, in words: what the small model is told when it is asked. Pure.

Above: whoever talks to the user. Below: `outlook`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tale.tasks.estimate import Eta
from tale.tasks.outlook import Outlook

__all__ = ["in_words", "span"]

_ROUND: Final = 5
_WIDE: Final = 4.0
"""Bounds that are so many times apart are told instead of one figure."""


def in_words(shown: Outlook, text: str = "") -> str:
    """Say in a sentence or two how a task stands: facts for whoever is asked "how is it going?".

    Args:
        shown: The task.
        text: What it is about, in a few words; named where it is given.
    """
    name = f'"{text}"' if text else f"Task {shown.task}"
    say = _SAY.get(shown.state, _running)
    return f"{name} {say(shown)}"


def span(seconds: float) -> str:
    """Write a duration as roughly as one would say it: `20 s`, `4 min`, `1.5 h`."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 90:
        return f"{round(seconds / _ROUND) * _ROUND} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    hours = seconds / 3600
    return f"{hours:.1f} h".replace(".0 h", " h") if hours < 48 else f"{round(hours / 24)} days"


def _running(shown: Outlook) -> str:
    left = f", {_about(shown.eta)} left" if shown.eta else ""
    said = [f"is being worked on: {shown.percent} % are done{left}."]
    parts = [each.part for each in shown.parts if each.part.is_work]
    done = sum(part.state == "done" for part in parts)
    if shown.doing:
        counted = f" ({done} of {len(parts)} are done)" if parts else ""
        said.append(f"Just now: {', '.join(shown.doing)}{counted}.")
    if shown.tool:
        said.append(f"It uses a tool: {shown.tool}.")
    if shown.setback:
        said.append(f"It had to go back: {shown.setback.rstrip('.')}.")
    return " ".join(said)


def _done(shown: Outlook) -> str:
    files = f" It wrote {', '.join(shown.files)}." if shown.files else ""
    return f"is done{_took(shown)}.{files}{_checked(shown)}"


def _checked(shown: Outlook) -> str:
    if not shown.check:
        return ""
    found = {True: "It was checked", False: "A check fails still", None: "It was not checked"}
    return f" {found[shown.holds]}: {shown.check}."


def _failed(shown: Outlook) -> str:
    return f"failed{_took(shown)}" + (f": {shown.error}" if shown.error else ".")


def _cancelled(shown: Outlook) -> str:
    return f"was cancelled{_took(shown)}."


def _approval(shown: Outlook) -> str:
    return f"waits for your approval: {shown.question or 'its plan'}"


def _paused(shown: Outlook) -> str:
    return f"is paused; {shown.percent} % are done."


def _queued(shown: Outlook) -> str:
    del shown
    return "has not begun yet; it waits for its turn."


_SAY: Final[Mapping[str, Callable[[Outlook], str]]] = {
    "queued": _queued,
    "done": _done,
    "failed": _failed,
    "cancelled": _cancelled,
    "approval": _approval,
    "paused": _paused,
}


def _took(shown: Outlook) -> str:
    return f" after {span(shown.elapsed)}" if shown.elapsed >= 1 else ""


def _about(left: Eta) -> str:
    """One figure, or a range where that would promise too much."""
    if left.high > _WIDE * max(left.low, 1.0):
        return f"probably {span(left.low)} to {span(left.high)}"
    return f"about {span(left.median)}"
