"""What the panels of tasks show: the list, and one task with the tree of its parts. Pure.

Above: `view`. Below: `wire.overview_contracts` (facts), `shown`, `said`, `tasks.tree`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tale.cli.progress_lines import left_text
from tale.cli.render import plural
from tale.cli.views import Eta
from tale.dashboard.said import TASK_MARKS, clock, count_of, since
from tale.dashboard.shown import (
    Bar,
    Cell,
    Column,
    Note,
    Row,
    Span,
    Table,
    Tone,
    as_it_is,
    plain,
    text,
)
from tale.tasks.tree import branches

if TYPE_CHECKING:
    from tale.wire.contracts import PartView, TaskView
    from tale.wire.overview_contracts import ProposedPlan
    from tale.wire.part_contracts import EtaView

__all__ = ["chosen_of", "in_order", "one_task", "task_list"]

_ENDED: Final = {"done", "failed", "cancelled"}
_MOVING: Final = {"running", "waiting", "paused"}
_ORDER: Final = ("waiting", "running", "paused", "queued")
"""What needs a person comes first, then what moves; what has ended comes last."""
_ANSWER_LINES: Final = 40
_PROPOSAL_LINES: Final = 60
_TEXT_LINES: Final = 2


def in_order(tasks: Sequence[TaskView]) -> list[TaskView]:
    """Order tasks as they are shown; within a state newest first, as they come."""
    places = {state: place for place, state in enumerate(_ORDER)}
    return sorted(tasks, key=lambda task: places.get(task.state, len(places)))


def chosen_of(tasks: Sequence[TaskView], chosen: str) -> TaskView | None:
    """Give the task that is chosen, or the first that is shown where that one isn't there."""
    ordered = in_order(tasks)
    return next((task for task in ordered if task.id == chosen), ordered[0] if ordered else None)


def task_list(tasks: Sequence[TaskView], now: datetime) -> Table:
    """Show all tasks, a row each."""
    return Table(
        columns=(
            Column(),
            Column(flexible=True),
            Column(since=64),
            Column(right=True),
            Column(right=True),
            Column(right=True, since=100),
        ),
        rows=tuple(_task_row(task, now) for task in in_order(tasks)),
        title=tuple(_counts(tasks)),
        empty='No tasks yet. `tale submit "…"` or `tale chat` makes one.',
    )


def _counts(tasks: Sequence[TaskView]) -> Iterator[Span]:
    tones: dict[str, Tone] = {"waiting": "warn", "running": "accent"}
    words = {"waiting": "waits for you", "running": "running", "paused": "paused"}
    for state in _ORDER:
        count = sum(task.state == state for task in tasks)
        if count:
            said = words.get(state, state)
            said = said.replace("waits", "wait") if count > 1 else said
            yield Span(f"{count} {said}", tones.get(state, "dim"))


def _task_row(task: TaskView, now: datetime) -> Row:
    mark, tone = TASK_MARKS.get(task.state, TASK_MARKS["queued"])
    ended = task.state in _ENDED
    progress = task.progress
    far = progress.percent if progress and task.state in _MOVING else None
    return Row(
        (
            text(mark, tone),
            text(task.text, "dim" if task.state in {"done", "cancelled"} else "plain"),
            Bar(far, tone) if far is not None else (),
            text(f"{far} %") if far is not None else (),
            _note_of(task),
            text(since(task.finished if ended else task.created, now), "dim"),
        ),
        key=task.id,
    )


def _note_of(task: TaskView) -> Cell:
    """Say the one thing that is worth knowing of a task in its state."""
    if task.state == "waiting":
        return text("waits for you", "warn")
    if task.state == "running":
        eta = task.progress.eta if task.progress else None
        return text(f"{_left(eta, ranged=False)} left" if eta else "running")
    if task.state == "done":
        return text(f"took {clock(_seconds(task))}", "dim")
    return text(task.state, TASK_MARKS[task.state][1] if task.state == "failed" else "dim")


def _left(eta: EtaView, *, ranged: bool = True) -> str:
    said = left_text(Eta(eta.median, eta.low, eta.high))
    return said if ranged else said.split(" (")[0]


def _seconds(task: TaskView) -> float:
    begun = task.started or task.created
    ended = task.finished or datetime.now(UTC)
    return max(0.0, (ended - begun).total_seconds())


def one_task(task: TaskView | None, plans: Sequence[ProposedPlan] = ()) -> Table:
    """Show one task in full: what it is, how far, its parts, what came of it.

    Args:
        task: The task, if any is chosen.
        plans: Those that wait for their user; its own has its parts while it has no others.
    """
    if task is None:
        return Table(empty="No task is chosen.")
    proposed = [one.parts for one in plans if (one.task, one.digest) == (task.id, task.digest)]
    parts = proposed[0] if proposed else task.progress.parts if task.progress else ()
    before = [Note(plain(task.text), "strong", _TEXT_LINES), Note(_how_it_stands(task), "dim")]
    after: list[Note] = []
    if task.progress and task.state in _MOVING:
        if task.progress.setback:
            after.append(Note(f"It went back: {plain(task.progress.setback)}", "warn"))
        if task.progress.tool:
            after.append(Note(f"It runs: {plain(task.progress.tool)}", "dim", 2))
    if task.state == "waiting" and task.progress:
        asks = plain(task.progress.question) or "Something is to be decided."
        before += [Note(f"It asks: {asks}", "warn", 4), *_proposal(task, parts=bool(proposed))]
    after += _outcome(task)
    return Table(
        columns=(
            Column(),
            Column(flexible=True),
            Column(since=56),
            Column(right=True),
            Column(right=True),
            Column(since=100),
        ),
        rows=(*before, *([Note("")] if parts else ()), *_part_rows(parts), *after),
        title=text(task.id, "dim"),
    )


def _proposal(task: TaskView, *, parts: bool) -> Iterator[Note]:
    """Show what a yes would be to, where that isn't told by the parts of its plan."""
    lines = [] if parts else (task.plan or task.detail).splitlines()
    if lines:
        yield Note("")
        yield from (Note(as_it_is(line)) for line in lines[:_PROPOSAL_LINES])
    if len(lines) > _PROPOSAL_LINES:
        yield Note("… `a` shows all of it.", "dim")
    planning = task.planning[-1] if task.plan and task.planning else None
    if planning and planning.used:
        yield Note(f"It rests on {plain(', '.join(planning.used))}.", "dim", 2)
    if planning:
        yield from (Note(f"It remembers: {plain(one)}", "dim", 2) for one in planning.remembered)


def _how_it_stands(task: TaskView) -> str:
    said = ["waits for your word" if task.state == "waiting" else task.state]
    if task.model:
        said[0] += f" on {plain(task.model)}" if task.state in _MOVING else f" by {task.model}"
    progress = task.progress
    if progress and task.state in _MOVING:
        said.append(f"{progress.percent} %")
        said += [f"{_left(progress.eta)} left"] if progress.eta else []
        said += [f"{progress.speed:.0f} tok/s"] if progress.speed else []
    tokens = progress.tokens if progress else task.usage.completion
    said += [f"{count_of(tokens)} tokens written"] if tokens else []
    if task.state in _ENDED:
        said.append(f"took {clock(_seconds(task))}")
    elif progress and progress.elapsed:
        said.append(f"{clock(progress.elapsed)} so far")
    return " · ".join(said)


def _part_rows(parts: Sequence[PartView]) -> Iterator[Row]:
    by_id = {part.id: part for part in parts}
    for branch in branches({part.id: part.depends_on for part in parts}):
        part = by_id[branch.id]
        mark, tone = TASK_MARKS.get(part.state, ("·", "dim"))
        if part.state == "waiting":
            mark, tone = "·", "dim"
        if part.state == "done" and part.holds is False:
            mark, tone = "!", "warn"
        quiet = part.state in {"waiting", "dropped"}
        name = plain(part.title or part.id)
        yield Row(
            (
                text(mark, tone),
                _tree_cell(branch.first, name, "dim" if quiet else "plain"),
                Bar(part.percent, tone) if part.state == "running" else (),
                text(f"{part.percent} %") if part.state == "running" else (),
                _part_time(part),
                _checked(part),
            )
        )


def _tree_cell(stem: str, name: str, tone: Tone) -> tuple[Span, ...]:
    return (Span(stem, "dim"), Span(name, tone)) if stem else (Span(name, tone),)


def _part_time(part: PartView) -> Cell:
    if part.state == "dropped":
        return text("not needed", "dim")
    if part.state == "waiting":
        return text(f"~{clock(max(1.0, part.expected))}" if part.expected else "", "dim")
    return text(clock(part.elapsed), "plain" if part.state == "running" else "dim")


def _checked(part: PartView) -> Cell:
    """Say what was checked of a part, or what it is to write."""
    if part.state == "waiting" and part.writes:
        return text(f"writes {', '.join(part.writes)}", "dim")
    if not part.check or part.state not in {"done", "failed"}:
        return ()
    return text(part.check, "bad" if part.holds is False else "dim")


def _outcome(task: TaskView) -> Iterator[Note]:
    """Say what came of a task that has ended."""
    if task.error:
        yield Note("")
        yield Note(plain(task.error), "bad", 4)
        if task.hint:
            yield Note(plain(task.hint), "dim", 2)
    if task.state == "done" and task.check:
        yield Note("")
        checked = {True: "Checked", False: "The check failed", None: "Not checked"}
        tone: Tone = "warn" if task.holds is False else "dim"
        yield Note(f"{checked[task.holds]}: {plain(task.check)}", tone, 3)
    if task.files:
        shown = ", ".join(map(plain, task.files[:8]))
        more = f" and {len(task.files) - 8} more" if len(task.files) > 8 else ""
        wrote = plural(len(task.files), "file")
        yield Note(f"Wrote {wrote} in {plain(task.workspace)}: {shown}{more}", "good", 3)
    if task.answer:
        yield Note("")
        lines = task.answer.strip("\n").splitlines()
        yield from (Note(as_it_is(line)) for line in lines[:_ANSWER_LINES])
        if len(lines) > _ANSWER_LINES:
            yield Note(f"… `tale show {task.id}` has all of it.", "dim")
