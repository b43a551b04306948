"""What the planner asks its model, and what goes into the window. Pure.

Everything is bounded, as the window is small and prompts are dear: a long request loses its middle,
a long list its end. What comes from files is quoted as data; nothing in it can end the quotation.
Above: `tasks.planner`. Below: `tasks.plan_schema`, `tale.prompts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tale.models.backend import Message
from tale.prompts import PLAN_AGAIN, PLAN_SYSTEM, REMEMBERED, REPAIR_SYSTEM, SPLIT_THIS
from tale.tasks.hands import Question
from tale.tasks.plan_memory import Remembered, numbered
from tale.tasks.plan_schema import plan_schema, repair_schema
from tale.tasks.task import Subtask

__all__ = [
    "WINDOWS",
    "Seen",
    "Window",
    "again",
    "first_plan",
    "quoted",
    "repair_plan",
    "shortened",
    "split_plan",
]

_GREEDY, _FREER = 0.0, 0.7
"""A greedy model says the same again, so what is asked again is asked more freely."""
_MOST_FAULTS: Final = 8
_TOLD_FAILURE: Final = 1_200
"""Characters of a failure: its beginning and more of its end, where errors stand."""


@dataclass(frozen=True, slots=True)
class Window:
    """How much goes into one question, in characters; `answer` in tokens."""

    request: int
    listing: int
    files: int
    memory: int
    answer: int


WINDOWS: Final = (Window(6_000, 2_000, 3_000, 1_200, 2_048), Window(2_000, 600, 0, 400, 1_024))
"""For windows of 8,192 tokens and of 4,096. At three characters a token, which is what code and
most languages take, the first is some 600 for the system, 4,100 for a long request with its files
and what is remembered, and 2,048 for the answer. What does not fit is asked in the second."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the workspace holds, and what is remembered.

    Attributes:
        files: Paths, relative; as many as were looked at.
        more: Whether there are others.
        texts: Content of those that the request names.
        memory: What is remembered that may matter.
    """

    files: tuple[str, ...] = ()
    more: bool = False
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    memory: tuple[Remembered, ...] = ()


def first_plan(
    request: str, seen: Seen, window: Window, session: str, rejected: Sequence[tuple[str, str]] = ()
) -> Question:
    """Ask for a plan.

    Args:
        request: What is asked for.
        seen: What the workspace holds.
        window: How much is told.
        session: Groups these questions for the prefix cache.
        rejected: Earlier plans in short, and why the user did not want them.
    """
    known, shown = _remembered(seen, window)
    told = [f"Request:\n{shortened(request, window.request)}", *_workspace(seen, window), *known]
    for plan, why in rejected:
        told.append(
            f"The user did not want this plan:\n{shortened(plan, window.listing // 2)}\n"
            f"Their reason, which counts: {shortened(why, window.listing)}"
        )
    return _question(PLAN_SYSTEM, told, plan_schema(shown=shown), window, session)


def repair_plan(
    request: str,
    plan: Sequence[Subtask],
    failed: Subtask,
    why: str,
    *,
    seen: Seen,
    window: Window,
    session: str,
) -> Question:
    """Ask how a plan is to go on in which a part has failed.

    Args:
        request: What was asked for.
        plan: All its parts, as they stand.
        failed: The one that failed.
        why: What exactly went wrong.
        seen: What the workspace holds.
        window: How much is told.
        session: As above.
    """
    others = [one for one in plan if one.id != failed.id and not one.id.startswith("+")]
    done = [one for one in others if one.state == "done"]
    waiting = [one for one in others if one.state in {"queued", "running"}]
    told = [f"Request:\n{shortened(request, window.request // 2)}"]
    told += _lines("Done:", [_done_line(one) for one in done], window)
    told += _lines("Waiting:", [_waiting_line(one) for one in waiting], window)
    told.append(
        f"Failed: `{failed.id}` ({failed.title})\n"
        f"It was told: {shortened(failed.text, window.listing)}\n"
        f"It was to write: {', '.join(failed.writes) or 'nothing said'}\n"
        f"Its check: {failed.check or 'none'}\n"
        f"What went wrong:\n{quoted(shortened(why, _TOLD_FAILURE), 'what went wrong')}"
    )
    known, shown = _remembered(seen, window)
    told += [*_workspace(seen, window), *known]
    return _question(REPAIR_SYSTEM, told, repair_schema(shown=shown), window, session)


def split_plan(
    request: str,
    plan: Sequence[Subtask],
    part: Subtask,
    *,
    seen: Seen,
    window: Window,
    session: str,
) -> Question:
    """Ask for a plan of one part that is too big to be done at once.

    Args:
        request: What the whole task is about.
        plan: All its parts, as they stand.
        part: The one that is to be split.
        seen: What the workspace holds.
        window: How much is told.
        session: As above.
    """
    others = [one for one in plan if one.id != part.id and not one.id.startswith("+")]
    done = [one for one in others if one.state == "done"]
    waiting = [one for one in others if one.state in {"queued", "running"}]
    told = [f"The larger task:\n{shortened(request, window.request // 4)}"]
    told += _lines("Done:", [_done_line(one) for one in done], window)
    told += _lines("Others do:", [_waiting_line(one) for one in waiting], window)
    told += _workspace(seen, window)
    own = [f"Request:\n{shortened(part.text, window.request // 2)}"]
    if part.writes:
        own.append(f"Between them the parts write {', '.join(part.writes)}.")
    if part.check:
        own.append(f"After the last of them this has to succeed: {part.check}")
    own.append(SPLIT_THIS)
    return _question(PLAN_SYSTEM, [*told, "\n".join(own)], plan_schema(), window, session)


def again(before: Question, answer: str, faults: Sequence[str], window: Window) -> Question:
    """Ask once more, with what was wrong about the answer; what said nothing is not repeated."""
    listed = [f"- {fault}" for fault in faults[:_MOST_FAULTS]]
    if len(faults) > _MOST_FAULTS:
        listed.append(f"- … and {len(faults) - _MOST_FAULTS} more of the kind")
    told = PLAN_AGAIN.format(faults="\n".join(listed))
    said = Message("assistant", shortened(answer, 3 * window.answer) or "{}")
    return Question(
        (*before.messages[:2], said, Message("user", told)),
        before.max_tokens,
        _FREER,
        role=before.role,
        schema=before.schema,
        session=before.session,
        shown=False,
    )


def shortened(text: str, most: int) -> str:
    """Leave out the middle of what is too long: what is wanted stands at its ends."""
    text = text.strip()
    if len(text) <= most:
        return text
    head = most * 2 // 3
    left_out = len(text) - most
    return f"{text[:head]}\n[… {left_out:,} characters are left out …]\n{text[-(most - head) :]}"


def quoted(text: str, what: str = "") -> str:
    """Mark a text as data, in which nothing that it says can end the mark."""
    plain = text.replace("<data", "<_data").replace("</data", "</_data")
    about = f' of="{what}"' if what else ""
    return f"<data{about}>\n{plain}\n</data>"


def _question(
    system: str,
    told: Sequence[str],
    schema: Mapping[str, object],
    window: Window,
    session: str,
) -> Question:
    messages = (Message("system", system), Message("user", "\n\n".join(told)))
    return Question(
        messages,
        window.answer,
        _GREEDY,
        role="task",
        schema=schema,
        session=session,
        shown=False,
    )


def _workspace(seen: Seen, window: Window) -> list[str]:
    told: list[str] = []
    if seen.files:
        names = [_plain(path) for path in seen.files]
        listing, left_out = _bounded(names, window.listing)
        more = f"\n… and {left_out} more" if left_out else "\n… and more" if seen.more else ""
        told.append(f"Files in the workspace:\n{quoted(listing + more)}")
    room = window.files
    for path, text in seen.texts.items():
        if room > 0:
            part = shortened(text, room)
            room -= len(part)
            told.append(quoted(part, _plain(path)))
    return told


def _remembered(seen: Seen, window: Window) -> tuple[list[str], int]:
    """Quote what is remembered, as many lines as there is room for, and say how many."""
    listing, left_out = _bounded(numbered(seen.memory), window.memory)
    if not listing:
        return [], 0
    return [f"{REMEMBERED}\n{quoted(listing, 'memory')}"], len(seen.memory) - left_out


def _bounded(names: Sequence[str], most: int) -> tuple[str, int]:
    shown: list[str] = []
    for name in names:
        most -= len(name) + 1
        if most < 0:
            break
        shown.append(name)
    return "\n".join(shown), len(names) - len(shown)


def _plain(name: str) -> str:
    """Give a name in one line, as one may have been chosen to look like more."""
    return "".join(sign if sign.isprintable() and sign not in '"<>' else "?" for sign in name)[:120]


def _lines(head: str, lines: Sequence[str], window: Window) -> list[str]:
    if not lines:
        return []
    listing, left_out = _bounded(lines, window.listing)
    return [f"{head}\n{listing}" + (f"\n… and {left_out} more" if left_out else "")]


def _done_line(part: Subtask) -> str:
    files = part.files or part.writes
    return f"- `{part.id}` ({part.title}){': ' if files else ''}{', '.join(files[:6])}"


def _waiting_line(part: Subtask) -> str:
    needs = [one for one in part.depends_on if not one.startswith("+")]
    after = f", after {', '.join(needs)}" if needs else ""
    return f"{_done_line(part)}{after}"
