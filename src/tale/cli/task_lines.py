"""How tasks and their events read: one line, one block, one closing remark.

Pure text; `tasks`, `submit` and `chat` write it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tale.cli.answer import answer_lines
from tale.cli.progress_lines import progress_line
from tale.cli.record import Record
from tale.cli.render import (
    Screen,
    Style,
    clean,
    display_width,
    human_bytes,
    human_seconds,
    plural,
)
from tale.cli.views import Event, Part, Planning, Task
from tale.tasks.plan_drawing import plan_block

__all__ = [
    "STATE_STYLES",
    "ago",
    "asked_lines",
    "check_line",
    "event_line",
    "file_lines",
    "how_to_answer",
    "rests_on",
    "summary_line",
    "task_block",
]

_RULE = re.compile(r":?\s*[=_-]{4,}")
"""What programs draw across the screen above what they tell."""
_PART_STATES = {"running": "begun", "done": "done", "failed": "failed", "cancelled": "dropped"}
_MAY = {
    "ask": "read; it asks before anything else (--permission ask)",
    "workspace": "work in its workspace; it asks before anything else (--permission workspace)",
    "full": "do everything without asking (--permission full)",
}
_PLANS = {
    "auto": "waits for your yes where it is large or costly (--approve auto)",
    "always": "waits for your yes (--approve always)",
    "never": "is worked on at once (--approve never)",
}
STATE_STYLES: dict[str, Style] = {
    "queued": "yellow",
    "running": "cyan",
    "waiting": "bold",
    "paused": "yellow",
    "done": "green",
    "failed": "red",
    "cancelled": "dim",
}


def ago(when: datetime | None, now: datetime | None = None) -> str:
    """Say how long ago something was: `3 min ago`."""
    if when is None:
        return ""
    seconds = max(0.0, ((now or datetime.now(UTC)) - when).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now" if seconds < 5 else f"{int(seconds)} s ago"


def summary_line(task: Task) -> str:
    """Say who did it and what it took: model (role), tokens, seconds, id."""
    parts: list[str] = []
    if task.model:
        parts.append(f"{task.model} ({task.role})" if task.role else task.model)
    if task.usage.completion:
        parts.append(f"{task.usage.completion} tokens")
    if task.seconds is not None:
        parts.append(human_seconds(task.seconds))
    return " · ".join([*parts, f"task {task.id}"])


def file_lines(task: Task) -> list[str]:
    """Say which files were written, with their sizes where they are there."""
    lines: list[str] = []
    for name in task.files:
        path = Path(task.workspace) / name
        try:
            size = f" ({human_bytes(path.stat().st_size)})"
        except OSError:
            size = ""
        lines.append(f"wrote {clean(str(path))}{size}")
    return lines


def check_line(task: Task) -> str:
    """Say what was checked of a result and what came of it; empty where that is not known."""
    return _check(task.holds, task.check) if task.ended else ""


def _check(holds: bool | None, check: str) -> str:
    if not check:
        return ""
    words = {True: "checked", False: "check failed", None: "not checked"}
    return f"{words[holds]}: {clean(check)}"


def event_line(event: Event) -> str:
    """Say in a few words what happened; empty for what needs no line of its own."""
    if event.kind == "approval":
        plan = bool(event.data.text("digest"))
        return f"{_approval(event.data)}\n{how_to_answer(event.task, plan=plan)}"
    say = _SAY.get(event.kind)
    return say(event.data) if say else event.kind


def _started(data: Record) -> str:
    if data.flag("again"):  # after a pause, a question or a crash, of which there is a line already
        return "goes on"
    return f"started on the {data.text('role')} model" + _after(data.text("reason"))


def _file(data: Record) -> str:
    size = data.number("bytes")
    return f"wrote {data.text('path')}" + (f" ({human_bytes(size)})" if size else "")


def _subtask(data: Record) -> str:
    state = _PART_STATES.get(data.text("state"), "goes on")
    check = _check(data.truth("holds"), data.text("check"))
    return f"{data.text('title') or data.text('id')}: {state}" + (f", {check}" if check else "")


def _plan(data: Record) -> str:
    """Say what was planned, or how the plan has changed."""
    parts = [part for part in data.records("subtasks") if part.text("kind") != "plan"]
    changes = [f"  {_in_a_line(change)}" for change in data.texts("changes")]
    if changes and any(part.text("state") for part in parts):
        return "\n".join(("the plan changes:", *changes))
    planned = f"planned {plural(len(parts), 'subtask')}" + _after(data.text("why"))
    return "\n".join((planned, *changes, *rests_on(Planning.read(data))))


def rests_on(facts: Planning) -> list[str]:
    """Say on which files of the workspace a plan rests, and on what is remembered."""
    files = [f"  it rests on {', '.join(facts.used)}"] if facts.used else []
    return [*files, *(f"  it remembers {one}" for one in facts.remembered)]


def _in_a_line(change: str) -> str:
    """Leave out of a change what a check printed, which stands with the check."""
    first, _, more = change.partition("\n")
    return f"{_RULE.split(first)[0]} …" if more else first


def _acting(data: Record) -> str:
    """Say what is run; files are told of once they are there."""
    what, action = data.text("what").split("\n", 1)[0], data.text("action")
    if action == "CallTool":
        return f"calls {what}"
    if action == "RunCommand":
        return f"runs {what}"
    return what if action == "RunPython" else ""


def _restored(data: Record) -> str:
    """Say what the files are now, and how to have them as they were."""
    number, saved = data.integer("number"), data.integer("saved")
    said = f"the files are those of checkpoint {number} again"
    return said + (f"; checkpoint {saved} has what they were before" if saved else "")


def _queued(data: Record) -> str:
    forked = data.record("forked")
    source, number = forked.text("task"), forked.integer("number")
    return f"queued, with the files of checkpoint {number} of {source}" if source else "queued"


def _approval(data: Record) -> str:
    text, detail = data.text("text"), data.text("detail")
    if data.text("action") == "ApprovePlan":
        facts = Planning.read(data)
        detail = "\n".join((plan_block(detail, facts.seconds), *rests_on(facts)))
    return f"waits for your word: {text}" + (f"\n{detail}" if detail else "")


def how_to_answer(task: str, *, plan: bool) -> str:
    """Say which commands answer what a task asks."""
    edit = f"`tale edit {task}`, " if plan else ""
    return f'`tale approve {task}`, {edit}or `tale reject {task} "why not"` lets it go on.'


def _checkpoint(data: Record) -> str:
    """Tell of those that keep what was done; the first is what was there before."""
    number, changed = (int(data.number(name) or 0) for name in ("number", "changed"))
    return f"checkpoint {number}, {plural(changed, 'file')} changed" if number > 1 else ""


_SAY: Mapping[str, Callable[[Record], str]] = {
    "queued": _queued,
    "started": _started,
    "resumed": lambda data: "resumed" + _after(data.text("why")),
    "imported": lambda data: f"came from elsewhere, where it was {data.text('from')}",
    "plan": _plan,
    "subtask": _subtask,
    "acting": _acting,
    "file": _file,
    "note": lambda data: data.text("text"),
    "checkpoint": _checkpoint,
    "restoring": lambda data: f"the files go back to checkpoint {data.integer('number')}",
    "restored": _restored,
    "approved": lambda data: "you said yes" + _after(data.text("text")),
    "rejected": lambda data: "you said no" + _after(data.text("text")),
    "failed": lambda data: "failed" + _after(data.text("error")),
    "token": lambda data: "",
    "progress": lambda data: "",
}


def _after(why: str) -> str:
    return f": {why}" if why else ""


def task_block(task: Task, screen: Screen) -> list[str]:
    """Describe a task in full, its answer last; what was thought of its plan where it has that."""
    state = screen.style(task.state, STATE_STYLES.get(task.state, "bold"))
    if task.model:
        state += f" by {task.model}" + (f" ({task.role})" if task.role else "")
    usage = task.usage
    tokens = f"{usage.prompt} read ({usage.cached} from cache), {usage.completion} written"
    rows: Sequence[tuple[str, str]] = (
        ("task", task.id),
        ("text", clean(task.text)),
        ("state", state),
        ("asks", _asks(task)),
        ("progress", _far(task)),
        ("parts", "\n".join(_part_lines(task, screen))),
        *_planning(task),
        ("reason", task.reason or ""),
        ("created", _moment(task.created)),
        ("took", human_seconds(task.seconds) if task.seconds is not None else ""),
        ("tokens", tokens if usage.prompt or usage.completion else ""),
        ("session", task.session or ""),
        ("priority", str(task.priority) if task.priority else ""),
        ("may", _MAY.get(task.permission or "", "")),
        ("plan", _PLANS.get(task.approve or "", "")),
        ("workspace", task.workspace),
        ("files", "\n".join(task.files)),
        ("check", check_line(task)),
        ("error", clean(task.error or "")),
        ("hint", clean(task.hint or "")),
    )
    lines = [
        f"{screen.style(title.ljust(9), 'dim')}  {text}".replace("\n", "\n" + " " * 11)
        for title, text in rows
        if text
    ]
    return [*lines, "", *answer_lines(task.answer, screen)] if task.answer else lines


def _planning(task: Task) -> list[tuple[str, str]]:
    """Say on what the plan rests, what was changed of it, what was told, and what was thought."""
    used = dict.fromkeys(file for one in task.planning for file in one.used)
    remembered = dict.fromkeys(line for one in task.planning for line in one.remembered)
    changes = dict.fromkeys(change for one in task.planning for change in one.changes)
    notes = dict.fromkeys(note for one in task.planning for note in one.notes)
    thought = dict.fromkeys(one.why for one in task.planning if one.why)
    return [
        ("rests on", clean(", ".join(used))),
        ("remembers", clean("\n".join(remembered))),
        ("changes", clean("\n".join(map(_in_a_line, changes)))),
        ("notes", clean("\n".join(notes))),
        ("reasoning", clean("\n\n".join(thought))),
    ]


def _part_lines(task: Task, screen: Screen) -> list[str]:
    """Give a line for each part: its title, how it stands, how long, and what was checked."""
    parts = task.progress.parts if task.progress else ()
    if not parts:
        return []
    rows = [
        (clean(part.title), part.state, _part_time(part), _check(part.holds, part.check))
        for part in parts
    ]
    widths = [max(display_width(row[column]) for row in rows) for column in range(3)]
    lines: list[str] = []
    for row in rows:
        title, state, time = (
            text + " " * (width - display_width(text))
            for text, width in zip(row[:3], widths, strict=True)
        )
        state = screen.style(state, STATE_STYLES.get(row[1], "dim"))
        lines.append("  ".join((title, state, time, row[3])).rstrip())
    return lines


def _part_time(part: Part) -> str:
    usual = human_seconds(max(1.0, part.expected)) if part.expected else ""
    if part.state == "waiting":
        return f"usually {usual}" if usual else ""
    if part.state == "dropped":
        return ""
    took = human_seconds(part.elapsed)
    return f"{took} of about {usual}" if part.state == "running" and usual else took


def asked_lines(text: str, detail: str, facts: Planning | None, columns: int) -> list[str]:
    """Say what a task asks: its question, and then the plan or what else it is about.

    Args:
        text: The question.
        detail: What it is about; a plan, where there are `facts`.
        facts: How the plan was made.
        columns: Cells in a line.
    """
    if facts is not None:
        drawn = plan_block(detail, facts.seconds, columns=columns)
        detail = "\n".join((drawn, *rests_on(facts)))
    return [clean(text), *(clean(detail).strip("\n").split("\n") if detail else ())]


def _asks(task: Task) -> str:
    if task.progress is None or task.state != "waiting":
        return ""
    seconds = task.planning[-1].seconds if task.planning else None
    plan = f"\n{clean(plan_block(task.plan, seconds))}" if task.plan else ""
    how = how_to_answer(task.id, plan=bool(plan))
    return f"{clean(task.progress.question)}{plan}\n{how}"


def _far(task: Task) -> str:
    if task.progress is None or task.progress.state not in {"running", "paused"}:
        return ""
    return progress_line(task.progress)


def _moment(when: datetime | None) -> str:
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S} ({ago(when)})" if when else ""
