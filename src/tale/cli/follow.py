"""Standing by while a task is done: its answer as it is written, and then how it ended.

What it asks meanwhile is asked of whoever is at the terminal. Above: `submit`, `tasks`. Below:
`events`, `asking`, `answer`, `bars`, `task_lines`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

from tale.cli.answer import AnswerWriter
from tale.cli.asking import Asking
from tale.cli.bars import Bars
from tale.cli.bell import ring
from tale.cli.connection import Connection
from tale.cli.events import events_of
from tale.cli.progress_lines import progress_line
from tale.cli.render import Screen, clean
from tale.cli.spinner import Spinner, Waiting
from tale.cli.task_calls import show_task
from tale.cli.task_lines import check_line, event_line, file_lines, summary_line
from tale.cli.views import Event, Progress, Task

__all__ = ["PATIENCE_SECONDS", "background_hint", "follow_answer", "follow_events", "tell_end"]


_DRAWN = {"queued", "subtask", "tool", "plan"}
"""Kinds that the bars show; the others are lines above them."""
PATIENCE_SECONDS = 3600.0
"""A person at a terminal sees that the daemon is gone, and can leave; a program should be told."""


def follow_answer(connection: Connection, screen: Screen, task: str, *, quiet: bool) -> Task:
    """Wait for a task to end and write its answer: talk as it comes, work below its progress.

    Args:
        connection: The daemon.
        screen: Where the answer goes.
        task: The task's id.
        quiet: Write nothing to standard output.
    """
    writer = AnswerWriter(screen)
    with ExitStack() as stack:
        spinner = stack.enter_context(Spinner(screen, "queued", connection.waiting_for))
        bars: Bars | None = None
        asking = Asking(connection, screen)

        def on_gap(text: str) -> None:
            (spinner if bars is None else bars).note(text)

        progress = screen.err_is_terminal
        events = _heard(connection, task, asking, progress=progress, on_gap=on_gap)
        for event in events:
            if bars is None and screen.err_is_terminal and _is_work(event):
                spinner.stop()
                bars = stack.enter_context(Bars(screen))
            if bars is not None:
                _draw(event, bars, asking)
            elif event.kind == "approval" and asking.possible:
                spinner.stop()
                if not asking.about(event):
                    screen.note(clean(event_line(event)))
            else:
                _take(event, writer, spinner, quiet=quiet)
    ended = show_task(connection, task)
    if not quiet:
        writer.finish(ended.answer or "")
    ring(screen, connection.paths.config_file, ended.state)
    return ended


def _heard(
    connection: Connection,
    task: str,
    asking: Asking,
    *,
    after: int = 0,
    progress: bool,
    on_gap: Callable[[str], None],
    patience: float = 0.0,
) -> Iterator[Event]:
    """Give a task's events; none is waited for while somebody thinks about a question."""
    while True:
        question: Event | None = None
        events = events_of(
            connection, task, after=after, progress=progress, on_gap=on_gap, patience=patience
        )
        with closing(events):
            for event in events:
                after = event.seq
                if event.kind == "approval" and asking.possible:
                    question = event
                    break
                yield event
        if question is None:
            return
        yield question


def _is_work(event: Event) -> bool:
    return event.kind == "started" and event.data.text("role") == "task"


def _take(event: Event, writer: AnswerWriter, spinner: Spinner, *, quiet: bool) -> None:
    line = event_line(event)
    if event.kind == "token":
        if not quiet:
            spinner.stop()
            writer.token(event.data.text("text"))
    elif event.is_final:
        spinner.stop()
    elif event.kind == "note" and not writer.began:
        spinner.note(line)
    elif line and not writer.began:
        spinner.say(Waiting(line))
    if event.kind == "resumed":
        writer.restart()


def _draw(event: Event, bars: Bars, asking: Asking) -> None:
    if event.kind == "approval" and asking.possible:
        with bars.resting():
            if asking.about(event):
                return
    line = event_line(event)
    if line and event.kind not in _DRAWN and not event.is_final:
        bars.note(line)
    bars.take(event)


def follow_events(
    connection: Connection, screen: Screen, task: str, *, as_json: bool, after: int = 0
) -> Task:
    """Show what happened to a task and what happens from now on, to its end.

    On a terminal its progress is drawn; elsewhere there is a line for each event, and one for each
    tenth of the work.

    Args:
        connection: The daemon.
        screen: Where all of it goes.
        task: The task's id.
        as_json: Write the events themselves, one a line, and nothing else.
        after: Number of the last event that is known already.
    """
    if as_json:
        for event in events_of(connection, task, after=after, progress=True):
            screen.write(_json_line(event))
        return show_task(connection, task)
    if screen.err_is_terminal:
        asking = Asking(connection, screen)
        with Bars(screen) as bars:
            events = _heard(
                connection,
                task,
                asking,
                after=after,
                progress=True,
                on_gap=bars.note,
                patience=PATIENCE_SECONDS,
            )
            for event in events:
                _draw(event, bars, asking)
    else:
        _follow_plainly(connection, screen, task, after)
    ended = show_task(connection, task)
    AnswerWriter(screen).finish(ended.answer or "")
    ring(screen, connection.paths.config_file, ended.state)
    return ended


def _follow_plainly(connection: Connection, screen: Screen, task: str, after: int) -> None:
    tenth, setback = 0, ""
    events = events_of(connection, task, after=after, progress=True, on_gap=screen.note)
    for event in events:
        line = event_line(event)
        if event.kind == "progress":
            progress = Progress.read(event.data)
            if progress.setback != setback:
                tenth, setback = 0, progress.setback
            if progress.state == "running" and progress.percent // 10 > tenth:
                tenth = progress.percent // 10
                line = progress_line(progress)
        if line and not event.is_final:
            time = f"{event.at.astimezone():%H:%M:%S}  " if event.at else ""
            screen.note(f"{time}{clean(line)}")


def tell_end(screen: Screen, task: Task) -> int:
    """Say on standard error how a task ended, and give the exit code that says the same."""
    for line in file_lines(task):
        screen.note(line, "green")
    if checked := check_line(task):
        screen.note(checked, "yellow" if task.holds is False else "dim")
    if task.state == "failed":
        screen.error(task.error or "The task failed.", task.hint or f"`tale show {task.id}`")
    elif task.state == "cancelled":
        screen.note("cancelled", "yellow")
    screen.note(summary_line(task))
    return 0 if task.state == "done" else 1


def background_hint(screen: Screen, task: str) -> None:
    """Say that a task goes on without its watcher."""
    screen.note("The task goes on in the background.", "bold")
    screen.note(
        f"  tale watch {task}    follow it\n"
        f"  tale pause {task}    let it rest; `tale resume {task}` goes on\n"
        f"  tale cancel {task}   stop it"
    )


def _json_line(event: Event) -> str:
    at = event.at.isoformat() if event.at else None
    fields = {"task": event.task, "seq": event.seq, "at": at, "kind": event.kind}
    return json.dumps({**fields, "data": event.data.raw}, ensure_ascii=False) + "\n"
