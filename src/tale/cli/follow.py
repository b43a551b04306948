"""Standing by while a task is done: its answer as it is written, and then how it ended.

Above: `submit`, `tasks`. Below: `events`, `answer`, `task_lines`.
"""

from __future__ import annotations

import json

from tale.cli.answer import AnswerWriter
from tale.cli.connection import Connection
from tale.cli.events import events_of
from tale.cli.render import Screen
from tale.cli.spinner import Spinner, Waiting
from tale.cli.task_lines import event_line, file_lines, summary_line
from tale.cli.views import Event, Task

__all__ = ["background_hint", "follow_answer", "follow_events", "show_task", "tell_end"]


def show_task(connection: Connection, task: str) -> Task:
    """Ask how a task stands."""
    return Task.read(connection.call("gateway", "show", {"id": task}, idempotent=True))


def follow_answer(connection: Connection, screen: Screen, task: str, *, quiet: bool) -> Task:
    """Wait for a task to end and write its answer, as it comes where a person reads it.

    Args:
        connection: The daemon.
        screen: Where the answer goes.
        task: The task's id.
        quiet: Write nothing to standard output.
    """
    writer = AnswerWriter(screen)
    with Spinner(screen, "queued", connection.waiting_for) as spinner:
        for event in events_of(connection, task):
            _take(event, writer, spinner, quiet=quiet)
    ended = show_task(connection, task)
    if not quiet:
        writer.finish(ended.answer or "")
    return ended


def _take(event: Event, writer: AnswerWriter, spinner: Spinner, *, quiet: bool) -> None:
    if event.kind == "token":
        if not quiet:
            spinner.stop()
            writer.token(event.data.text("text"))
    elif event.is_final:
        spinner.stop()
    elif event.kind == "note" and not writer.began:
        spinner.note(event_line(event))
    elif not writer.began and event_line(event):
        spinner.say(Waiting(event_line(event)))
    if event.kind == "resumed":
        writer.restart()


def follow_events(connection: Connection, screen: Screen, task: str, *, as_json: bool) -> Task:
    """Write what happened to a task and what happens from now on, a line each, to its end."""
    writer = AnswerWriter(screen)
    for event in events_of(connection, task):
        if as_json:
            screen.write(_json_line(event))
        elif event.kind == "token":
            writer.token(event.data.text("text"))
        elif line := event_line(event):
            writer.end_line()
            time = f"{event.at.astimezone():%H:%M:%S}  " if event.at else ""
            if not event.is_final:
                screen.note(f"{time}{line}")
            if event.kind == "resumed":
                writer.restart()
    ended = show_task(connection, task)
    if not as_json:
        writer.finish(ended.answer or "")
    return ended


def tell_end(screen: Screen, task: Task) -> int:
    """Say on standard error how a task ended, and give the exit code that says the same."""
    for line in file_lines(task):
        screen.note(line, "green")
    if task.state == "failed":
        screen.error(task.error or "The task failed.", task.hint or f"`tale show {task.id}`")
    elif task.state == "cancelled":
        screen.note("cancelled", "yellow")
    screen.note(summary_line(task))
    return 0 if task.state == "done" else 1


def background_hint(screen: Screen, task: str) -> None:
    """Say that a task goes on without its watcher."""
    screen.note("\nThe task goes on in the background.", "bold")
    screen.note(
        f"  tale watch {task}    follow it\n"
        f"  tale pause {task}    let it rest; `tale resume {task}` goes on\n"
        f"  tale cancel {task}   stop it"
    )


def _json_line(event: Event) -> str:
    at = event.at.isoformat() if event.at else None
    fields = {"task": event.task, "seq": event.seq, "at": at, "kind": event.kind}
    return json.dumps({**fields, "data": event.data.raw}, ensure_ascii=False) + "\n"
